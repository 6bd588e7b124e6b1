/** The IOVA allocator by the number of ranges that are out, beside a sorted map that does the same work. */
import { benchCase, type BenchCase, type PreparedCase, type Target } from '@iommu-lab/bench';
import {
  AllocatorSpace,
  DRAWS,
  drawFrom,
  fill,
  fillWithHoles,
  GRANULE,
  LAST,
  type Ranges,
  SortedMapSpace,
  type Space,
} from './iova-spaces.ts';

const LIVE: readonly (readonly [string, number])[] = [
  ['1 K', 1024],
  ['16 K', 16384],
  ['256 K', 262144],
  ['1 M', 1048576],
];
/** With more holes a search of each takes seconds. */
const FEW = LIVE.slice(0, 2);
/** Operations of a search: the sorted map looks at every hole. */
const SEARCHES = 1024;

type Filling = (space: Space, count: number) => Ranges;

/** The cases. */
export default [
  ...LIVE.map(([name, count]) => reuse('magazines', name, () => new AllocatorSpace(true), fill, count)),
  ...LIVE.map(([name, count]) => reuse('tree', name, () => new AllocatorSpace(false), fill, count)),
  ...LIVE.map(([name, count]) => reuse('sorted map', name, () => new SortedMapSpace(), fill, count)),
  ...LIVE.map(([name, count]) =>
    reuse('tree, a hole beside each', name, () => new AllocatorSpace(false), fillWithHoles, count),
  ),
  ...LIVE.map(([name, count]) =>
    reuse('sorted map, a hole beside each', name, () => new SortedMapSpace(), fillWithHoles, count),
  ),
  ...LIVE.map(([name, count]) => search('tree', name, () => new AllocatorSpace(false), count)),
  ...FEW.map(([name, count]) => search('sorted map', name, () => new SortedMapSpace(), count)),
  ...LIVE.map(([name, count]) => refuse('tree', name, () => new AllocatorSpace(false), count)),
  ...FEW.map(([name, count]) => refuse('sorted map', name, () => new SortedMapSpace(), count)),
] as readonly BenchCase[];

/** A drawn range is freed and asked for again: an operation is both. It is the highest below its own end. */
function reuse(kind: string, live: string, make: () => Space, filling: Filling, count: number): BenchCase {
  return benchCase({
    name: `free and allocate, ${kind}, ${live} live`,
    operations: DRAWS,
    targets: flat(`free and allocate, ${kind}`, live),
    prepare: (): PreparedCase => {
      const space = make();
      const { iovas, sizes } = drawFrom(filling(space, count));
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < DRAWS; i++) {
            const iova = iovas[i] as number;
            const size = sizes[i] as number;
            space.give(iova, size);
            sum = (sum + space.take(size, iova + size - 1) / GRANULE) | 0;
          }
          return sum;
        },
        verify: () => {
          for (let i = 0; i < DRAWS; i++) {
            const [iova, size] = [iovas[i] as number, sizes[i] as number];
            space.give(iova, size);
            if (space.take(size, iova + size - 1) !== iova) throw new Error(`${iova} did not come back`);
          }
          if (space.liveRanges !== count) throw new Error(`${space.liveRanges} are out`);
        },
      };
    },
  });
}

/** A range of two granules is taken from below all the holes of one, and freed: an operation is both. */
function search(kind: string, holes: string, make: () => Space, count: number): BenchCase {
  return benchCase({
    name: `allocate past small holes and free, ${kind}, ${holes} holes`,
    operations: SEARCHES,
    targets: flat(`allocate past small holes and free, ${kind}`, holes, 'holes'),
    prepare: (): PreparedCase => {
      const space = make();
      fillWithHoles(space, count);
      const below = LAST + 1 - 2 * count * GRANULE - 2 * GRANULE;
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < SEARCHES; i++) {
            const iova = space.take(2 * GRANULE, LAST);
            space.give(iova, 2 * GRANULE);
            sum = (sum + iova / GRANULE) | 0;
          }
          return sum;
        },
        verify: () => {
          const iova = space.take(2 * GRANULE, LAST);
          if (iova !== below) throw new Error(`${iova}, not ${below}`);
          space.give(iova, 2 * GRANULE);
        },
      };
    },
  });
}

/** A request that nothing serves: an operation is one. */
function refuse(kind: string, holes: string, make: () => Space, count: number): BenchCase {
  return benchCase({
    name: `refuse, ${kind}, ${holes} holes`,
    operations: SEARCHES,
    targets: flat(`refuse, ${kind}`, holes, 'holes'),
    prepare: (): PreparedCase => {
      const space = make();
      fillWithHoles(space, count);
      // All below the holes is taken, in pieces as large as alignment allows.
      for (let size = LAST + 1; size > GRANULE; size /= 2) while (space.take(size, LAST) >= 0);
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < SEARCHES; i++) sum += space.take(2 * GRANULE, LAST);
          return sum;
        },
        verify: () => {
          if (space.take(2 * GRANULE, LAST) !== -1) throw new Error('two granules in a row are free');
        },
      };
    },
  });
}

/** Near flat from a thousand ranges on: four times, cache misses included. */
function flat(name: string, count: string, unit = 'live'): Target[] {
  const [smallest] = LIVE[0] as (typeof LIVE)[number];
  if (count === smallest) return [];
  return [{ kind: 'case', name: `${name}, ${smallest} ${unit}`, most: 4 }];
}
