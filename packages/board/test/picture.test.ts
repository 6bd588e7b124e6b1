import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { differingPixels, picture, rotate, testCard } from '../src/index.ts';

/** Turns by looking, for each target corner-relative place, where it came from: no shared code with the library. */
function pixel(p: { width: number; pixels: Uint8Array }, x: number, y: number): string {
  const at = (y * p.width + x) * 4;
  return p.pixels.slice(at, at + 4).join(',');
}

const pictures = fc
  .record({ width: fc.integer({ min: 1, max: 9 }), height: fc.integer({ min: 1, max: 9 }) })
  .chain(({ width, height }) =>
    fc
      .uint8Array({ minLength: width * height * 4, maxLength: width * height * 4 })
      .map((pixels) => picture(width, height, pixels)),
  );

describe('rotate', () => {
  test('90 degrees clockwise puts the left column on top', () => {
    fc.assert(
      fc.property(pictures, (p) => {
        const turned = rotate(p, 90);
        expect([turned.width, turned.height]).toEqual([p.height, p.width]);
        for (let y = 0; y < p.height; y++) {
          for (let x = 0; x < p.width; x++) expect(pixel(turned, p.height - 1 - y, x)).toBe(pixel(p, x, y));
        }
      }),
    );
  });

  test('every angle is 90 degrees so many times', () => {
    fc.assert(
      fc.property(pictures, (p) => {
        const half = rotate(rotate(p, 90), 90);
        expect(rotate(p, 180)).toEqual(half);
        expect(rotate(p, 270)).toEqual(rotate(half, 90));
        expect(rotate(rotate(p, 270), 90)).toEqual(rotate(p, 0));
        expect(rotate(p, 0)).toEqual(p);
      }),
    );
  });
});

describe('differingPixels', () => {
  test('counts pixels that differ in a colour, not in the fourth byte', () => {
    const a = picture(2, 1, Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 0));
    expect(differingPixels(a, picture(2, 1, Uint8Array.of(1, 2, 3, 9, 4, 5, 6, 9)))).toBe(0);
    expect(differingPixels(a, picture(2, 1, Uint8Array.of(1, 2, 3, 0, 4, 5, 7, 0)))).toBe(1);
  });

  test('pictures of other sizes differ everywhere', () => {
    expect(differingPixels(testCard(8, 4), testCard(4, 8))).toBe(32);
  });
});

test('the test card looks different turned and mirrored', () => {
  const card = testCard(64, 64);
  for (const degrees of [90, 180, 270] as const) {
    expect(differingPixels(card, rotate(card, degrees))).toBeGreaterThan(500);
  }
});
