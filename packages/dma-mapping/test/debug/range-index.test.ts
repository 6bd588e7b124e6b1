import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Ranged, RangeIndex } from '../../src/debug/range-index.ts';

/** Of every size class, near and across cell edges. */
const range = fc
  .record({
    start: fc.integer({ min: 0, max: 2 ** 33 }),
    length: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 2 ** 25 })),
    isLow: fc.boolean(),
  })
  .map(({ start, length, isLow }) => {
    const at = isLow ? start % 20_000 : start;
    return { start: at, end: at + length };
  });

test('finds every range that overlaps, once, and no other', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ range, removes: fc.option(fc.nat(40), { freq: 3 }) }), { maxLength: 40 }),
      fc.array(range, { minLength: 1, maxLength: 10 }),
      (steps, questions) => {
        const index = new RangeIndex<Ranged>();
        const all: Ranged[] = [];
        for (const { range: added, removes } of steps) {
          index.add(added);
          all.push(added);
          const [gone] = removes === null ? [] : all.splice(removes, 1);
          if (gone !== undefined) index.remove(gone);
        }
        for (const { start, end } of [...questions, ...all]) {
          const expected = all.filter((r) => r.start < end && r.end > start);
          const found = index.overlapping(start, end);
          expect(found).toHaveLength(expected.length);
          expect(new Set(found)).toEqual(new Set(expected));
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('is empty once it is cleared', () => {
  const index = new RangeIndex<Ranged>();
  index.add({ start: 0, end: 5000 });
  index.clear();
  expect(index.overlapping(0, 10_000)).toEqual([]);
});

test('an empty range overlaps nothing', () => {
  const index = new RangeIndex<Ranged>();
  index.add({ start: 0, end: 5000 });
  expect(index.overlapping(100, 100)).toEqual([]);
});

test('holds and finds through thousands of ranges that come and go', () => {
  const index = new RangeIndex<Ranged>();
  const kept = { start: 4096 * 5000, end: 4096 * 5000 + 64 };
  index.add(kept);
  for (let round = 0; round < 3; round++) {
    const all = Array.from({ length: 2000 }, (_, i) => ({ start: i * 8192, end: i * 8192 + 100 }));
    for (const range of all) index.add(range);
    expect(index.overlapping(8192 * 1999, 8192 * 2000)).toEqual([all[1999]]);
    for (const range of all) index.remove(range);
    expect(index.overlapping(0, 4096 * 6000)).toEqual([kept]);
  }
});
