import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, faultReport, K, M, rotator } from './fake-iommu.ts';
import { addIommu, expectSame, ODD } from './space-fixture.ts';

/** A rotator on a domain of its own with something mapped. */
function start() {
  const made = bench();
  const rot = rotator(made);
  const mine = made.iommu.allocPagingDomain(rot, 'mine');
  mine.map(M, M, 8 * K, READ_WRITE);
  made.iommu.attach(mine, rot);
  made.fake.calls.length = 0;
  return { ...made, rot, mine };
}

describe('an IOMMU that is removed', () => {
  test('has its endpoints released, and is reported', () => {
    const { iommu, fake, events, rot } = start();
    iommu.removeInstance('fake');
    expect([fake.calls, fake.targets.size]).toEqual([['release rot_src', 'release rot_dst'], 0]);
    expect([iommu.instances, iommu.domainOf(rot, 'rot_src'), iommu.domainOf(rot, 'rot_dst')]).toEqual([
      [],
      undefined,
      undefined,
    ]);
    expect(events.at(-1)).toEqual({
      name: 'iommu:instance_removed',
      fields: { provider: 'fake', devices: ['rot'] },
    });
    iommu.removeInstance('fake');
    iommu.removeInstance('never there');
    iommu.unregisterInstance('fake');
    expect(fake.calls.length).toBe(2);
  });

  test('translates nothing any more: ENODEV, and nothing is told to it', () => {
    const { iommu, fake, rot, mine } = start();
    iommu.removeInstance('fake');
    const calls = fake.calls.length;
    expect([
      codeOf(() => iommu.attach(mine, rot)),
      codeOf(() => iommu.attachGroup(mine, rot)),
      codeOf(() => iommu.attachEndpoint(mine, rot, 'rot_src')),
      codeOf(() => iommu.replace(mine, rot)),
      codeOf(() => iommu.replace(iommu.blockedDomain, rot, 'rot_dst')),
      codeOf(() => iommu.createAddressSpace('s').attach(rot)),
    ]).toEqual(Array.from({ length: 6 }, () => 'ENODEV'));
    iommu.detach(mine, rot);
    expect(fake.calls.slice(calls)).toEqual([]);
    expect(fake.tables.size).toBe(2);
  });

  test('leaves domains that can be unmapped and freed', () => {
    const { iommu, fake, rot, mine } = start();
    iommu.removeInstance('fake');
    expect(mine.unmap(M, 4 * K)).toBe(4 * K);
    mine.free();
    iommu.cleanup(rot);
    expect([fake.tables.size, iommu.domains, iommu.groups]).toEqual([0, [], []]);
  });

  test('takes only its own endpoints: the others of the device go on', () => {
    const { iommu, world, fake } = bench();
    const odd = addIommu(iommu, world, 'odd', ODD);
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    iommu.configure(mixed);
    const space = iommu.createAddressSpace('guest');
    space.attach(mixed);
    iommu.removeInstance('fake');
    expect([fake.targets.size, odd.targets.size, space.members]).toEqual([0, 1, [mixed]]);
    expect([space.domains.length, space.capabilities.pageSizes]).toEqual([1, [16 * K, M]]);
    space.map(M, M, 16 * K, READ_WRITE);
    expectSame(space, [fake, odd]);
    space.detach(mixed);
    expect([iommu.domainOf(mixed, 'fake:c0'), iommu.domainOf(mixed, 'odd:c0')?.name]).toEqual([
      undefined,
      'dma:mixed#1',
    ]);
    expect(codeOf(() => space.attach(mixed))).toBe('ENODEV');
    expect([space.domains, space.mappedBytes]).toEqual([[], 16 * K]);
  });

  test('takes its domains out of address spaces, and the device is no member', () => {
    const { iommu, rot, mine, fake } = start();
    iommu.detach(mine, rot);
    const space = iommu.createAddressSpace('guest');
    space.attach(rot);
    space.map(M, M, 4 * K, READ_WRITE);
    iommu.removeInstance('fake');
    expect([space.members, space.domains, fake.tables.size]).toEqual([[], [], 2]);
    expect([iommu.domainOf(rot), iommu.defaultDomainOf(rot)?.name]).toEqual([undefined, 'dma:rot']);
    space.free();
  });

  test('gives an owned group back like any other', () => {
    const { iommu, fake, rot, mine } = start();
    iommu.detach(mine, rot);
    iommu.claimOwnership(rot, 'guest');
    iommu.attach(mine, rot);
    iommu.removeInstance('fake');
    iommu.releaseOwnership(rot, 'guest');
    iommu.cleanup(rot);
    mine.free();
    expect([fake.targets.size, fake.tables.size]).toEqual([0, 0]);
  });

  test('can come back: configured anew, the device works', () => {
    const { iommu, world, fake, rot } = start();
    iommu.removeInstance('fake');
    const again = new FakeIommu(world);
    iommu.registerInstance(again);
    iommu.configure(rot);
    expect([again.calls, iommu.domainOf(rot, 'rot_src')]).toEqual([[], undefined]);
    iommu.cleanup(rot);
    iommu.configure(rot);
    expect([again.targets.size, fake.targets.size]).toEqual([2, 0]);
    expect(iommu.domainOf(rot, 'rot_dst')).toBe(iommu.defaultDomainOf(rot));
    iommu.reportFault(again, faultReport());
    expect(iommu.faults.at(-1)).toMatchObject({ device: 'rot', domain: 'dma:rot' });
  });

  test('is missing until then: the device’s probe is deferred', () => {
    const { iommu, rot } = start();
    iommu.removeInstance('fake');
    iommu.cleanup(rot);
    expect(codeOf(() => iommu.configure(rot))).toBe('EPROBE_DEFER');
  });
});

describe('onInstanceRegistered', () => {
  test('tells of each IOMMU that comes, when it can be used, until it is ended', () => {
    const { iommu, world } = bench();
    const late = device('late', endpoint('c0', 0, 'second'));
    const heard: string[] = [];
    const end = iommu.onInstanceRegistered(({ provider }) => {
      heard.push(provider);
      if (provider === 'second') iommu.configure(late);
    });
    expect(codeOf(() => iommu.configure(late))).toBe('EPROBE_DEFER');
    addIommu(iommu, world, 'second');
    expect([heard, iommu.groupOf(late)?.devices]).toEqual([['second'], [late]]);
    expect(codeOf(() => addIommu(iommu, world, 'second'))).toBe('EEXIST');
    end();
    end();
    addIommu(iommu, world, 'third');
    expect(heard).toEqual(['second']);
  });

  test('a listener may end itself or others while it is told', () => {
    const { iommu, world } = bench();
    const heard: string[] = [];
    const ends = ['a', 'b'].map((name) =>
      iommu.onInstanceRegistered(() => {
        heard.push(name);
        for (const end of ends) end();
      }),
    );
    addIommu(iommu, world, 'second');
    addIommu(iommu, world, 'third');
    expect(heard).toEqual(['a', 'b']);
  });
});
