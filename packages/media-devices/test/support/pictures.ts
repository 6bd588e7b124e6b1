/** Pictures for tests: bytes R,G,B,X, line after line without gaps unless a stride is named. */
import { expect } from '@jest/globals';

/** Noise: any pixel that goes astray shows. */
export function noise(sizeBytes: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: sizeBytes }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

/** Smooth colours with a few edges, as photographs have them. */
export function scenery(width: number, height: number): Uint8Array {
  const bytes = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y * width + x) * 4;
      const isDisc = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (Math.min(width, height) / 3) ** 2;
      bytes[at] = Math.floor((255 * x) / width);
      bytes[at + 1] = Math.floor((255 * y) / height);
      bytes[at + 2] = isDisc ? 200 : 40;
      bytes[at + 3] = 255;
    }
  }
  return bytes;
}

/** Spreads a picture over lines of `strideBytes`; what lies between stays `filler`. */
export function spread(picture: Uint8Array, width: number, strideBytes: number, filler: number): Uint8Array {
  const height = picture.length / (width * 4);
  const result = new Uint8Array(height * strideBytes).fill(filler);
  for (let y = 0; y < height; y++) {
    result.set(picture.subarray(y * width * 4, (y + 1) * width * 4), y * strideBytes);
  }
  return result;
}

/** Compares pictures (much faster than `toEqual` on thousands of bytes). */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  expect({ at, byte: actual[at] }).toEqual({ at: -1, byte: undefined });
}
