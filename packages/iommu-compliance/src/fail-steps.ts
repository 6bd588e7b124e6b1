/** Fails the 1st, 2nd, ... nth step of an operation and looks at what is left behind. */
import type { IommuDomain } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import type { Bench } from './bench.ts';
import { caught, demand, demandEqual, describe } from './demand.ts';

/** No operation has as many steps that can fail. */
const MOST_STEPS = 1000;

export interface Sweep {
  readonly act: () => void;
  readonly undo: () => void;
  /** IOVAs at which both devices read, before and after. */
  readonly probes?: readonly number[];
}

/** Fails each step of `act` in turn and compares what is left with what was there. */
export function sweep(
  bench: Bench,
  domains: readonly IommuDomain[],
  { act, undo, probes = [] }: Sweep,
): void {
  const look = (): unknown => snapshot(bench, domains, probes);
  const before = look();
  for (let n = 1; n <= MOST_STEPS; n++) {
    bench.world.failpoints.failNth(n);
    const error = caught(act);
    const { hasFired } = bench.world.failpoints;
    const site = [...bench.world.failpoints.hits().keys()].at(-1);
    bench.world.failpoints.reset();
    if (error === undefined) undo();
    else
      demand(
        isLabError(error) && hasFired,
        `step ${n} (${site}): expected a LabError, got ${describe(error)}`,
      );
    const how = error === undefined ? 'done and undone' : describe(error);
    demandEqual(look(), before, `what is left after step ${n} (${site}) failed: ${how}`);
    if (!hasFired) return;
  }
  demand(false, `the operation has fewer than ${MOST_STEPS} steps that can fail`);
}

export interface Removal {
  readonly prepare: () => void;
  readonly act: () => void;
  readonly verify: () => void;
}

/** Fails each step of `act` in turn: it must not throw, and what it promises holds all the same. */
export function neverFails(bench: Bench, { prepare, act, verify }: Removal): void {
  for (let n = 1; n <= MOST_STEPS; n++) {
    prepare();
    bench.world.failpoints.failNth(n);
    const error = caught(act);
    const { hasFired } = bench.world.failpoints;
    bench.world.failpoints.reset();
    demand(error === undefined, `step ${n} failed and it threw: ${describe(error)}`);
    verify();
    if (!hasFired) return;
  }
  demand(false, `the operation has fewer than ${MOST_STEPS} steps that can fail`);
}

/** All that can be seen from outside: memory in use, mappings, domains, groups, and what DMA gets. */
function snapshot(bench: Bench, domains: readonly IommuDomain[], probes: readonly number[]): unknown {
  const { iommu, fixture } = bench;
  return {
    allocatedTableBytes: fixture.allocatedTableBytes(),
    domains: domains.map((domain) => ({
      name: domain.name,
      tableBytes: domain.tableBytes,
      mappings: domain.mappings().map(({ iova, address, sizeBytes }) => ({ iova, address, sizeBytes })),
      leadsTo: probes.map((iova) => domain.iovaToPhys(iova) ?? null),
    })),
    groups: iommu.groups.map((group) => ({
      devices: group.devices.map((d) => d.name),
      domain: group.domain.name,
      owner: group.owner ?? null,
    })),
    dma: bench.sides.map((side) =>
      probes.map((iova) => {
        const { state, data } = bench.read(side.master, iova);
        return state === 'done' ? data : state;
      }),
    ),
  };
}
