import { describe, expect, test } from '@jest/globals';
import { type Bench, bench, device, endpoint, rotator } from './fake-iommu.ts';
import { kindsOf, startProcess } from './process-fixture.ts';
import { addIommu, ODD } from './space-fixture.ts';

/** Moves that were told of since the last call, with quarantines, in words. */
function told({ events }: Bench): readonly string[] {
  return events.splice(0).flatMap(({ name, fields }) => {
    const of = [fields['device'], fields['context']]
      .filter((part) => part !== undefined)
      .map(String)
      .join('/');
    if (name === 'iommu:attach_device_to_domain') return [`${of} on ${String(fields['domain'])}`];
    return name === 'iommu:endpoint_quarantined' ? [`${of} quarantined`] : [];
  });
}

describe('the events of moves', () => {
  test('tell of each that happened, and of none that failed', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    expect(told(made)).toEqual(['rot on dma:rot']);
    iommu.attach(mine, rot);
    expect(told(made)).toEqual(['rot on mine']);
    fake.broken.add('rot_dst');
    expect(() => iommu.replace(iommu.identityDomain, rot)).toThrow(/EIO/);
    expect(told(made)).toEqual([]);
    iommu.replace(iommu.identityDomain, rot, 'rot_src');
    expect(told(made)).toEqual(['rot/rot_src on identity']);
  });

  test('of a device that is quarantined as a whole tell of no base', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    iommu.attach(mine, rot);
    told(made);
    for (const context of ['rot_src', 'rot_dst']) fake.broken.add(context);
    iommu.detach(mine, rot);
    expect(told(made)).toEqual(['rot/rot_src quarantined', 'rot/rot_dst quarantined']);
    expect(kindsOf(fake)).toEqual([]);
  });

  test('of one context that is quarantined tell of no base', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    iommu.attachEndpoint(iommu.identityDomain, rot, 'rot_dst');
    told(made);
    fake.broken.add('rot_dst');
    iommu.detach(iommu.identityDomain, rot, 'rot_dst');
    expect(told(made)).toEqual(['rot/rot_dst quarantined']);
  });

  test('of a group that is given back tell of what could not come home, and of what shares its context', () => {
    const made = bench({ isolate: () => 'all' });
    const { iommu, fake } = made;
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    for (const each of [a, b]) iommu.configure(each);
    iommu.claimOwnership(a, 'guest');
    told(made);
    fake.broken.add('c1');
    iommu.releaseOwnership(a);
    expect([...told(made)].sort()).toEqual(['a/c0 quarantined', 'b/c1 quarantined']);
    expect([iommu.domainOf(a, 'c0'), iommu.domainOf(b, 'c1')]).toEqual([undefined, undefined]);
  });

  test('of a member of an address space that cannot go home tell of no home', () => {
    const made = bench();
    const { iommu, world, fake } = made;
    addIommu(iommu, world, 'odd', ODD);
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c1', 1, 'odd'));
    iommu.configure(mixed);
    const space = iommu.createAddressSpace('guest');
    space.attach(mixed);
    told(made);
    fake.broken.add('c0');
    space.detach(mixed);
    const after = told(made);
    expect(after[0]).toBe('mixed/c0 quarantined');
    expect(after).not.toContain('mixed on dma:mixed#0');
    expect(iommu.domainOf(mixed, 'c1')?.name).toBe('dma:mixed#1');
  });

  test('of a claim tell of every member', () => {
    const made = bench({ isolate: () => 'all' });
    const { iommu } = made;
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    for (const each of [a, b]) iommu.configure(each);
    told(made);
    iommu.claimOwnership(a, 'guest');
    expect(told(made)).toEqual(['a on blocked', 'b on blocked']);
  });

  test('of a detach tell of what came back, not of what stayed elsewhere', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    iommu.attachEndpoint(mine, rot, 'rot_src');
    iommu.attachEndpoint(iommu.identityDomain, rot, 'rot_dst');
    expect(told(made).slice(1)).toEqual(['rot/rot_src on mine', 'rot/rot_dst on identity']);
    iommu.detach(mine, rot);
    expect(told(made)).toEqual(['rot on dma:rot']);
    expect([iommu.domainOf(rot, 'rot_src'), iommu.domainOf(rot, 'rot_dst')]).toEqual([
      iommu.defaultDomainOf(rot),
      iommu.identityDomain,
    ]);
  });

  test('tell of nothing when detach finds nothing to move', () => {
    const made = startProcess();
    const { iommu, rot } = made;
    told(made);
    iommu.detach(iommu.identityDomain, rot);
    iommu.detach(iommu.identityDomain, rot, 'rot_src');
    expect(told(made)).toEqual([]);
  });
});

describe('detach at a context', () => {
  test('that the device does not have does nothing', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    iommu.attach(mine, rot);
    fake.calls.length = 0;
    for (const context of ['nowhere', '', 'other:rot_src']) iommu.detach(mine, rot, context);
    expect([fake.calls, iommu.domainOf(rot, 'rot_src')]).toEqual([[], mine]);
  });

  test('of a name that two IOMMUs have does nothing: which is meant is not said', () => {
    const { iommu, world, fake } = bench();
    const second = addIommu(iommu, world, 'second');
    const twice = device('twice', endpoint('c0', 0), endpoint('c0', 0, 'second'));
    iommu.configure(twice);
    const mine = iommu.allocPagingDomain(twice, 'mine');
    iommu.attach(mine, twice);
    for (const each of [fake, second]) each.calls.length = 0;
    iommu.detach(mine, twice, 'c0');
    expect([fake.calls, second.calls]).toEqual([[], []]);
    iommu.detach(mine, twice, 'second:c0');
    expect([fake.calls, second.calls]).toEqual([[], ['attach c0 paging']]);
  });
});
