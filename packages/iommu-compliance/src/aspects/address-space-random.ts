/** Address spaces under many joins and leaves: every range, random sequences, devices with ways into two kinds of IOMMU. */
import { Device } from '@iommu-lab/driver-core';
import { type IoAddressSpace, READ_WRITE } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import * as fc from 'fast-check';
import type { Bench, Side } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { caught, demand, demandEqual, describe } from '../demand.ts';
import { plainMappings } from '../fail-steps.ts';
import { type ForeignSide, foreignSide } from '../foreign-side.ts';
import { demandSame } from './address-space.ts';

const PAGES = 16;
const DEFAULT_RUNS = 25;

interface Step {
  readonly kind: 'map' | 'unmap' | 'join' | 'leave' | 'look';
  readonly side: number;
  readonly at: number;
  readonly count: number;
  /** The n-th step from here on that can fail does; 0: none. */
  readonly failAt: number;
}

export const addressSpaceRandom: readonly Check[] = defineAspect('address-space', {
  'random joins, leaves, maps and unmaps, some of them failing, do what a list of mappings says'(
    bench,
    { runs, seed },
  ) {
    const foreign = foreignSide(bench);
    const block = bench.page(PAGES * bench.granule, bench.granule);
    const step: fc.Arbitrary<Step> = fc.record({
      kind: fc.constantFrom('map', 'map', 'map', 'unmap', 'join', 'join', 'leave', 'look', 'look'),
      side: fc.nat({ max: 2 }),
      at: fc.nat({ max: PAGES - 1 }),
      count: fc.integer({ min: 1, max: 5 }),
      failAt: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 6 }) },
      ),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) =>
        run(bench, foreign, block, steps),
      ),
      { numRuns: runs ?? DEFAULT_RUNS, ...(seed === undefined ? {} : { seed }) },
    );
  },

  'every start and end in eight granules, replayed for a member that comes and goes each time'(bench) {
    const { granule, first, iommu } = bench;
    const block = bench.page(8 * granule);
    const foreign = foreignSide(bench);
    const space = iommu.createAddressSpace('aligns');
    space.attach(first.device);
    for (let start = 0; start < 8; start++) {
      for (let end = start + 1; end <= 8; end++) {
        const sizeBytes = (end - start) * granule;
        space.map(bench.iova(8 + start), block + start * granule, sizeBytes, READ_WRITE);
        space.attach(foreign.device);
        demandSame(space);
        for (const side of [first, foreign]) {
          for (const i of [start, end - 1]) bench.demandReads(side, bench.iova(8 + i), block + i * granule);
          for (const i of [start - 1, end]) bench.demandReadFaults(side, bench.iova(8 + i), 'outside');
        }
        if ((start + end) % 2 === 0) space.detach(foreign.device);
        demandEqual(space.unmap(bench.iova(8 + start), sizeBytes), sizeBytes, 'bytes removed');
        bench.demandReadFaults(first, bench.iova(8 + start), 'unmapped');
        bench.demandReadFaults(foreign, bench.iova(8 + start), 'unmapped, or left before');
        space.detach(foreign.device);
      }
    }
  },

  'a device with ways into two kinds of IOMMU has both translated, or neither'(bench) {
    const { iommu, first, granule } = bench;
    const page = bench.page();
    const foreign = foreignSide(bench);
    for (const { device } of [first, foreign]) iommu.cleanup(device);
    const device = new Device('two-legged');
    device.endpoints = [first.endpoint, foreign.endpoint];
    iommu.configure(device);
    const legs = [first, foreign].map((side): Side => ({ ...side, device }));
    for (const leg of legs) bench.demandNoAccess(leg, bench.iova(0), 'nothing is mapped', page);
    const space = iommu.createAddressSpace('two legs');
    space.map(bench.iova(0), page, granule, READ_WRITE);
    space.map(bench.iova(2) + granule / 2, page, granule / 2, READ_WRITE);
    demand(
      isLabError(
        caught(() => space.attach(device)),
        'EINVAL',
      ),
      'one leg cannot: the device cannot',
    );
    for (const leg of legs) bench.demandNoAccess(leg, bench.iova(0), 'refused as a whole', page);
    space.unmap(bench.iova(2), granule);
    space.attach(device);
    for (const leg of legs) bench.demandReads(leg, bench.iova(0), page);
    space.unmap(bench.iova(0), granule);
    for (const leg of legs) bench.demandNoAccess(leg, bench.iova(0), 'unmapped', page);
    space.detach(device);
    demandEqual(space.domains.length, 0, 'domains');
    iommu.cleanup(device);
  },
});

