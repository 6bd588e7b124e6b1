import { describe, expect, test } from '@jest/globals';
import { type Iova, LabError, World } from '@iommu-lab/machine';
import { IovaAllocator, type IovaAllocatorOptions } from '../../src/iova/iova-allocator.ts';
import { codeOf } from '../support/code-of.ts';

const GRANULE = 4096;
const ANYWHERE = 0xffffffff;

/** Without magazines, so that each call shows what the space does. */
function spaceOf(last: number, options: Partial<IovaAllocatorOptions> = {}): IovaAllocator {
  return new IovaAllocator(new World(), { granule: GRANULE, start: 0, last, caching: false, ...options });
}

describe('where a range lies', () => {
  test('ranges come from the top down', () => {
    const space = spaceOf(0xffffffff);
    expect(space.allocate(1, ANYWHERE)).toBe(0xfffff000);
    expect(space.allocate(GRANULE, ANYWHERE)).toBe(0xffffe000);
    expect(space.allocate(GRANULE, 0xfffff)).toBe(0xff000);
  });

  test('address 0 is never handed out', () => {
    const space = spaceOf(2 * GRANULE - 1);
    expect(space.start).toBe(GRANULE);
    expect(space.allocate(GRANULE, ANYWHERE)).toBe(GRANULE);
    expect(codeOf(() => space.allocate(GRANULE, ANYWHERE))).toBe('ENOSPC');
    expect(codeOf(() => space.free(0 as Iova, GRANULE))).toBe('EINVAL');
  });

  test('a range is aligned to its size rounded up to a power of two', () => {
    const space = spaceOf(0xffffffff);
    space.allocate(GRANULE, ANYWHERE);
    expect(space.allocate(3 * GRANULE, ANYWHERE)).toBe(0xffffc000);
    expect(space.allocate(0x100000, ANYWHERE)).toBe(0xffe00000);
  });

  test('holes into which a range fits by its length but not by its alignment are passed over', () => {
    const space = spaceOf(0x100 * GRANULE - 1);
    const out = Array.from({ length: 0xff }, () => space.allocate(GRANULE, ANYWHERE));
    // Pairs of free granules that start at odd ones; and one in the middle that does not.
    for (const iova of out)
      if (((iova / GRANULE) & 3) === 1 || ((iova / GRANULE) & 3) === 2) space.free(iova, GRANULE);
    expect(space.fragmentation()).toMatchObject({ largestHoleBytes: 2 * GRANULE, largestFreeBytes: GRANULE });
    expect(space.tryAllocate(2 * GRANULE, ANYWHERE)).toBeUndefined();
    space.free((0x40 * GRANULE) as Iova, GRANULE);
    expect(space.tryAllocate(2 * GRANULE, 0x40 * GRANULE)).toBeUndefined();
    expect(space.tryAllocate(2 * GRANULE, ANYWHERE)).toBe(0x40 * GRANULE);
  });

  test('a limit within a hole cuts it off, to the byte', () => {
    const space = spaceOf(0xffffffff);
    expect(space.allocate(2 * GRANULE, 0x6000 - 1)).toBe(0x4000);
    expect(space.allocate(GRANULE, 0x8000 - 2)).toBe(0x6000);
    expect(codeOf(() => space.allocate(GRANULE, GRANULE - 1))).toBe('ENOSPC');
  });

  test('spaces above 32 bits work, to the last address that a number holds', () => {
    const space = spaceOf(2 ** 53 - 1, { granule: 0x10000 });
    const top = space.allocate(0x10000, 2 ** 53 - 1);
    expect(top).toBe(2 ** 53 - 0x10000);
    const half = space.allocate(2 ** 51, 2 ** 64);
    expect(half).toBe(2 ** 53 - 2 ** 52);
    expect(space.allocate(0x30000, 2 ** 40)).toBe(2 ** 40 - 0x40000);
    space.free(top, 0x10000);
    space.free(half, 2 ** 51);
    space.free((2 ** 40 - 0x40000) as Iova, 0x30000);
    expect(space.fragmentation()).toMatchObject({ holes: 1, freeBytes: 2 ** 53 - 0x10000 });
  });

  test.each([1, 2, 0x10000])('a granule of %d bytes works', (granule) => {
    const space = spaceOf(64 * granule - 1, { granule, start: 2 * granule + granule / 2 });
    expect(space.start).toBe(3 * granule);
    expect(space.freeBytes).toBe(61 * granule);
    expect(space.allocate(3 * granule, ANYWHERE)).toBe(60 * granule);
  });
});

