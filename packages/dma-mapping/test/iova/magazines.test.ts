import { describe, expect, test } from '@jest/globals';
import { type Iova, World } from '@iommu-lab/machine';
import { IovaAllocator } from '../../src/iova/iova-allocator.ts';
import { codeOf } from '../support/code-of.ts';

const GRANULE = 4096;
const ANYWHERE = 0xffffffff;
/** Ranges in a magazine. */
const MAGAZINE = 127;
const DEPOT_DELAY_NS = 100_000_000;

class Bench {
  readonly world: World = new World();
  readonly space: IovaAllocator;

  constructor(cpus: number, last: number = ANYWHERE) {
    this.space = new IovaAllocator(this.world, { granule: GRANULE, start: 0, last, cpus });
  }

  on(cpu: number): this {
    this.world.currentCpu = cpu;
    return this;
  }

  take(count: number, granules = 1): Iova[] {
    return Array.from({ length: count }, () => this.space.allocate(granules * GRANULE, ANYWHERE));
  }

  give(ranges: readonly Iova[], granules = 1): void {
    for (const iova of ranges) this.space.free(iova, granules * GRANULE);
  }

  /** Ranges of one granule in the magazines. */
  get cached(): number {
    return this.space.fragmentation().cachedBytes / GRANULE;
  }
}

describe('reuse', () => {
  test('what was freed last comes back first, as far as two magazines go', () => {
    const bench = new Bench(1);
    const out = bench.take(2 * MAGAZINE);
    bench.give(out);
    expect(bench.take(2 * MAGAZINE).every((iova, i) => iova === out.at(-1 - i))).toBe(true);
  });

  test('sizes of a class share its magazines; 33 granules and more go to the tree', () => {
    const bench = new Bench(1);
    const [three] = bench.take(1, 3);
    bench.give([three as Iova], 3);
    expect(bench.space.allocate(4 * GRANULE, ANYWHERE)).toBe(three);
    bench.give([three as Iova], 4);
    expect(bench.cached).toBe(4);
    for (const granules of [1, 2, 4, 8, 16, 32]) bench.give(bench.take(1, granules), granules);
    expect(bench.cached).toBe(1 + 2 + 4 + 8 + 16 + 32);
    bench.give(bench.take(1, 33), 33);
    expect(bench.cached).toBe(63);
  });

  test('a freed range is free space at once, and cannot be freed again', () => {
    const bench = new Bench(1, 0xfffff);
    const { freeBytes } = bench.space;
    const [iova] = bench.take(1);
    bench.give([iova as Iova]);
    expect([bench.space.freeBytes, bench.space.liveRanges, bench.cached]).toEqual([freeBytes, 0, 1]);
    expect(codeOf(() => bench.give([iova as Iova]))).toBe('EINVAL');
  });

  test('from the top of the magazine the first range below the limit is taken', () => {
    const bench = new Bench(1);
    const high = bench.take(2);
    const low = bench.space.allocate(GRANULE, 0xffff);
    bench.give([low, ...high]);
    expect(bench.space.allocate(GRANULE, 0xffff)).toBe(low);
    // None: as if it were empty.
    expect(bench.space.allocate(GRANULE, 0xffff)).toBe(low - GRANULE);
    // The last one has moved to where `low` was.
    expect(bench.take(2)).toEqual(high);
  });

  test('the previous magazine is looked into only when the loaded one is empty', () => {
    const bench = new Bench(1);
    const low = bench.space.allocate(GRANULE, 0xffff);
    const high = bench.take(MAGAZINE);
    bench.give([low, ...high]);
    // One of `high` is loaded; the rest, and `low`, are in the previous one.
    expect(bench.space.allocate(GRANULE, 0xffff)).toBe(low - GRANULE);
    bench.take(1);
    expect(bench.space.allocate(GRANULE, 0xffff)).toBe(low);
  });
});

