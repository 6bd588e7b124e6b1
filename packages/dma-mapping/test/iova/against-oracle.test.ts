import { expect, test } from '@jest/globals';
import { type Iova, World } from '@iommu-lab/machine';
import fc from 'fast-check';
import { IovaAllocator } from '../../src/iova/iova-allocator.ts';
import { codeOf } from '../support/code-of.ts';
import { NaiveSpace } from './naive-space.ts';

const GRANULE = 4096;
const FRAMES = 0x400;

interface Out {
  readonly iova: Iova;
  readonly sizeBytes: number;
}

type Step =
  | { readonly kind: 'allocate'; readonly sizeBytes: number; readonly limit: number }
  | { readonly kind: 'free'; readonly victim: number }
  | { readonly kind: 'reserve'; readonly start: number; readonly sizeBytes: number }
  | { readonly kind: 'cpu'; readonly cpu: number }
  | { readonly kind: 'wait' }
  | { readonly kind: 'empty' };

const sizes = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 4 * GRANULE }) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 40 * GRANULE }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: (FRAMES / 2) * GRANULE }) },
);
const limits = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0xffffffff) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: FRAMES * GRANULE }) },
);
const steps = (most: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      {
        weight: 30,
        arbitrary: fc.record({ kind: fc.constant('allocate' as const), sizeBytes: sizes, limit: limits }),
      },
      { weight: 20, arbitrary: fc.record({ kind: fc.constant('free' as const), victim: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('reserve' as const),
          start: fc.nat(FRAMES * GRANULE),
          sizeBytes: fc.integer({ min: 0, max: 9 * GRANULE }),
        }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('cpu' as const), cpu: fc.nat(3) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('empty' as const) }) },
    ),
    { minLength: most / 4, maxLength: most, size: 'max' },
  );

const granulesOf = (sizeBytes: number): number => Math.ceil(sizeBytes / GRANULE);

/** What a range takes up. */
function occupied(sizeBytes: number, caching: boolean): number {
  const granules = granulesOf(sizeBytes);
  return caching && granules <= 32 ? 2 ** Math.ceil(Math.log2(granules)) : granules;
}

/** Does the steps; compares after each. @returns how many were granted and refused. */
function follow(todo: readonly Step[], caching: boolean): { granted: number; refused: number } {
  const world = new World();
  const space = new IovaAllocator(world, {
    granule: GRANULE,
    start: 0,
    last: FRAMES * GRANULE - 1,
    cpus: 3,
    caching,
  });
  const naive = new NaiveSpace(1, FRAMES);
  const out: Out[] = [];
  let granted = 0;
  let refused = 0;

  const allocate = ({ sizeBytes, limit }: { sizeBytes: number; limit: number }): void => {
    const size = occupied(sizeBytes, caching);
    const highest = naive.highest(size, (limit + 1) / GRANULE);
    let iova: Iova | undefined;
    const code = codeOf(() => (iova = space.allocate(sizeBytes, limit)));
    // Refused when nothing fits anywhere, magazines included, and only then.
    expect(code).toBe(highest === undefined ? 'ENOSPC' : 'done');
    if (iova === undefined) {
      refused++;
      return;
    }
    granted++;
    const start = iova / GRANULE;
    expect(caching ? highest : start).toBe(highest);
    expect(naive.take(start, size)).toBeUndefined();
    expect(start % 2 ** Math.ceil(Math.log2(size))).toBe(0);
    expect(iova + size * GRANULE - 1).toBeLessThanOrEqual(limit);
    out.push({ iova, sizeBytes });
  };

  const free = ({ iova, sizeBytes }: Out): void => {
    space.free(iova, sizeBytes);
    naive.give(iova / GRANULE, occupied(sizeBytes, caching));
    expect(codeOf(() => space.free(iova, sizeBytes))).toBe('EINVAL');
  };

  for (const step of todo) {
    if (step.kind === 'allocate') allocate(step);
    else if (step.kind === 'free')
      for (const gone of out.splice(step.victim % (out.length || 1), 1)) free(gone);
    else if (step.kind === 'cpu') world.currentCpu = step.cpu;
    else if (step.kind === 'wait') world.clock.advance(100_000_000);
    else if (step.kind === 'empty') space.emptyCaches();
    else {
      space.reserve(step.start, step.sizeBytes);
      naive.reserve(Math.floor(step.start / GRANULE), Math.ceil((step.start + step.sizeBytes) / GRANULE));
    }
    const sum = out.reduce((bytes, { sizeBytes }) => bytes + occupied(sizeBytes, caching) * GRANULE, 0);
    expect([space.allocatedBytes, space.liveRanges, space.freeBytes]).toEqual([
      sum,
      out.length,
      naive.free * GRANULE,
    ]);
  }

  for (const gone of out.splice(0)) free(gone);
  expect([space.allocatedBytes, space.liveRanges]).toEqual([0, 0]);
  expect(space.freeBytes).toBe(naive.free * GRANULE);
  space.emptyCaches();
  // What lies between reservations is in one piece each.
  const { holes, cachedBytes, largestHoleBytes, largestFreeBytes } = space.fragmentation();
  const gaps = naive.gaps();
  expect([holes, cachedBytes]).toEqual([gaps.length, 0]);
  expect(largestHoleBytes).toBe(Math.max(0, ...gaps.map(([start, end]) => end - start)) * GRANULE);
  const largest = naive.largest();
  const servable = caching && largest <= 32 ? 2 ** Math.floor(Math.log2(largest)) : largest;
  expect(largestFreeBytes).toBe(servable * GRANULE);
  return { granted, refused };
}

