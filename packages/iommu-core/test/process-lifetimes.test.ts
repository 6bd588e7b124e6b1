import { describe, expect, test } from '@jest/globals';
import type { ReservedRegionKind } from '@iommu-lab/driver-core';
import type { Fault } from '../src/index.ts';
import { codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { FakeProcess } from './fake-process.ts';
import { kindsOf, type ProcessBench, startProcess } from './process-fixture.ts';
import { addIommu } from './space-fixture.ts';

/** What a bond holds on to: listeners of its process, process tables, accesses that wait. */
function held({ fake, app }: ProcessBench): readonly number[] {
  return [app.listenerCount, fake.processTables.size, fake.stalled.size];
}

describe('a device with direct regions', () => {
  function reserving(kind: ReservedRegionKind) {
    const made = startProcess();
    const display = device('display', endpoint('c0', 0), endpoint('c1', 1));
    display.reservedRegions = [{ kind, iova: M, sizeBytes: 4 * K, name: 'splash' }];
    made.iommu.configure(display);
    return { ...made, display };
  }

  test('works for no process, which has other things there: EINVAL', () => {
    const made = reserving('direct');
    const { iommu, fake, display, app } = made;
    expect(codeOf(() => iommu.bindProcess(display, app))).toBe('EINVAL');
    expect(codeOf(() => iommu.bindProcess(display, app, 'c1'))).toBe('EINVAL');
    expect([held(made), kindsOf(fake).includes('sva')]).toEqual([[0, 0, 0], false]);
  });

  test('that its IOMMU keeps works for none either', () => {
    const made = startProcess({
      reserved: () => [{ kind: 'direct', iova: M, sizeBytes: 4 * K, name: 'msi' }],
    });
    expect(codeOf(() => made.iommu.bindProcess(made.rot, made.app))).toBe('EINVAL');
    expect(held(made)).toEqual([0, 0, 0]);
  });

  test.each(['direct-relaxable', 'reserved', 'msi'] as const)('is not one with %s ones', (kind) => {
    const { iommu, fake, display, app } = reserving(kind);
    const bond = iommu.bindProcess(display, app);
    expect(kindsOf(fake).slice(2)).toEqual(['sva', 'sva']);
    bond.unbind();
  });
});

describe('two processes, one after the other', () => {
  function twoExits() {
    const made = startProcess();
    const { iommu, rot, app } = made;
    const next = new FakeProcess('next');
    const first = iommu.bindProcess(rot, app);
    app.exit();
    const second = iommu.bindProcess(rot, next);
    next.exit();
    return { ...made, first, second, next };
  }

  test('that have both ended keep the device blocked until the later one is unbound', () => {
    const { iommu, fake, rot, first, second, app, next } = twoExits();
    first.unbind();
    expect([kindsOf(fake), iommu.domainOf(rot)]).toEqual([['blocked', 'blocked'], iommu.blockedDomain]);
    second.unbind();
    expect([kindsOf(fake), iommu.domainOf(rot)]).toEqual([['paging', 'paging'], iommu.defaultDomainOf(rot)]);
    expect([fake.processTables.size, app.listenerCount, next.listenerCount]).toEqual([0, 0, 0]);
  });

  test('are unbound in any order: the device is at home in the end', () => {
    const { iommu, fake, rot, first, second } = twoExits();
    second.unbind();
    first.unbind();
    expect(iommu.domainOf(rot, 'rot_dst')).toBe(iommu.defaultDomainOf(rot));
    expect([kindsOf(fake), fake.processTables.size]).toEqual([['paging', 'paging'], 0]);
  });

  test.each(['at once', 'after a domain of his own'])(
    'of which the first has ended: who blocks the device %s is not undone by its unbind',
    (when) => {
      const made = startProcess();
      const { iommu, rot, app, fake } = made;
      const bond = iommu.bindProcess(rot, app);
      app.exit();
      if (when !== 'at once') iommu.attach(iommu.allocPagingDomain(rot, 'mine'), rot);
      iommu.replace(iommu.blockedDomain, rot);
      expect(held(made)).toEqual([0, 0, 0]);
      bond.unbind();
      expect([kindsOf(fake), iommu.domainOf(rot)]).toEqual([['blocked', 'blocked'], iommu.blockedDomain]);
    },
  );

  test('of which one has ended: its bond still takes the device home when others have come and gone', () => {
    const made = startProcess();
    const { iommu, rot, app, fake } = made;
    const bond = iommu.bindProcess(rot, app);
    app.exit();
    const other = device('other', endpoint('c0', 0));
    iommu.configure(other);
    iommu.cleanup(other);
    expect(kindsOf(fake)).toEqual(['blocked', 'blocked']);
    bond.unbind();
    expect([kindsOf(fake), held(made)]).toEqual([
      ['paging', 'paging'],
      [0, 0, 0],
    ]);
  });
});

describe('the same process, bound again', () => {
  test.each([
    ['rot_src', 'fake:rot_src'],
    ['fake:rot_src', 'rot_src'],
  ])('at %s and at %s counts: it is one endpoint by two names', (name, other) => {
    const made = startProcess();
    const { iommu, fake, rot, app } = made;
    const [first, second] = [iommu.bindProcess(rot, app, name), iommu.bindProcess(rot, app, other)];
    expect([held(made), kindsOf(fake)]).toEqual([
      [2, 1, 0],
      ['sva', 'paging'],
    ]);
    first.unbind();
    expect(kindsOf(fake)).toEqual(['sva', 'paging']);
    second.unbind();
    expect([held(made), kindsOf(fake)]).toEqual([
      [0, 0, 0],
      ['paging', 'paging'],
    ]);
  });

  test('at one context of a device that is bound as a whole is refused: EBUSY', () => {
    const made = startProcess();
    const { iommu, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    expect(codeOf(() => iommu.bindProcess(rot, app, 'rot_src'))).toBe('EBUSY');
    expect(held(made)).toEqual([2, 1, 0]);
    bond.unbind();
    expect(held(made)).toEqual([0, 0, 0]);
  });

  test('as a whole beside one context that is bound already is refused: EBUSY', () => {
    const made = startProcess();
    const { iommu, rot, app } = made;
    iommu.bindProcess(rot, app, 'rot_src');
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('EBUSY');
    expect(held(made)).toEqual([2, 1, 0]);
  });
});

/** What takes a bound device from its process, whoever does it. */
const TAKEN: Readonly<Record<string, (made: ProcessBench) => void>> = {
  cleanup: ({ iommu, rot }) => iommu.cleanup(rot),
  'the removal of its IOMMU': ({ iommu }) => iommu.removeInstance('fake'),
  replace: ({ iommu, rot }) => iommu.replace(iommu.allocPagingDomain(rot, 'mine'), rot),
  'replace, context by context': ({ iommu, rot }) => {
    iommu.replace(iommu.identityDomain, rot, 'rot_src');
    iommu.replace(iommu.identityDomain, rot, 'rot_dst');
  },
};

describe('a bond from which the device is taken', () => {
  test.each(Object.keys(TAKEN))('by %s ends: the process is let go, and unbind is harmless', (how) => {
    const made = startProcess();
    const { iommu, fake, world, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    fake.stall(iommu, { context: 'rot_src', streamId: 4, iova: 0x1000 });
    fake.stall(iommu, { iova: 0x2000 });
    TAKEN[how]?.(made);
    expect(held(made)).toEqual([0, 0, 0]);
    world.clock.run();
    expect([app.pages.size, bond.pagedIn, bond.refused]).toEqual([0, 0, 0]);
    const [first, second] = iommu.faults as [Fault, Fault];
    expect([iommu.respond(first, 'retry'), iommu.respond(second, 'retry')]).toEqual([false, false]);
    const kinds = kindsOf(fake);
    bond.unbind();
    bond.unbind();
    expect([kindsOf(fake), held(made)]).toEqual([kinds, [0, 0, 0]]);
    app.exit();
    expect(kindsOf(fake)).toEqual(kinds);
  });

  test('at one context goes on at the other', () => {
    const made = startProcess();
    const { iommu, fake, world, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    iommu.replace(iommu.identityDomain, rot, 'rot_src');
    expect(held(made)).toEqual([2, 1, 0]);
    app.unmap(0x1000, 4 * K);
    expect(fake.calls.at(-2)).toBe('invalidate 0x00001000+4096');
    fake.stall(iommu, { iova: 0x2000 });
    world.clock.run();
    expect(bond.pagedIn).toBe(1);
    bond.unbind();
    expect([kindsOf(fake), held(made)]).toEqual([
      ['identity', 'paging'],
      [0, 0, 0],
    ]);
  });

  test('when one of two IOMMUs goes keeps the other', () => {
    const made = startProcess();
    const { iommu, fake, world, app } = made;
    const second = addIommu(iommu, world, 'second', { tableKey: 'other', capabilities: fake.capabilities });
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'second'));
    iommu.configure(mixed);
    const bond = iommu.bindProcess(mixed, app);
    iommu.removeInstance('second');
    app.unmap(0x1000, 4 * K);
    expect(fake.calls.at(-2)).toBe('invalidate 0x00001000+4096');
    expect([...second.targets.keys()]).toEqual([]);
    bond.unbind();
    expect([held(made), second.processTables.size]).toEqual([[0, 0, 0], 0]);
  });
});

describe('what a bond leaves', () => {
  test('a device that has gone after the exit stays off the hardware when it is unbound', () => {
    const made = startProcess();
    const { iommu, fake, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    app.exit();
    iommu.cleanup(rot);
    bond.unbind();
    expect([fake.targets.size, held(made)]).toEqual([0, [0, 0, 0]]);
  });

  test('a device that came in beside a stopped one, and shares its context, goes home with it', () => {
    const made = startProcess({ isolate: (e) => (e.context === 'rot_dst' ? 'dst' : 'src') });
    const { iommu, rot, app } = made;
    const bond = iommu.bindProcess(rot, app);
    app.exit();
    const late = device('late', endpoint('c9', 9));
    iommu.configure(late);
    expect(iommu.domainOf(late)).toBe(iommu.blockedDomain);
    bond.unbind();
    expect([iommu.domainOf(rot), iommu.domainOf(late)]).toEqual([
      iommu.defaultDomainOf(rot),
      iommu.defaultDomainOf(rot),
    ]);
  });
});

test.each(['walk-abort', 'other', 'configuration'] as const)(
  'a fault that no page can end is not tried again: %s',
  (cause) => {
    const { iommu, fake, rot, app, world } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    expect(fake.stall(iommu, { context: 'rot_dst', streamId: 5, iova: 0x2000, cause })).toBe('terminate');
    world.clock.run();
    expect([bond.pagedIn, bond.refused]).toEqual([0, 0]);
  },
);
