import { describe, expect, test } from '@jest/globals';
import { isLabError, type World } from '@iommu-lab/machine';
import { READ_WRITE } from '../src/index.ts';
import { bench, type Bench, device, endpoint, K, M, rotator } from './fake-iommu.ts';
import { mustEqual } from './must-equal.ts';

/** An operation, and what must be the same after it failed. */
interface Sweep {
  readonly run: () => void;
  readonly made: Bench;
  readonly state: () => unknown;
}

/** A device with something mapped in its default domain and in another one, `mine`. */
function start(): Bench & ReturnType<typeof devices> {
  const made = bench();
  return { ...made, ...devices(made) };
}

function devices(made: Bench) {
  const rot = rotator(made);
  const mine = made.iommu.allocPagingDomain(rot, 'mine');
  mine.map(M, 64 * M, 8 * K, READ_WRITE, 'old');
  return { rot, mine };
}

function stateOf({ iommu, fake }: Bench): unknown {
  return {
    hardware: fake.state(),
    groups: iommu.groups.map((g) => [
      g.id,
      g.devices.map((d) => d.name),
      g.domain.name,
      g.defaultDomain.name,
      g.owner,
    ]),
    domains: iommu.groups.map((g) => [g.defaultDomain.mappings(), g.defaultDomain.mappedBytes]),
  };
}

/** Fails the 1st, 2nd, ... nth step of what `make` prepares. @returns sites that failed */
function sweep(make: () => Sweep): readonly string[] {
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

describe('the nth failure leaves everything as it was', () => {
  test('map of many page sizes', () => {
    const sites = sweep(() => {
      const made = start();
      return {
        made,
        run: () => made.mine.map(0x1f_f000 + 14 * M, 0x1f_f000 + 14 * M, 18 * M, READ_WRITE),
        state: () => [stateOf(made), made.mine.mappings()],
      };
    });
    expect(sites).toEqual(['fake.map', 'fake.sync-map', 'iommu-core.journal', 'iommu-core.map']);
  });

  test('mapSg', () => {
    const sites = sweep(() => {
      const made = start();
      const entries = [0x100_0000, 0x300_0000, 0x500_1000].map((address) => ({ address, length: 68 * K }));
      return {
        made,
        run: () => void made.mine.mapSg(4 * M, entries, READ_WRITE),
        state: () => [stateOf(made), made.mine.mappings()],
      };
    });
    expect(sites).toEqual(['fake.map', 'fake.sync-map', 'iommu-core.journal', 'iommu-core.map']);
  });

  test('configure', () => {
    const sites = sweep(() => {
      const made = start();
      const vfe = device('vfe', endpoint('vfe_image', 6), endpoint('vfe_misc', 7), endpoint('vfe_3', 8));
      return { made, run: () => made.iommu.configure(vfe), state: () => stateOf(made) };
    });
    expect(sites).toEqual([
      'fake.attach',
      'fake.table',
      'iommu-core.attach',
      'iommu-core.domain',
      'iommu-core.group',
    ]);
  });

  test('allocPagingDomain', () => {
    const sites = sweep(() => {
      const made = start();
      return {
        made,
        run: () => void made.iommu.allocPagingDomain(made.rot),
        state: () => [stateOf(made), made.iommu.domains.length],
      };
    });
    expect(sites).toEqual(['fake.table', 'iommu-core.domain']);
  });

  test('attach, replace, attachEndpoint and claimOwnership', () => {
    const runs = [
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.attach(mine, rot),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.replace(mine, rot),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.attachEndpoint(mine, rot, 'rot_dst'),
      ({ iommu, rot }: ReturnType<typeof start>) => iommu.claimOwnership(rot, 'guest'),
    ];
    for (const run of runs) {
      const sites = sweep(() => {
        const made = start();
        const contexts = ['rot_src', 'rot_dst'];
        return {
          made,
          run: () => run(made),
          state: () => [stateOf(made), contexts.map((c) => made.iommu.domainOf(made.rot, c)?.name)],
        };
      });
      expect(sites).toEqual(['fake.attach', 'iommu-core.attach']);
    }
  });
});

test('unmap, detach, release and cleanup succeed whatever fails', () => {
  const failAlways = (world: World): void => {
    world.fail = () => true;
  };
  const made = start();
  const { iommu, fake, rot, mine, world } = made;
  iommu.claimOwnership(rot, 'guest');
  iommu.attach(mine, rot);
  failAlways(world);
  expect(mine.unmap(M, 8 * K)).toBe(8 * K);
  iommu.detach(mine, rot);
  iommu.releaseOwnership(rot);
  iommu.cleanup(rot);
  mine.free();
  expect([fake.targets.size, fake.tables.size, iommu.groups]).toEqual([0, 0, []]);
});
