import { expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, type Bench, device, endpoint, K, M, rotator } from './fake-iommu.ts';
import { FakeProcess, FORMAT } from './fake-process.ts';
import { addIommu, ODD } from './space-fixture.ts';

/** A device on a domain, one in an address space of two kinds, one in a process with a fault that waits, one owned. */
function start() {
  const made: Bench = bench({ capabilities: { processFormats: [FORMAT] } });
  const { iommu, world, fake } = made;
  const odd = addIommu(iommu, world, 'odd', ODD);
  const rot = rotator(made);
  const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
  const camera = device('camera', endpoint('vfe', 6));
  const owned = device('owned', endpoint('c9', 9));
  for (const each of [mixed, camera, owned]) iommu.configure(each);
  const mine = iommu.allocPagingDomain(rot, 'mine');
  mine.map(M, M, 8 * K, READ_WRITE);
  iommu.attach(mine, rot);
  const [space, vm] = [iommu.createAddressSpace('guest'), iommu.createAddressSpace('vm', 'all')];
  for (const each of [space, vm]) each.map(M, M, 16 * K, READ_WRITE);
  space.attach(mixed);
  iommu.claimOwnership(owned, 'guest');
  vm.attach(owned);
  const app = new FakeProcess('app', fake.calls);
  const bond = iommu.bindProcess(camera, app);
  fake.stall(iommu, { context: 'vfe', streamId: 6 });
  return { ...made, odd, rot, mixed, camera, owned, mine, space, vm, app, bond };
}

type Started = ReturnType<typeof start>;

const STEPS: Readonly<Record<string, (made: Started) => unknown>> = {
  'unmap of a domain': ({ mine }) => mine.unmap(M, 8 * K),
  'unmap of address spaces': ({ space, vm }) => [space.unmap(0, 4 * M), vm.unmap(0, 4 * M)],
  detach: ({ iommu, mine, rot }) => iommu.detach(mine, rot),
  'detach of a context': ({ iommu, mine, rot }) => iommu.detach(mine, rot, 'rot_dst'),
  'detach from an address space': ({ space, mixed }) => space.detach(mixed),
  unbind: ({ bond }) => bond.unbind(),
  exit: ({ app }) => app.exit(),
  'release of ownership': ({ iommu, owned }) => iommu.releaseOwnership(owned, 'guest'),
  'removal of an IOMMU': ({ iommu }) => iommu.removeInstance('fake'),
  'removal of another': ({ iommu }) => iommu.removeInstance('odd'),
  cleanup: ({ iommu, mixed }) => iommu.cleanup(mixed),
};

/** The rest of the way down, in an order that is allowed. */
function end({ iommu, rot, mixed, camera, owned, mine, space, vm, bond }: Started): void {
  iommu.detach(mine, rot);
  for (const each of [rot, mixed, camera, owned]) iommu.cleanup(each);
  bond.unbind();
  mine.free();
  space.free();
  vm.free();
}

function left({ iommu, fake, odd, app }: Started): unknown {
  return [
    [fake, odd].map((f) => [f.targets.size, f.tables.size, f.processTables.size]),
    [iommu.groups.length, iommu.domains.length, app.listenerCount],
  ];
}

const NOTHING = [
  [
    [0, 0, 0],
    [0, 0, 0],
  ],
  [0, 0, 0],
];

test.each(Object.keys(STEPS))('%s succeeds whatever fails, and nothing is left in the end', (name) => {
  const made = start();
  made.world.fail = () => true;
  made.fake.isUnreachable = true;
  STEPS[name]?.(made);
  end(made);
  expect(left(made)).toEqual(NOTHING);
});

test('all of them, one after the other, while everything fails', () => {
  const made = start();
  made.world.fail = () => true;
  made.fake.isUnreachable = true;
  expect(STEPS['unmap of address spaces']?.(made)).toEqual([16 * K, 16 * K]);
  for (const step of Object.values(STEPS)) step(made);
  end(made);
  expect(left(made)).toEqual(NOTHING);
});

test('all of them in any one place: the nth step fails, the others do not', () => {
  for (let n = 1, hasFired = true; hasFired; n++) {
    const made = start();
    made.world.failpoints.failNth(n);
    for (const step of Object.values(STEPS)) step(made);
    end(made);
    ({ hasFired } = made.world.failpoints);
    expect([n, left(made)]).toEqual([n, NOTHING]);
  }
});

test('what cannot be moved is blocked, and each is reported', () => {
  const made = start();
  made.world.fail = () => true;
  for (const name of ['detach', 'detach from an address space', 'unbind', 'release of ownership'])
    STEPS[name]?.(made);
  expect([made.fake.targets.size, made.odd.targets.size]).toEqual([0, 0]);
  const reported = made.events.filter((e) => e.name === 'iommu:endpoint_quarantined').map((e) => e.fields);
  expect(reported.map((f) => [f['device'], f['provider'], f['context'], f['step']])).toEqual([
    ['rot', 'fake', 'rot_src', 'attach to dma:rot'],
    ['rot', 'fake', 'rot_dst', 'attach to dma:rot'],
    ['mixed', 'fake', 'c0', 'attach to dma:mixed#0'],
    ['mixed', 'odd', 'c0', 'attach to dma:mixed#1'],
    ['camera', 'fake', 'vfe', 'attach to dma:camera'],
    ['owned', 'fake', 'c9', 'attach to dma:owned'],
  ]);
});
