import { describe, expect, test } from '@jest/globals';
import { bench, codeOf, device, endpoint, rotator } from './fake-iommu.ts';
import { FakeProcess } from './fake-process.ts';
import { kindsOf, startProcess } from './process-fixture.ts';
import { addIommu, ODD } from './space-fixture.ts';
import { stateOf } from './sweep.ts';

describe('a claim', () => {
  test.each(['rot_src', 'rot_dst'])('is refused while one endpoint is elsewhere, at %s: EBUSY', (context) => {
    const made = bench();
    const rot = rotator(made);
    const { iommu } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    iommu.attachEndpoint(mine, rot, context);
    const before = stateOf(made);
    expect(codeOf(() => iommu.claimOwnership(rot, 'guest'))).toBe('EBUSY');
    expect([stateOf(made), iommu.groupOf(rot)?.owner]).toEqual([before, undefined]);
    iommu.detach(mine, rot, context);
    iommu.claimOwnership(rot, 'guest');
    expect(kindsOf(made.fake)).toEqual(['blocked', 'blocked']);
  });

  test('is refused while one endpoint works for a process: EBUSY', () => {
    const { iommu, rot } = startProcess();
    const bond = iommu.bindProcess(rot, new FakeProcess('app'), 'rot_dst');
    expect(codeOf(() => iommu.claimOwnership(rot, 'guest'))).toBe('EBUSY');
    bond.unbind();
    iommu.claimOwnership(rot, 'guest');
    expect(iommu.groupOf(rot)?.owner).toBe('guest');
  });

  test('works after a quarantine, and brings the endpoint back', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake } = made;
    const mine = iommu.allocPagingDomain(rot, 'mine');
    iommu.attach(mine, rot);
    fake.broken.add('rot_src');
    iommu.detach(mine, rot);
    expect(iommu.domainOf(rot, 'rot_src')).toBeUndefined();
    expect(codeOf(() => iommu.claimOwnership(rot, 'guest'))).toBe('EIO');
    expect([iommu.groupOf(rot)?.owner, iommu.domainOf(rot, 'rot_src')]).toEqual([undefined, undefined]);
    fake.broken.clear();
    iommu.claimOwnership(rot, 'guest');
    expect([kindsOf(fake), iommu.domainOf(rot, 'rot_src')]).toEqual([
      ['blocked', 'blocked'],
      iommu.blockedDomain,
    ]);
    iommu.releaseOwnership(rot, 'guest');
    expect(iommu.domainOf(rot, 'rot_src')).toBe(iommu.defaultDomainOf(rot));
  });

  test('on a device whose IOMMU has gone is refused: ENODEV', () => {
    const made = bench();
    const rot = rotator(made);
    made.iommu.removeInstance('fake');
    expect(codeOf(() => made.iommu.claimOwnership(rot, 'guest'))).toBe('ENODEV');
    expect(made.iommu.groupOf(rot)?.owner).toBeUndefined();
  });

  test('on a device one of whose IOMMUs has gone is refused: ENODEV, and the other goes on', () => {
    const { iommu, world, fake } = bench();
    addIommu(iommu, world, 'odd', ODD);
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    iommu.configure(mixed);
    iommu.removeInstance('odd');
    expect(codeOf(() => iommu.claimOwnership(mixed, 'guest'))).toBe('ENODEV');
    expect([kindsOf(fake), iommu.groupOf(mixed)?.owner]).toEqual([['paging'], undefined]);
  });
});
