import { describe, expect, test } from '@jest/globals';
import { type Iova, LabError } from '@iommu-lab/machine';
import fc from 'fast-check';
import { IovaAllocator } from '../src/index.ts';
import { codeOf } from './support/code-of.ts';

const GRANULE = 4096;

describe('limits', () => {
  test('ranges come from the top down', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 0xffffffff });
    expect(space.allocate(1, 0xffffffff)).toBe(0xfffff000);
    expect(space.allocate(GRANULE, 0xffffffff)).toBe(0xffffe000);
    expect(space.allocate(GRANULE, 0xfffff)).toBe(0xff000);
  });

  test('address 0 is never handed out', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 2 * GRANULE - 1 });
    expect(space.allocate(GRANULE, 0xffffffff)).toBe(GRANULE);
    expect(codeOf(() => space.allocate(GRANULE, 0xffffffff))).toBe('ENOSPC');
  });

  test('a range is aligned to its size rounded up to a power of two', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 0xffffffff });
    space.allocate(GRANULE, 0xffffffff);
    expect(space.allocate(3 * GRANULE, 0xffffffff)).toBe(0xffffc000);
    expect(space.allocate(0x100000, 0xffffffff)).toBe(0xffe00000);
  });

  test('a reserved range is never handed out, in whole granules and beside what is out', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 8 * GRANULE - 1 });
    const top = space.allocate(GRANULE, 0xffffffff);
    space.reserve(5 * GRANULE + 1, 3 * GRANULE);
    expect(space.freeBytes).toBe(4 * GRANULE);
    expect(space.allocate(GRANULE, 0xffffffff)).toBe(4 * GRANULE);
    space.free(top, GRANULE);
    expect(space.allocate(GRANULE, 0xffffffff)).toBe(3 * GRANULE);
  });

  test('what is out when it is reserved is kept back from the moment it is freed', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 8 * GRANULE - 1 });
    const top = space.allocate(2 * GRANULE, 0xffffffff);
    const below = space.allocate(2 * GRANULE, 0xffffffff);
    expect([top, below]).toEqual([6 * GRANULE, 4 * GRANULE]);
    // The upper half of what is below, and all of what is on top.
    space.reserve(5 * GRANULE, 3 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([4 * GRANULE, 3 * GRANULE]);
    space.free(top, 2 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([2 * GRANULE, 3 * GRANULE]);
    space.free(below, 2 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([0, 4 * GRANULE]);
    const out = [1, 2, 3, 4].map(() => space.allocate(GRANULE, 0xffffffff));
    expect(out).toEqual([4, 3, 2, 1].map((n) => n * GRANULE));
    expect(codeOf(() => space.allocate(GRANULE, 0xffffffff))).toBe('ENOSPC');
    for (const iova of out) space.free(iova, GRANULE);
    expect([space.freeBytes, space.allocate(2 * GRANULE, 0xffffffff)]).toEqual([4 * GRANULE, 2 * GRANULE]);
  });

  test('spaces above 32 bits work', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 2 ** 48 - 1 });
    expect(space.allocate(GRANULE, 2 ** 48 - 1)).toBe(2 ** 48 - GRANULE);
  });

  test.each([
    { granule: 3000, start: 0, last: 0xffffffff },
    { granule: GRANULE, start: 0, last: GRANULE - 1 },
    { granule: GRANULE, start: -1, last: 0xffff },
    { granule: GRANULE, start: 0, last: Number.NaN },
  ])('%o is no space', (options) => {
    expect(() => new IovaAllocator(options)).toThrow(LabError);
  });

  test.each([0, -1, 1.5, Number.NaN])('a size of %d is refused', (size) => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 0xffff });
    expect(codeOf(() => space.allocate(size, 0xffff))).toBe('EINVAL');
  });

  test('freeing what is not out, or with another size, is refused and changes nothing', () => {
    const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 0xffff });
    const range = space.allocate(2 * GRANULE, 0xffff);
    expect(codeOf(() => space.free(range, GRANULE))).toBe('EINVAL');
    expect(codeOf(() => space.free((range + GRANULE) as Iova, GRANULE))).toBe('EINVAL');
    space.free(range, 2 * GRANULE);
    expect(codeOf(() => space.free(range, 2 * GRANULE))).toBe('EINVAL');
    expect(space.allocatedBytes).toBe(0);
  });
});

/** One flag per granule; tries every aligned place from the top. */
class NaiveSpace {
  readonly used: boolean[];
  constructor(granules: number) {
    this.used = Array.from({ length: granules }, (_, i) => i === 0);
  }
  allocate(count: number, limit: number): number | undefined {
    let alignment = 1;
    while (alignment < count) alignment *= 2;
    for (let at = this.used.length - count; at > 0; at--) {
      if (at % alignment !== 0 || (at + count) * GRANULE - 1 > limit) continue;
      if (this.used.slice(at, at + count).some(Boolean)) continue;
      this.used.fill(true, at, at + count);
      return at * GRANULE;
    }
    return undefined;
  }
  free(iova: number, count: number): void {
    this.used.fill(false, iova / GRANULE, iova / GRANULE + count);
  }
}

/** The range, or undefined for ENOSPC. */
function tryAllocate(space: IovaAllocator, size: number, limit: number): Iova | undefined {
  let iova: Iova | undefined;
  const code = codeOf(() => (iova = space.allocate(size, limit)));
  expect(code).toBe(iova === undefined ? 'ENOSPC' : 'done');
  return iova;
}

test('agrees with a naive search, step by step, and everything freed is one space again', () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        size: fc.integer({ min: 1, max: 9 * GRANULE }),
        limit: fc.oneof(fc.constant(0xffffffff), fc.integer({ min: 0, max: 0x4ffff })),
      }),
    },
    { weight: 2, arbitrary: fc.record({ victim: fc.nat(100) }) },
  );
  let refused = 0;
  let granted = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), (steps) => {
      const space = new IovaAllocator({ granule: GRANULE, start: 0, last: 0x3ffff });
      const naive = new NaiveSpace(0x40);
      const out: { iova: Iova; size: number; count: number }[] = [];
      for (const s of steps) {
        if ('victim' in s) {
          const [gone] = out.splice(s.victim % (out.length || 1), 1);
          if (gone === undefined) continue;
          space.free(gone.iova, gone.size);
          naive.free(gone.iova, gone.count);
          continue;
        }
        const count = Math.ceil(s.size / GRANULE);
        const expected = naive.allocate(count, s.limit);
        const iova = tryAllocate(space, s.size, s.limit);
        expect(iova).toBe(expected);
        if (iova === undefined) refused++;
        else {
          granted++;
          out.push({ iova, size: s.size, count });
        }
        expect(space.freeBytes).toBe(naive.used.filter((u) => !u).length * GRANULE);
      }
      for (const { iova, size } of out) space.free(iova, size);
      expect(space.allocatedBytes).toBe(0);
      expect(space.allocate(0x20000, 0x3ffff)).toBe(0x20000);
    }),
    { numRuns: 200 },
  );
  expect(refused).toBeGreaterThan(100);
  expect(granted).toBeGreaterThan(1000);
});
