/** Pictures as PNG files. */
import { readFileSync } from 'node:fs';
import { BYTES_PER_PIXEL, type Picture } from '@iommu-lab/board';
import { convertIndexedToRgb, decode, type DecodedPng, encode } from 'fast-png';
import { fileProblem, UserError } from './user-error.ts';

/** Pixels each way that a run can carry; the media devices' size registers hold no more than 65535. */
const LARGEST_SIDE = 4096;

/** Reads a PNG of any colour type. @throws UserError when the file is not there, no PNG, broken, or too large */
export function readPicture(file: string): Picture {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new UserError(`${file}: ${fileProblem(error)}`, '--image takes a PNG file');
  }
  let png: DecodedPng;
  try {
    png = decode(bytes, { checkCrc: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`${file}: not a readable PNG: ${reason}`, '--image takes a PNG file');
  }
  if (png.width < 1 || png.height < 1) {
    throw new UserError(`${file}: the picture is empty`, '--image takes a PNG file');
  }
  if (png.width > LARGEST_SIDE || png.height > LARGEST_SIDE) {
    throw new UserError(
      `${file}: ${png.width}x${png.height} pixels are too many`,
      `at most ${LARGEST_SIDE} each way`,
    );
  }
  return toPicture(png);
}

/** The picture as PNG bytes: 8 bits a channel, R, G, B. */
export function encodePicture({ width, height, pixels }: Picture): Uint8Array {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    data.set(pixels.subarray(i * BYTES_PER_PIXEL, i * BYTES_PER_PIXEL + 3), i * 3);
  }
  return encode({ width, height, data, channels: 3, depth: 8 });
}

function toPicture(png: DecodedPng): Picture {
  const { width, height } = png;
  const channels = png.palette === undefined ? png.channels : 3;
  const samples = eightBitSamples(png);
  const pixels = new Uint8Array(width * height * BYTES_PER_PIXEL);
  for (let i = 0; i < width * height; i++) {
    const at = i * channels;
    const red = samples[at] ?? 0;
    const isGrey = channels < 3;
    const green = isGrey ? red : (samples[at + 1] ?? 0);
    const blue = isGrey ? red : (samples[at + 2] ?? 0);
    pixels.set([red, green, blue, 255], i * BYTES_PER_PIXEL);
  }
  return { width, height, pixels };
}

/** Samples pixel by pixel without padding, scaled to 0..255. */
function eightBitSamples(png: DecodedPng): ArrayLike<number> {
  if (png.palette !== undefined) {
    const rgb = convertIndexedToRgb(png);
    const width = rgb.length / (png.width * png.height);
    // A palette with transparency gives four channels; the picture has no use for the fourth.
    return width === 3 ? rgb : rgb.filter((_, i) => i % 4 !== 3);
  }
  if (png.depth === 16) return png.data.map((sample) => sample >> 8);
  if (png.depth === 8) return png.data;
  return unpack(png);
}

/** Grey samples of 1, 2 or 4 bits stand several to a byte; each line starts a new one. */
function unpack({ width, height, depth, data }: DecodedPng): Uint8Array {
  const lineBytes = Math.ceil((width * depth) / 8);
  const largest = 2 ** depth - 1;
  const samples = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const byte = data[y * lineBytes + (bit >> 3)] ?? 0;
      samples[y * width + x] = (((byte >> (8 - depth - (bit & 7))) & largest) * 255) / largest;
    }
  }
  return samples;
}
