import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nextPiece, pageAround, splitRange } from '../src/index.ts';
import { K, M } from './fake-iommu.ts';

const SIZES = [4 * K, 64 * K, M, 16 * M];

/** The kernel's rule word for word, with big integers and bit masks: an independent twin. */
function byTheRule(sizes: readonly number[], iova: number, address: number, size: number): [number, number] {
  const merged = BigInt(iova) | BigInt(address);
  const limit = merged === 0n ? BigInt(Number.MAX_SAFE_INTEGER) : merged & -merged;
  const candidates = sizes.map(BigInt).filter((s) => s <= BigInt(size) && s <= limit);
  const pick = candidates.reduce((a, b) => (a > b ? a : b));
  const next = sizes.map(BigInt).find((s) => s > pick);
  let filled = BigInt(size);
  if (next !== undefined && ((BigInt(iova) ^ BigInt(address)) & (next - 1n)) === 0n) {
    const gap = next - (merged & (next - 1n));
    if (gap + next <= filled) filled = gap;
  }
  return [Number(pick), Number(filled / pick)];
}

const sizeSet = fc.oneof(
  fc.constant(SIZES),
  fc.subarray([4 * K, 16 * K, 64 * K, 2 * M, 32 * M, 1024 * M], { minLength: 1 }),
);

/** Sizes, and a range aligned to the smallest, near the larger ones' boundaries. */
const ranges = sizeSet.chain((sizes) => {
  const granule = sizes[0] as number;
  const largest = sizes.at(-1) as number;
  const address = fc
    .tuple(fc.integer({ min: 0, max: 300 }), fc.constantFrom(...sizes), fc.integer({ min: -20, max: 20 }))
    .map(([n, size, pages]) => Math.max(0, n * size + pages * granule));
  const size = fc
    .tuple(
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom(...sizes, largest),
      fc.integer({ min: 1, max: 40 }),
    )
    .map(([n, s, pages]) => n * s + pages * granule);
  return fc.tuple(fc.constant(sizes), address, address, fc.boolean(), size);
});

describe('cutting a range into pages', () => {
  test('picks what the kernel rule picks', () => {
    fc.assert(
      fc.property(ranges, ([sizes, iova, other, isSame, size]) => {
        const address = isSame ? iova : other;
        const piece = nextPiece(sizes, iova, address, size);
        expect([piece.pageSize, piece.count]).toEqual(byTheRule(sizes, iova, address, size));
      }),
      { numRuns: 2000 },
    );
  });

  test('covers the range without gap or overlap, each page aligned on both sides', () => {
    fc.assert(
      fc.property(ranges, ([sizes, iova, address, , size]) => {
        let done = 0;
        for (const piece of splitRange(sizes, iova, address, size)) {
          expect([piece.iova, piece.address]).toEqual([iova + done, address + done]);
          expect([piece.iova % piece.pageSize, piece.address % piece.pageSize]).toEqual([0, 0]);
          done += piece.pageSize * piece.count;
        }
        expect(done).toBe(size);
      }),
    );
  });

  test('never approaches a larger page when the addresses are not congruent', () => {
    expect(splitRange(SIZES, 0x10_0000, 0x11_0000, 2 * M).map((p) => p.pageSize)).toEqual([64 * K]);
  });

  test('climbs to larger pages and down again', () => {
    const pieces = splitRange(SIZES, 0xff_f000, 0x1ff_f000, 17 * M + 8 * K);
    expect(pieces.map((p) => [p.pageSize, p.count])).toEqual([
      [4 * K, 1],
      [16 * M, 1],
      [M, 1],
      [4 * K, 1],
    ]);
  });

  test('finds the page around an address', () => {
    fc.assert(
      fc.property(ranges, fc.double({ min: 0, max: 0.999, noNaN: true }), ([sizes, iova, , , size], at) => {
        const inside = iova + Math.floor(size * at);
        const page = pageAround(sizes, { iova, address: iova, sizeBytes: size }, inside);
        const all = splitRange(sizes, iova, iova, size).flatMap((p) =>
          Array.from({ length: Math.min(p.count, 200) }, (_, i) => p.iova + i * p.pageSize),
        );
        const start = all.findLast((s) => s <= inside);
        // The list is cut short for long runs; what it has must agree.
        const isListed = start !== undefined && inside - start < page.pageSize;
        expect(page.start).toBe(isListed ? start : page.start);
        const piece = splitRange(sizes, iova, iova, size).findLast((p) => p.iova <= inside);
        expect([page.pageSize, (page.start - (piece?.iova ?? 0)) % page.pageSize]).toEqual([
          piece?.pageSize,
          0,
        ]);
        expect(inside - page.start).toBeLessThan(page.pageSize);
      }),
    );
  });
});
