import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decode } from 'jpeg-js';
import {
  createIjpeg,
  FAULT_ADDRESS,
  IJPEG_CAPACITY,
  IJPEG_DESTINATION_COUNT,
  IJPEG_DESTINATION_LIST,
  IJPEG_LENGTH,
  IJPEG_QUALITY,
  IJPEG_SOURCE_COUNT,
  IJPEG_SOURCE_LIST,
  IJPEG_SOURCE_SIZE,
  IJPEG_SOURCE_STRIDE,
} from '../../src/models/index.ts';
import { Bench, CONFIG, DONE, ERROR, OVERFLOW, RAM_BASE, size } from '../support/bench.ts';
import { expectBytes, noise, scenery, spread } from '../support/pictures.ts';
import { psnr } from '../support/psnr.ts';

const SOURCE = RAM_BASE;
const DESTINATION = RAM_BASE + 0x8_0000;
const LISTS = RAM_BASE + 0xf_0000;

interface Piece {
  readonly address: number;
  readonly length: number;
}

function engine() {
  const bench = new Bench();
  const { port, line } = bench;
  const ijpeg = createIjpeg(bench.world, { port, line, streamIds: { source: 0, destination: 1 } });
  return { bench, ijpeg };
}

interface EncodeOptions {
  readonly quality?: number;
  readonly capacity?: number;
  readonly strideBytes?: number;
  readonly source?: readonly Piece[];
  readonly destination?: readonly Piece[];
}

/** Programs and runs an encode of what is in memory. @returns STATUS */
function encode(
  rig: ReturnType<typeof engine>,
  width: number,
  height: number,
  options: EncodeOptions = {},
): number {
  const { bench, ijpeg } = rig;
  const strideBytes = options.strideBytes ?? width * 4;
  const capacity = options.capacity ?? 0x4_0000;
  const source = options.source ?? [{ address: SOURCE, length: strideBytes * height }];
  const destination = options.destination ?? [{ address: DESTINATION, length: capacity }];
  const words = [...source, ...destination].flatMap((piece) => [piece.address, piece.length]);
  bench.write(LISTS, new Uint8Array(Uint32Array.from(words).buffer));
  return bench.run(ijpeg, [
    [IJPEG_SOURCE_LIST, LISTS],
    [IJPEG_SOURCE_COUNT, source.length],
    [IJPEG_SOURCE_STRIDE, strideBytes],
    [IJPEG_SOURCE_SIZE, size(width, height)],
    [IJPEG_DESTINATION_LIST, LISTS + source.length * 8],
    [IJPEG_DESTINATION_COUNT, destination.length],
    [IJPEG_CAPACITY, capacity],
    [IJPEG_QUALITY, options.quality ?? 90],
  ]);
}

function stream({ bench, ijpeg }: ReturnType<typeof engine>): Uint8Array {
  return bench.read(DESTINATION, ijpeg.read32(IJPEG_LENGTH.offset));
}

function decoded(jpeg: Uint8Array) {
  return decode(jpeg, { useTArray: true, formatAsRGBA: true });
}

