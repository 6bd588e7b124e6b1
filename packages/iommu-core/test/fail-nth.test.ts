import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, type Bench, device, endpoint, K, M, rotator } from './fake-iommu.ts';
import { stateOf, sweep } from './sweep.ts';

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

  test('configure of a device with direct regions, in a group that has some of them', () => {
    const sites = sweep(() => {
      const made = bench({ isolate: () => 'all' });
      const [first, late] = [device('first', endpoint('c0', 0)), device('late', endpoint('c1', 1))];
      first.reservedRegions = [{ name: 'splash', kind: 'direct', iova: M, sizeBytes: 4 * K }];
      late.reservedRegions = [{ name: 'frame', kind: 'direct', iova: M - 4 * K, sizeBytes: 12 * K }];
      made.iommu.configure(first);
      return { made, run: () => made.iommu.configure(late), state: () => stateOf(made) };
    });
    expect(sites).toEqual([
      ...['fake.attach', 'fake.map', 'fake.sync-map'],
      ...['iommu-core.attach', 'iommu-core.journal', 'iommu-core.map'],
    ]);
  });

  test('allocDomain, of which only paging takes memory', () => {
    const kinds = ['paging', 'identity', 'blocked'] as const;
    const sites = kinds.map((kind) =>
      sweep(() => {
        const made = start();
        return { made, run: () => void made.iommu.allocDomain(made.rot, kind), state: () => stateOf(made) };
      }),
    );
    expect(sites).toEqual([['fake.table', 'iommu-core.domain'], [], []]);
  });

  test('setDirtyTracking and readDirty, in which nothing can fail', () => {
    const sites = sweep(() => {
      const made = bench({ capabilities: { dirtyTracking: true } });
      const domain = made.iommu.allocPagingDomain(rotator(made));
      const run = (): void => {
        domain.setDirtyTracking(true);
        domain.readDirty(0, 0, { clear: true });
        domain.setDirtyTracking(false);
      };
      return { made, run, state: () => stateOf(made) };
    });
    expect(sites).toEqual([]);
  });

  test('attach, attachGroup, replace, attachEndpoint and claimOwnership', () => {
    const runs = [
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.attachGroup(mine, rot),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.replace(mine, rot, 'rot_src'),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.attach(mine, rot),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.replace(mine, rot),
      ({ iommu, rot, mine }: ReturnType<typeof start>) => iommu.attachEndpoint(mine, rot, 'rot_dst'),
      ({ iommu, rot }: ReturnType<typeof start>) => iommu.claimOwnership(rot, 'guest'),
    ];
    for (const run of runs) {
      const sites = sweep(() => {
        const made = start();
        return { made, run: () => run(made), state: () => stateOf(made) };
      });
      expect(sites).toEqual(['fake.attach', 'iommu-core.attach']);
    }
  });
});
