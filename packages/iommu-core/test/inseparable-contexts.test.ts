import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import type { IommuDomain, PagingTable } from '../src/index.ts';
import { codeOf, device, endpoint, FakeTable } from './fake-iommu.ts';
import { FakeProcess } from './fake-process.ts';
import { kindsOf, startProcess } from './process-fixture.ts';
import { stateOf } from './sweep.ts';

/** A rotator whose two contexts the hardware cannot tell apart, and a third that it can. */
function start() {
  const made = startProcess({ isolate: ({ context }) => (context.startsWith('rot') ? 'rot' : context) });
  const { iommu } = made;
  const three = device('three', endpoint('c0', 0), endpoint('c1', 1));
  iommu.configure(three);
  const mine = iommu.allocPagingDomain(made.rot, 'mine');
  return { ...made, three, mine };
}

const CONTEXTS = ['rot_src', 'rot_dst', 'fake:rot_src'] as const;

describe('contexts that share an isolation key', () => {
  test.each(CONTEXTS)('are not attached, moved or bound one by one: EINVAL at %s', (context) => {
    const made = start();
    const { iommu, fake, rot, mine, app } = made;
    const before = stateOf(made);
    const calls = [...fake.calls];
    expect([
      codeOf(() => iommu.attachEndpoint(mine, rot, context)),
      codeOf(() => iommu.attachEndpoint(iommu.blockedDomain, rot, context)),
      codeOf(() => iommu.replace(mine, rot, context)),
      codeOf(() => iommu.replace(iommu.identityDomain, rot, context)),
    ]).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']);
    expect(fake.calls).toEqual(calls);
    expect(codeOf(() => iommu.bindProcess(rot, app, context))).toBe('EINVAL');
    expect([stateOf(made), app.listenerCount, kindsOf(fake).includes('sva')]).toEqual([before, 0, false]);
  });

  test.each(CONTEXTS)('are not taken back one by one: detach at %s does nothing', (context) => {
    const made = start();
    const { iommu, fake, rot, mine } = made;
    iommu.attach(mine, rot);
    const before = stateOf(made);
    fake.calls.length = 0;
    iommu.detach(mine, rot, context);
    expect([stateOf(made), fake.calls]).toEqual([before, []]);
    iommu.detach(mine, rot);
    expect(iommu.domainOf(rot, 'rot_dst')).toBe(iommu.defaultDomainOf(rot));
  });

  test('move together, in every way a whole device is moved', () => {
    const { iommu, rot, mine, app } = start();
    const both = (): readonly (IommuDomain | undefined)[] => [
      iommu.domainOf(rot, 'rot_src'),
      iommu.domainOf(rot, 'rot_dst'),
    ];
    iommu.attach(mine, rot);
    expect(both()).toEqual([mine, mine]);
    iommu.replace(iommu.identityDomain, rot);
    expect(both()).toEqual([iommu.identityDomain, iommu.identityDomain]);
    iommu.detach(iommu.identityDomain, rot);
    const bond = iommu.bindProcess(rot, app);
    expect(both().map((d) => d?.kind)).toEqual(['sva', 'sva']);
    bond.unbind();
    iommu.claimOwnership(rot, 'guest');
    expect(both()).toEqual([iommu.blockedDomain, iommu.blockedDomain]);
  });

  test('leave the others of the system alone: contexts with keys of their own move one by one', () => {
    const { iommu, three } = start();
    const own = iommu.allocPagingDomain(three, 'own');
    iommu.attachEndpoint(own, three, 'c0');
    const bond = iommu.bindProcess(three, new FakeProcess('other'), 'c1');
    expect([iommu.domainOf(three, 'c0'), iommu.domainOf(three, 'c1')?.kind]).toEqual([own, 'sva']);
    bond.unbind();
    iommu.detach(own, three, 'c0');
    expect(iommu.domainOf(three, 'c0')).toBe(iommu.defaultDomainOf(three));
  });

  test('two of three: the third is separable, beside them', () => {
    const { iommu } = start();
    const mixed = device('mixed', endpoint('rotary', 7), endpoint('c7', 8), endpoint('rotor', 9));
    iommu.cleanup(iommu.groups[0]?.devices[0] as Device);
    iommu.configure(mixed);
    const own = iommu.allocPagingDomain(mixed, 'own');
    iommu.attachEndpoint(own, mixed, 'c7');
    expect(codeOf(() => iommu.replace(own, mixed, 'rotary'))).toBe('EINVAL');
    expect(codeOf(() => iommu.replace(own, mixed, 'rotor'))).toBe('EINVAL');
    iommu.detach(own, mixed, 'rotary');
    iommu.detach(own, mixed, 'c7');
    expect(iommu.domainOf(mixed, 'c7')).toBe(iommu.defaultDomainOf(mixed));
  });
});

describe('the fake IOMMU of these tests', () => {
  test('objects to streams on different targets that it cannot tell apart', () => {
    const { fake, iommu, rot } = start();
    const [source, target] = [rot.endpoints[0], fake.targets.get('rot_src:4')];
    const other = { kind: 'paging', table: fake.createPagingTable() } as const;
    if (source === undefined) throw new Error('no endpoint');
    fake.attach(source, other, target);
    expect(() => fake.checkIsolation()).toThrow(/cannot tell rot_dst:5 from rot_src:4/);
    expect(() => fake.state()).toThrow(/cannot tell/);
    expect(() => iommu.domainOf(rot)).toThrow(/cannot tell/);
    fake.attach(source, target ?? other, other);
    fake.checkIsolation();
  });

  test('objects to the use of a table that was destroyed', () => {
    const { fake } = start();
    const table: PagingTable = fake.createPagingTable();
    expect(table).toBeInstanceOf(FakeTable);
    table.destroy();
    expect(() => table.destroy()).toThrow(/has destroyed/);
  });
});