test.each([
  { caching: false, most: 400, numRuns: 30 },
  { caching: true, most: 400, numRuns: 30 },
])('agrees with a search of every gap: %o', ({ caching, most, numRuns }) => {
  let granted = 0;
  let refused = 0;
  fc.assert(
    fc.property(steps(most), (todo) => {
      const done = follow(todo, caching);
      granted += done.granted;
      refused += done.refused;
    }),
    { numRuns },
  );
  expect(granted).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(50);
});

test('in a large space in small pieces, each allocation is the highest that fits, and all grows together again', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const [world, frames] = [new World({ seed }), 0x4000];
      const draw = (below: number): number => world.random.integer(0, below - 1);
      const space = new IovaAllocator(world, {
        granule: GRANULE,
        start: 0,
        last: frames * GRANULE - 1,
        caching: false,
      });
      // Pieces of 1 to 5 granules fill the space; half of them go, at random: some thousand holes.
      const naive = new NaiveSpace(1, frames);
      const out: Out[] = [];
      for (;;) {
        const sizeBytes = (1 + draw(5)) * GRANULE;
        const iova = space.tryAllocate(sizeBytes, Infinity);
        if (iova === undefined) break;
        expect(naive.take(iova / GRANULE, sizeBytes / GRANULE)).toBeUndefined();
        out.push({ iova, sizeBytes });
      }
      const freeOne = (): void => {
        const at = draw(out.length);
        const { iova, sizeBytes } = out[at] as Out;
        out[at] = out.at(-1) as Out;
        out.pop();
        space.free(iova, sizeBytes);
        naive.give(iova / GRANULE, sizeBytes / GRANULE);
      };
      for (let left = out.length / 2; left > 0; left--) freeOne();
      expect(space.fragmentation().holes).toBe(naive.gaps().length);
      for (let i = 0; i < 40; i++) {
        freeOne();
        const granules = 1 + draw(8);
        const limit = draw(frames * GRANULE);
        const expected = naive.highest(granules, Math.floor((limit + 1) / GRANULE));
        const iova = space.tryAllocate(granules * GRANULE, limit);
        expect(iova).toBe(expected === undefined ? undefined : expected * GRANULE);
        if (iova === undefined) continue;
        naive.take(iova / GRANULE, granules);
        out.push({ iova, sizeBytes: granules * GRANULE });
      }
      expect(space.fragmentation().largestFreeBytes).toBe(naive.largest() * GRANULE);
      while (out.length > 0) freeOne();
      expect(space.fragmentation()).toMatchObject({
        freeBytes: (frames - 1) * GRANULE,
        holes: 1,
        largestHoleBytes: (frames - 1) * GRANULE,
      });
    }),
    { numRuns: 3 },
  );
});