/** One sequence, from nothing to nothing. */
function run(bench: Bench, foreign: ForeignSide, block: number, steps: readonly Step[]): void {
  const { granule, iommu, world } = bench;
  const sides = [...bench.sides, foreign];
  const memory = (): unknown => [bench.fixture.allocatedTableBytes(), foreign.instance.allocatedBytes];
  const before = memory();
  const space = iommu.createAddressSpace('random');
  /** By first granule, how many. */
  const model = new Map<number, number>();
  const members = new Set<number>();
  const overlapping = (at: number, count: number): readonly number[] =>
    [...model].filter(([start, n]) => start < at + count && at < start + n).map(([start]) => start);
  try {
    for (const { kind, side, at, count: wanted, failAt } of steps) {
      const count = Math.min(wanted, PAGES - at);
      const device = (sides[side] as Side).device;
      if (failAt > 0) world.failpoints.failNth(failAt);
      const error = caught(() => {
        if (kind === 'map') space.map(bench.iova(at), block + at * granule, count * granule, READ_WRITE);
        else if (kind === 'unmap') space.unmap(bench.iova(at), count * granule);
        else if (kind === 'join') space.attach(device);
        else if (kind === 'leave') space.detach(device);
      });
      const isByFailpoint = failAt > 0 && world.failpoints.hasFired;
      world.failpoints.reset();
      const over = overlapping(at, count);
      const isCut = over.some((start) => start < at || start + (model.get(start) ?? 0) > at + count);
      const expected =
        (kind === 'map' && over.length > 0 && 'EEXIST') ||
        (kind === 'unmap' && isCut && 'EINVAL') ||
        (kind === 'join' && members.has(side) && 'EBUSY') ||
        undefined;
      const what = `${kind} of side ${side}, ${count} granules at ${at}`;
      const isRight = expected === undefined ? error === undefined : isLabError(error, expected);
      const canFail = isByFailpoint && (kind === 'map' || kind === 'join') && isLabError(error);
      demand(isRight || canFail, `${what}: expected ${expected ?? 'no error'}, got ${describe(error)}`);
      if (error === undefined) {
        if (kind === 'map') model.set(at, count);
        if (kind === 'unmap') for (const start of over) model.delete(start);
        if (kind === 'join') members.add(side);
        if (kind === 'leave') members.delete(side);
      }
      if (kind === 'leave' && isByFailpoint) {
        // What could not be taken back is blocked until it is configured anew.
        iommu.cleanup(device);
        iommu.configure(device);
      }
      demandModel(bench, space, model, block);
      if (kind !== 'look') continue;
      const to = overlapping(at, 1).length > 0 ? block + at * granule : undefined;
      for (const [i, looking] of sides.entries()) {
        if (members.has(i) && to !== undefined) bench.demandReads(looking, bench.iova(at), to);
        else bench.demandReadFaults(looking, bench.iova(at), `granule ${at} for side ${i}`);
      }
    }
  } finally {
    world.failpoints.reset();
    for (const { device } of sides) space.detach(device);
    space.free();
  }
  demandEqual(memory(), before, 'table memory after the sequence');
}

function demandModel(
  bench: Bench,
  space: IoAddressSpace,
  model: ReadonlyMap<number, number>,
  block: number,
): void {
  const { granule } = bench;
  const expected = [...model]
    .sort(([a], [b]) => a - b)
    .map(([at, count]) => ({
      iova: bench.iova(at),
      address: block + at * granule,
      sizeBytes: count * granule,
    }));
  demandEqual(plainMappings(space.mappings()), expected, 'mappings of the space');
  demandSame(space);
}
