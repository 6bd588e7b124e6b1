/** The nth-failure sweep: every step of an operation fails once, and everything must be as it was before. */
import { isLabError } from '@iommu-lab/machine';
import type { Bench, FakeIommu } from './fake-iommu.ts';
import { mustEqual } from './must-equal.ts';

/** An operation, and what must be the same after it failed. */
export interface Sweep {
  readonly run: () => void;
  readonly made: Bench;
  readonly state: () => unknown;
}

/** All that a system of some fakes remembers: hardware, groups, domains, address spaces. */
export function stateOf({ iommu, fake }: Bench, ...others: readonly FakeIommu[]): unknown {
  return {
    hardware: [fake, ...others].map((f) => [f.state(), f.processTables.size]),
    groups: iommu.groups.map((g) => [
      g.id,
      g.devices.map((d) => d.name),
      g.domain?.name,
      g.defaultDomain.name,
      g.defaultSpace?.domains.map((d) => d.name),
      g.owner,
    ]),
    domains: iommu.domains.map((d) => [d.name, d.mappings(), d.mappedBytes]),
    endpoints: iommu.groups.flatMap((g) =>
      g.devices.flatMap((d) => d.endpoints.map((e) => iommu.domainOf(d, `${e.provider}:${e.context}`)?.name)),
    ),
  };
}

/** Fails the 1st, 2nd, ... nth step of what `make` prepares. @returns sites that failed */
export function sweep(make: () => Sweep): readonly string[] {
  const sites = new Set<string>();
  for (let n = 1; ; n++) {
    const { run, made, state } = make();
    const before = state();
    made.world.failpoints.failNth(n);
    let isDone = false;
    try {
      run();
      isDone = true;
    } catch (error) {
      if (!isLabError(error)) throw error;
    }
    const { hasFired } = made.world.failpoints;
    for (const site of made.world.failpoints.hits().keys()) sites.add(site);
    made.world.failpoints.reset();
    if (!hasFired) {
      mustEqual(isDone, true);
      return [...sites].sort();
    }
    mustEqual([n, isDone], [n, false]);
    mustEqual(state(), before);
    // The same operation succeeds once there is memory again.
    run();
  }
}