describe('reserved ranges', () => {
  test('are never handed out, in whole granules and beside what is out', () => {
    const space = spaceOf(8 * GRANULE - 1);
    const top = space.allocate(GRANULE, ANYWHERE);
    space.reserve(5 * GRANULE + 1, 3 * GRANULE);
    expect(space.freeBytes).toBe(4 * GRANULE);
    expect(space.allocate(GRANULE, ANYWHERE)).toBe(4 * GRANULE);
    space.free(top, GRANULE);
    expect(space.allocate(GRANULE, ANYWHERE)).toBe(3 * GRANULE);
  });

  test.each([false, true])('keep back what is out from the moment it is freed (magazines: %s)', (caching) => {
    const space = spaceOf(8 * GRANULE - 1, { caching });
    const top = space.allocate(2 * GRANULE, ANYWHERE);
    const below = space.allocate(2 * GRANULE, ANYWHERE);
    expect([top, below]).toEqual([6 * GRANULE, 4 * GRANULE]);
    // The upper half of what is below, and all of what is on top.
    space.reserve(5 * GRANULE, 3 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([4 * GRANULE, 3 * GRANULE]);
    space.free(top, 2 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([2 * GRANULE, 3 * GRANULE]);
    space.free(below, 2 * GRANULE);
    expect([space.allocatedBytes, space.freeBytes]).toEqual([0, 4 * GRANULE]);
    const out = [1, 2, 3, 4].map(() => space.allocate(GRANULE, ANYWHERE));
    expect(out).toEqual([4, 3, 2, 1].map((n) => n * GRANULE));
    expect(codeOf(() => space.allocate(GRANULE, ANYWHERE))).toBe('ENOSPC');
    for (const iova of out) space.free(iova, GRANULE);
    expect([space.freeBytes, space.allocate(2 * GRANULE, ANYWHERE)]).toEqual([4 * GRANULE, 2 * GRANULE]);
  });

  test('may overlap, repeat, and stick out of the space', () => {
    const space = spaceOf(16 * GRANULE - 1, { start: 2 * GRANULE });
    space.reserve(0, 3 * GRANULE);
    space.reserve(8 * GRANULE, 2 * GRANULE);
    space.reserve(9 * GRANULE, 2 * GRANULE);
    space.reserve(8 * GRANULE, 3 * GRANULE);
    space.reserve(15 * GRANULE, 2 ** 60);
    space.reserve(2 ** 40, GRANULE);
    space.reserve(12 * GRANULE, 0);
    expect(space.freeBytes).toBe(9 * GRANULE);
    expect(space.fragmentation()).toMatchObject({ holes: 2, largestHoleBytes: 5 * GRANULE });
  });

  test('are taken from the magazines too', () => {
    const space = spaceOf(8 * GRANULE - 1, { caching: true });
    const iova = space.allocate(GRANULE, ANYWHERE);
    space.free(iova, GRANULE);
    space.reserve(iova, GRANULE);
    expect(space.allocate(GRANULE, ANYWHERE)).toBe(iova - GRANULE);
  });

  test.each([
    [-1, GRANULE],
    [0, -1],
    [Number.NaN, GRANULE],
    [0, Number.NaN],
  ])('start %d, size %d is none', (start, size) => {
    expect(codeOf(() => spaceOf(0xffff).reserve(start, size))).toBe('EINVAL');
  });
});

describe('misuse', () => {
  test.each([
    { granule: 3000, last: 0xffffffff },
    { granule: 0, last: 0xffffffff },
    { last: GRANULE - 1 },
    { start: -1, last: 0xffff },
    { start: Number.NaN, last: 0xffff },
    { last: Number.NaN },
    { last: 2 ** 64 },
    { last: 0xffff, cpus: 0 },
    { last: 0xffff, cpus: 1.5 },
  ])('%o is no space', (options) => {
    expect(() => spaceOf(options.last, options)).toThrow(LabError);
  });

  test.each([0, -1, 1.5, Number.NaN])('a size of %d is refused', (size) => {
    const space = spaceOf(0xffff);
    expect(codeOf(() => space.allocate(size, 0xffff))).toBe('EINVAL');
    expect(codeOf(() => space.free(GRANULE as Iova, size))).toBe('EINVAL');
  });

  test.each([-1, Number.NaN])('a limit of %d is refused', (limit) => {
    expect(codeOf(() => spaceOf(0xffff).allocate(GRANULE, limit))).toBe('EINVAL');
  });

  test.each([false, true])(
    'freeing what is not out, or with another size, is refused and changes nothing (magazines: %s)',
    (caching) => {
      const space = spaceOf(0xfffff, { caching });
      const range = space.allocate(3 * GRANULE, 0xfffff);
      const before = [space.allocatedBytes, space.freeBytes, space.liveRanges];
      // With magazines it takes up four granules, and is still one of three.
      for (const size of [GRANULE, 2 * GRANULE, 4 * GRANULE, 8 * GRANULE]) {
        expect(codeOf(() => space.free(range, size))).toBe('EINVAL');
      }
      for (const offset of [-GRANULE, -1, 1, GRANULE, 0.5, 2 ** 40, Number.NaN]) {
        expect(codeOf(() => space.free((range + offset) as Iova, 3 * GRANULE))).toBe('EINVAL');
      }
      expect([space.allocatedBytes, space.freeBytes, space.liveRanges]).toEqual(before);
      // Sizes that need as many granules are the same size.
      space.free(range, 2 * GRANULE + 1);
      expect(codeOf(() => space.free(range, 3 * GRANULE))).toBe('EINVAL');
      expect(space.allocatedBytes).toBe(0);
    },
  );
});

test.each([1, 7, 101])(
  'the one hole that is large enough is found, and no other, while holes come (order %d)',
  (step) => {
    const space = spaceOf(0x200 * GRANULE - 1);
    for (let i = 1; i < 0x200; i++) space.allocate(GRANULE, ANYWHERE);
    const pairs = [0x42, 0x100, 0x180].map((frame) => (frame * GRANULE) as Iova);
    const holes = Array.from({ length: 0xff }, (_, i) => 3 + 2 * ((i * step) % 0xff)).filter((frame) =>
      pairs.every((pair) => Math.abs(frame - pair / GRANULE) > 2),
    );
    for (const pair of pairs) space.free(pair, GRANULE);
    for (const pair of pairs) space.free((pair + GRANULE) as Iova, GRANULE);
    const found = holes.map((frame) => {
      space.free((frame * GRANULE) as Iova, GRANULE);
      const taken = [1, 2, 3, 4].map(() => space.tryAllocate(2 * GRANULE, ANYWHERE));
      for (const iova of taken) if (iova !== undefined) space.free(iova, 2 * GRANULE);
      return taken.join();
    });
    expect(new Set(found)).toEqual(new Set([`${pairs.toReversed().join()},`]));
  },
);

test('many ranges far apart are all known, in whatever order they go', () => {
  const space = spaceOf(2 ** 48 - 1);
  // Frames that agree in their low 32 bits, frames side by side, and multiples of powers of two.
  const limits = Array.from({ length: 3000 }, (_, i) =>
    i % 3 === 0 ? 2 ** 44 + (i / 3) * 2 ** 20 : i % 3 === 1 ? 2 ** 40 : 2 ** 41 + i * 2 ** 30,
  );
  const out = limits.map((limit) => space.allocate(GRANULE, limit));
  expect(new Set(out).size).toBe(out.length);
  const order = out.map((_, i) => out[(i * 1009) % out.length] as Iova);
  for (const iova of order) {
    space.free(iova, GRANULE);
    expect(codeOf(() => space.free(iova, GRANULE))).toBe('EINVAL');
  }
  expect(codeOf(() => space.free(0 as Iova, GRANULE))).toBe('EINVAL');
  expect([space.liveRanges, space.fragmentation().holes]).toEqual([0, 1]);
});

test('the largest request that would be served is one of a size of its class, where there are magazines', () => {
  // Three granules fit, at 4; with magazines they are rounded up to four.
  const last = 7 * GRANULE - 1;
  expect(spaceOf(last).fragmentation().largestFreeBytes).toBe(3 * GRANULE);
  expect(spaceOf(last, { caching: true }).fragmentation().largestFreeBytes).toBe(2 * GRANULE);
});
