import { writeFileSync } from 'node:fs';
import { deflateSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { encode } from 'fast-png';
import { encodePicture, readPicture } from '../src/picture-file.ts';
import { workFolder } from './support.ts';

const folder = workFolder();

function read(png: Uint8Array): number[] {
  writeFileSync(folder.in('p.png'), png);
  return [...readPicture(folder.in('p.png')).pixels];
}

test('colour with and without transparency, grey, and 16 bits a channel are read as R, G, B', () => {
  const size = { width: 2, height: 1 };
  expect(read(encode({ ...size, channels: 3, depth: 8, data: Uint8Array.of(1, 2, 3, 4, 5, 6) }))).toEqual([
    1, 2, 3, 255, 4, 5, 6, 255,
  ]);
  expect(
    read(encode({ ...size, channels: 4, depth: 8, data: Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 9) })),
  ).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
  expect(read(encode({ ...size, channels: 1, depth: 8, data: Uint8Array.of(7, 8) }))).toEqual([
    7, 7, 7, 255, 8, 8, 8, 255,
  ]);
  expect(read(encode({ ...size, channels: 2, depth: 8, data: Uint8Array.of(7, 0, 8, 0) }))).toEqual([
    7, 7, 7, 255, 8, 8, 8, 255,
  ]);
  expect(
    read(
      encode({
        ...size,
        channels: 3,
        depth: 16,
        data: Uint16Array.of(0x1ff, 0x2ff, 0x3ff, 0x400, 0x500, 0x600),
      }),
    ),
  ).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
});

test('black and white at one bit a pixel', () => {
  // Two lines of ten pixels: each line is two bytes, the second padded.
  expect(
    read(
      greyPng(10, 2, 1, [
        [0b10000000, 0b01000000],
        [0b00000001, 0b10000000],
      ]),
    ),
  ).toEqual(
    ['1000000001', '0000000110'].flatMap((line) =>
      line.split('').flatMap((bit) => [...Array<number>(3).fill(bit === '1' ? 255 : 0), 255]),
    ),
  );
});

test('what is written is what is read', () => {
  const pixels = Uint8Array.from({ length: 6 * 4 }, (_, i) => (i % 4 === 3 ? 255 : i * 11));
  expect(read(encodePicture({ width: 3, height: 2, pixels }))).toEqual([...pixels]);
});

/** A grey PNG written by hand, chunk by chunk (ISO/IEC 15948). */
function greyPng(
  width: number,
  height: number,
  depth: number,
  lines: readonly (readonly number[])[],
): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  const data = deflateSync(Buffer.from(lines.flatMap((line) => [0, ...line])));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', data),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, body: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), body]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