describe('ijpeg', () => {
  test('writes a stream that an independent decoder reads, above 30 dB at quality 90', () => {
    const rig = engine();
    const picture = scenery(97, 61);
    rig.bench.write(SOURCE, spread(picture, 97, 400, 0xff));
    expect(encode(rig, 97, 61, { strideBytes: 400 })).toBe(DONE);
    const image = decoded(stream(rig));
    expect([image.width, image.height]).toEqual([97, 61]);
    expect(psnr(image.data, picture)).toBeGreaterThan(30);
  });

  test('any size and noise: at quality 100 the picture is nearly what it was', () => {
    const side = fc.integer({ min: 1, max: 34 });
    fc.assert(
      fc.property(side, side, (width, height) => {
        const rig = engine();
        const picture = noise(width * height * 4, width * 100 + height);
        rig.bench.write(SOURCE, picture);
        expect(encode(rig, width, height, { quality: 100 })).toBe(DONE);
        const image = decoded(stream(rig));
        expect([image.width, image.height]).toEqual([width, height]);
        expect(psnr(image.data, picture)).toBeGreaterThan(40);
      }),
      { numRuns: 30 },
    );
  });

  test('quality buys fidelity with bytes, at every level decodable', () => {
    const picture = scenery(64, 64);
    const results = [1, 10, 50, 90, 100].map((quality) => {
      const rig = engine();
      rig.bench.write(SOURCE, picture);
      expect(encode(rig, 64, 64, { quality })).toBe(DONE);
      const jpeg = stream(rig);
      return { length: jpeg.length, fidelity: psnr(decoded(jpeg).data, picture) };
    });
    for (const key of ['length', 'fidelity'] as const) {
      const values = results.map((r) => r[key]);
      expect(values).toEqual([...values].sort((a, b) => a - b));
    }
  });

  test('scattered buffers give the same bytes as contiguous ones, wherever they are cut', () => {
    const picture = scenery(40, 24);
    const whole = engine();
    whole.bench.write(SOURCE, picture);
    encode(whole, 40, 24);
    const expected = stream(whole);
    const cut = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(cut, cut, (sourceCuts, destinationCuts) => {
        const rig = engine();
        const source = pieces(SOURCE, picture.length, sourceCuts);
        const destination = pieces(DESTINATION, 4096, destinationCuts);
        let at = 0;
        for (const { address, length } of source) {
          rig.bench.write(address, picture.subarray(at, at + length));
          at += length;
        }
        expect(encode(rig, 40, 24, { source, destination, capacity: 4096 })).toBe(DONE);
        const joined = destination.flatMap(({ address, length }) => [...rig.bench.read(address, length)]);
        expectBytes(Uint8Array.from(joined.slice(0, expected.length)), expected);
        expect(rig.ijpeg.read32(IJPEG_LENGTH.offset)).toBe(expected.length);
      }),
      { numRuns: 25 },
    );
  });

  test('a capacity of exactly the stream suffices; one byte less is OVERFLOW, and nothing beyond it is written', () => {
    const rig = engine();
    rig.bench.write(SOURCE, scenery(40, 24));
    encode(rig, 40, 24);
    const { length } = stream(rig);
    expect(encode(rig, 40, 24, { capacity: length })).toBe(DONE);
    rig.bench.write(DESTINATION, new Uint8Array(length).fill(0x5a));
    expect(encode(rig, 40, 24, { capacity: length - 1 })).toBe(ERROR | OVERFLOW);
    expect(rig.ijpeg.read32(IJPEG_LENGTH.offset)).toBe(0);
    expect(rig.bench.read(DESTINATION + length - 1, 1)).toEqual(Uint8Array.of(0x5a));
  });

  test('reads through the source stream and writes through the destination stream, lists included', () => {
    const rig = engine();
    encode(rig, 16, 16);
    const { seen } = rig.bench.port;
    expect(seen.filter((a) => a.isWrite).every((a) => a.streamId === 1)).toBe(true);
    const reads = seen.filter((a) => !a.isWrite);
    expect(reads.filter((a) => a.streamId === 1).map((a) => a.address)).toEqual([LISTS + 8]);
  });

  test.each([
    ['a source list', LISTS],
    ['a destination list', LISTS + 8],
    ['a source line', SOURCE + 9 * 64],
    ['the destination', DESTINATION],
  ])('a failure at %s ends the job and names the address', (_what, address) => {
    const rig = engine();
    rig.bench.port.verdict = (access) => (access.address === address ? 'faulted' : undefined);
    expect(encode(rig, 16, 16)).toBe(ERROR);
    expect(rig.ijpeg.read32(FAULT_ADDRESS.offset)).toBe(address);
    expect(rig.ijpeg.read32(IJPEG_LENGTH.offset)).toBe(0);
  });

  test.each<[string, EncodeOptions]>([
    ['quality 0', { quality: 0 }],
    ['quality 101', { quality: 101 }],
    ['a source list too short', { source: [{ address: SOURCE, length: 16 * 64 - 1 }] }],
    ['a destination list below the capacity', { destination: [{ address: DESTINATION, length: 16 }] }],
    ['an empty list', { source: [] }],
  ])('%s is a configuration error', (_what, options) => {
    const rig = engine();
    expect(encode(rig, 16, 16, options)).toBe(ERROR | CONFIG);
    expect(rig.bench.port.seen.some((a) => a.isWrite)).toBe(false);
  });
});

/** Cuts `sizeBytes` into pieces of the given lengths (over and over) and lays them out backwards, with gaps. */
function pieces(base: number, sizeBytes: number, lengths: readonly number[]): readonly Piece[] {
  const result: Piece[] = [];
  let left = sizeBytes;
  let top = base + 0x7_0000;
  for (let i = 0; left > 0; i++) {
    const length = Math.min(left, lengths[i % lengths.length] as number);
    top -= length + 4;
    result.push({ address: top, length });
    left -= length;
  }
  return result;
}
