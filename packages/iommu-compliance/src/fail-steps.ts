/** Fails the 1st, 2nd, ... nth step of an operation and looks at what is left behind. */
import type { MappingRecord, SpaceDomain } from '@iommu-lab/iommu-core';
import { isLabError } from '@iommu-lab/machine';
import type { Bench, Side } from './bench.ts';
import { caught, demand, demandEqual, describe } from './demand.ts';

/** No operation has as many steps that can fail. */
const MOST_STEPS = 1000;

export interface Sweep {
  readonly act: () => void;
  readonly undo: () => void;
  /** IOVAs at which the devices read, before and after. */
  readonly probes?: readonly number[];
  /** Devices that read there; both of the fixture unless given. */
  readonly sides?: readonly Side[];
  /** What else must be as before, as plain data. */
  readonly look?: () => unknown;
}

/** Fails each step of `act` in turn and compares what is left with what was there. */
export function sweep(
  bench: Bench,
  domains: readonly SpaceDomain[],
  { act, undo, probes = [], sides = bench.sides, look: lookElsewhere = () => null }: Sweep,
): void {
  const look = (): unknown => ({ ...snapshot(bench, domains, probes, sides), more: lookElsewhere() });
  const before = look();
  for (let n = 1; n <= MOST_STEPS; n++) {
    bench.world.failpoints.failNth(n);
    const error = caught(act);
    const { hasFired } = bench.world.failpoints;
    const site = reportSites(bench);
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
    reportSites(bench);
    demand(error === undefined, `step ${n} failed and it threw: ${describe(error)}`);
    verify();
    if (!hasFired) return;
  }
  demand(false, `the operation has fewer than ${MOST_STEPS} steps that can fail`);
}

/** Reports the steps that were reached, and lets none fail any more. @returns the last of them: the one that failed */
function reportSites(bench: Bench): string | undefined {
  const sites = [...bench.world.failpoints.hits().keys()];
  bench.world.failpoints.reset();
  for (const site of sites) bench.onFailSite(site);
  return sites.at(-1);
}

/** Mappings as plain data. */
export function plainMappings(mappings: readonly MappingRecord[]): readonly object[] {
  return mappings.map(({ iova, address, sizeBytes }) => ({ iova, address, sizeBytes }));
}

/** All that can be seen from outside: memory in use, mappings, domains, groups, and what DMA gets. */
function snapshot(
  bench: Bench,
  domains: readonly SpaceDomain[],
  probes: readonly number[],
  sides: readonly Side[],
): object {
  const { iommu, fixture } = bench;
  return {
    allocatedTableBytes: fixture.allocatedTableBytes(),
    live: iommu.domains.map((domain) => domain.name),
    domains: domains.map((domain) => ({
      name: domain.name,
      tableBytes: domain.tableBytes,
      mappings: plainMappings(domain.mappings()),
      leadsTo: probes.map((iova) => domain.iovaToPhys(iova) ?? null),
    })),
    groups: iommu.groups.map((group) => ({
      devices: group.devices.map((d) => d.name),
      domain: group.domain?.name ?? null,
      endpoints: group.devices.map((d) =>
        d.endpoints.map((e) => iommu.domainOf(d, `${e.provider}:${e.context}`)?.name ?? null),
      ),
      owner: group.owner ?? null,
    })),
    dma: sides.map((side) =>
      probes.map((iova) => {
        const { state, data } = bench.read(side.master, iova);
        return state === 'done' ? data : state;
      }),
    ),
  };
}