describe('CPUs', () => {
  test('what one CPU freed another does not get, until it goes through the depot', () => {
    const bench = new Bench(2);
    const out = bench.on(0).take(2 * MAGAZINE + 1);
    bench.give(out.slice(0, 2 * MAGAZINE));
    const [fresh] = bench.on(1).take(1);
    expect(out).not.toContain(fresh);
    // One more: the loaded magazine goes to the depot.
    bench.on(0).give(out.slice(2 * MAGAZINE));
    const taken = bench.on(1).take(MAGAZINE);
    expect(taken).toEqual(out.slice(MAGAZINE, 2 * MAGAZINE).toReversed());
    expect(out).not.toContain(bench.take(1)[0]);
  });

  test('a CPU beyond those that have magazines shares one by the remainder', () => {
    const bench = new Bench(2);
    const out = bench.on(1).take(1);
    bench.give(out);
    expect(bench.on(3).take(1)).toEqual(out);
  });
});

describe('the depot', () => {
  /** Freed so that `magazines` are in the depot of CPU 0. */
  const fill = (bench: Bench, magazines: number): number => {
    const count = (2 + magazines) * MAGAZINE;
    bench.give(bench.take(count));
    return count;
  };

  test('gives a magazine back every 100 ms while it has more than there are CPUs', () => {
    const bench = new Bench(2);
    const count = fill(bench, 5);
    // The last free of a magazine's worth is still in the CPU's own.
    expect(bench.cached).toBe(count);
    const seen: number[] = [];
    bench.world.clock.advance(DEPOT_DELAY_NS - 1);
    seen.push(bench.cached);
    for (let i = 0; i < 5; i++) {
      bench.world.clock.advance(i === 0 ? 1 : DEPOT_DELAY_NS);
      seen.push(bench.cached);
    }
    expect(seen.map((cached) => (count - cached) / MAGAZINE)).toEqual([0, 1, 2, 3, 3, 3]);
  });

  test('with as many magazines as CPUs schedules nothing', () => {
    const bench = new Bench(2);
    fill(bench, 2);
    bench.world.clock.run();
    expect(bench.world.clock.now).toBe(0);
  });

  test('keeps the job for the next time when it has been used up meanwhile', () => {
    const bench = new Bench(1);
    const count = fill(bench, 2);
    // One is left, as many as there are CPUs.
    const out = bench.take(3 * MAGAZINE);
    bench.world.clock.run();
    expect([bench.world.clock.now, bench.cached]).toEqual([DEPOT_DELAY_NS, MAGAZINE]);
    bench.give(out);
    bench.world.clock.run();
    expect([bench.world.clock.now, bench.cached]).toEqual([2 * DEPOT_DELAY_NS, count - MAGAZINE]);
  });
});

describe('when nothing is left', () => {
  /** All of a small space freed, one granule each, on two CPUs. */
  const inPieces = (): Bench => {
    const bench = new Bench(2, 0x400 * GRANULE - 1);
    const out = bench.take(0x3ff);
    bench.on(0).give(out.slice(0, 0x200));
    bench.on(1).give(out.slice(0x200));
    return bench;
  };

  test('all magazines are emptied, and the tree is asked again', () => {
    const bench = inPieces();
    expect(bench.space.fragmentation()).toMatchObject({ holes: 0, largestFreeBytes: 0, largestShare: 0 });
    expect(bench.space.allocate(0x200 * GRANULE, ANYWHERE)).toBe(0x200 * GRANULE);
    expect(bench.cached).toBe(0);
  });

  test('unless the caller does not want that', () => {
    const bench = inPieces();
    const { space } = bench;
    expect(space.tryAllocate(2 * GRANULE, ANYWHERE)).toBeUndefined();
    expect([bench.cached, space.liveRanges]).toEqual([0x3ff, 0]);
    expect(space.tryAllocate(GRANULE, ANYWHERE)).toBeDefined();
  });

  test('emptied magazines are one space again', () => {
    const { space } = inPieces();
    space.emptyCaches();
    expect(space.fragmentation()).toEqual({
      freeBytes: 0x3ff * GRANULE,
      cachedBytes: 0,
      holes: 1,
      largestHoleBytes: 0x3ff * GRANULE,
      largestFreeBytes: 0x200 * GRANULE,
      largestShare: 0x200 / 0x3ff,
    });
  });
});
