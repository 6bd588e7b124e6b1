import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, type Bench, device, endpoint, FakeIommu, K, M, rotator } from './fake-iommu.ts';
import { FakeProcess, FORMAT } from './fake-process.ts';
import { addIommu, ODD } from './space-fixture.ts';
import { stateOf, sweep } from './sweep.ts';

/** An odd IOMMU beside the fake, a rotator behind the fake, `mixed` behind both, an address space with a buffer. */
function start(isConfigured = true): Bench & ReturnType<typeof more> {
  const made = bench({ capabilities: { processFormats: [FORMAT] } });
  return { ...made, ...more(made, isConfigured) };
}

function more(made: Bench, isConfigured: boolean) {
  const { iommu, world } = made;
  const capabilities = { ...ODD.capabilities, processFormats: [FORMAT] };
  const odd = addIommu(iommu, world, 'odd', { ...ODD, capabilities });
  const rot = rotator(made);
  const mixed = device('mixed', endpoint('c0', 0), endpoint('c1', 1), endpoint('c0', 0, 'odd'));
  mixed.reservedRegions = [{ name: 'splash', kind: 'direct-relaxable', iova: 8 * M, sizeBytes: 16 * K }];
  if (isConfigured) iommu.configure(mixed);
  const space = iommu.createAddressSpace('guest');
  space.mapSg(
    M,
    [M, 9 * M].map((address) => ({ address, length: 32 * K })),
    READ_WRITE,
    'old',
  );
  const app = new FakeProcess('app');
  const state = (): unknown => [
    stateOf(made, odd),
    space.mappings(),
    space.mappedBytes,
    space.domains.map((d) => d.name.split('#')[0]),
    space.members.map((d) => d.name),
    app.listenerCount,
  ];
  return { odd, rot, mixed, space, app, state };
}

const MAP_SITES = [
  'fake.map',
  'fake.sync-map',
  'iommu-core.journal',
  'iommu-core.map',
  'iommu-core.space-map',
];
const ATTACH_SITES = ['fake.attach', 'iommu-core.attach'];
const DOMAIN_SITES = ['fake.table', 'iommu-core.domain'];
const REPLAY_SITES = ['fake.map', 'fake.sync-map', 'iommu-core.journal', 'iommu-core.map'];

describe('the nth failure leaves everything as it was', () => {
  test('configure behind two kinds of IOMMU', () => {
    const sites = sweep(() => {
      const made = start(false);
      return { made, run: () => made.iommu.configure(made.mixed), state: made.state };
    });
    const own = ['iommu-core.group', 'iommu-core.space-map'];
    expect(sites).toEqual([...ATTACH_SITES, ...DOMAIN_SITES, ...REPLAY_SITES, ...own].sort());
  });

  test('configure into a group whose default spans two kinds', () => {
    const sites = sweep(() => {
      const made = start();
      const late = device('late', endpoint('c0', 7), endpoint('c9', 7, 'odd'));
      late.reservedRegions = [{ name: 'frame', kind: 'direct', iova: 48 * M, sizeBytes: 16 * K }];
      const home = made.iommu.groupOf(made.mixed)?.defaultSpace;
      home?.map(32 * M, M, 16 * K, READ_WRITE);
      return {
        made,
        run: () => made.iommu.configure(late),
        state: () => [made.state(), home?.mappings()],
      };
    });
    expect(sites).toEqual([...ATTACH_SITES, ...REPLAY_SITES, 'iommu-core.space-map'].sort());
  });

  test('createAddressSpace', () => {
    const sites = (['all', 'members'] as const).map((span) =>
      sweep(() => {
        const made = start();
        return { made, run: () => void made.iommu.createAddressSpace('vm', span), state: made.state };
      }),
    );
    expect(sites).toEqual([DOMAIN_SITES, []]);
  });

  test('map and mapSg of an address space, with two domains and with none', () => {
    const entries = [64, 32, 48].map((n) => ({ address: n * M, length: 48 * K }));
    for (const isUsed of [true, false]) {
      for (const isScattered of [true, false]) {
        const sites = sweep(() => {
          const made = start();
          if (isUsed) made.space.attach(made.mixed);
          const run = (): void => {
            if (isScattered) made.space.mapSg(64 * M, entries, READ_WRITE);
            else made.space.map(M - 64 * K, 5 * M, 64 * K, READ_WRITE);
          };
          return { made, run, state: made.state };
        });
        expect(sites).toEqual(isUsed ? MAP_SITES : ['iommu-core.space-map']);
      }
    }
  });

  test('attach to an address space', () => {
    const sites = sweep(() => {
      const made = start();
      made.iommu.claimOwnership(made.mixed, 'guest');
      return { made, run: () => made.space.attach(made.mixed), state: made.state };
    });
    expect(sites).toEqual([...ATTACH_SITES, ...DOMAIN_SITES, ...REPLAY_SITES].sort());
    const shared = sweep(() => {
      const made = start();
      made.space.attach(made.mixed);
      return { made, run: () => made.space.attach(made.rot), state: made.state };
    });
    expect(shared).toEqual(ATTACH_SITES);
  });

  test('bindProcess, of a device and of a context', () => {
    const sites = ['odd:c0', undefined].map((context) =>
      sweep(() => {
        const made = start();
        return {
          made,
          run: () => void made.iommu.bindProcess(made.mixed, made.app, context),
          state: made.state,
        };
      }),
    );
    const expected = [...ATTACH_SITES, 'fake.process-table', 'iommu-core.domain'].sort();
    expect(sites).toEqual([expected, expected]);
    const again = sweep(() => {
      const made = start();
      made.iommu.bindProcess(made.mixed, made.app);
      return { made, run: () => void made.iommu.bindProcess(made.mixed, made.app), state: made.state };
    });
    expect(again).toEqual([]);
  });
});

test('an IOMMU is registered whatever fails: an address space that cannot reach it says so', () => {
  const made = start();
  const vm = made.iommu.createAddressSpace('vm', 'all');
  vm.map(M, M, 16 * K, READ_WRITE);
  const names: string[] = [];
  for (let n = 1; ; n++) {
    const late = new FakeIommu(made.world, { provider: `late${n}`, tableKey: `late${n}` });
    made.world.failpoints.failNth(n);
    made.iommu.registerInstance(late);
    const { hasFired } = made.world.failpoints;
    names.push(...made.world.failpoints.hits().keys());
    made.world.failpoints.reset();
    expect([late.tables.size, made.iommu.instances.includes(late)]).toEqual([hasFired ? 0 : 1, true]);
    if (!hasFired) break;
  }
  expect([...new Set(names)].sort()).toEqual([...DOMAIN_SITES, ...REPLAY_SITES].sort());
  const failed = made.events.filter((e) => e.name === 'iommu:address_space_not_extended');
  expect([failed.length, vm.domains.length]).toEqual([6, 3]);
});
