import { describe, expect, test } from '@jest/globals';
import { Iommu } from '../src/index.ts';
import { bench, codeOf, device, endpoint, FakeIommu, rotator } from './fake-iommu.ts';

describe('configure', () => {
  test('finds the IOMMU from the device, makes a group and attaches its default domain', () => {
    const made = bench();
    const rot = rotator(made);
    const { iommu, fake, events } = made;
    expect(iommu.groupOf(rot)).toMatchObject({ id: 0, devices: [rot], owner: undefined });
    expect(iommu.domainOf(rot)).toBe(iommu.defaultDomainOf(rot));
    expect(iommu.domainOf(rot, 'rot_dst')?.kind).toBe('paging');
    expect([...fake.targets.keys()]).toEqual(['rot_src:4', 'rot_dst:5']);
    expect(events.slice(1)).toEqual([
      { name: 'iommu:add_device_to_group', fields: { group: 0, device: 'rot' } },
      { name: 'iommu:attach_device_to_domain', fields: { device: 'rot', domain: 'dma:rot' } },
    ]);
  });

  test('leaves a device without endpoints alone', () => {
    const { iommu } = bench();
    const free = device('free');
    iommu.configure(free);
    expect([iommu.groupOf(free), iommu.domainOf(free), iommu.defaultDomainOf(free)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(codeOf(() => iommu.allocPagingDomain(free))).toBe('ENODEV');
    iommu.cleanup(free);
  });

  test('defers, naming the provider, until its IOMMU has come', () => {
    const { iommu, world, fake } = bench();
    const mdp = device('mdp', endpoint('mdp_port0', 0), endpoint('mdp_port1', 1, 'mdp1'));
    expect(() => iommu.configure(mdp)).toThrow(/EPROBE_DEFER.*mdp1/);
    expect([fake.calls, iommu.groupOf(mdp)]).toEqual([[], undefined]);
    iommu.registerInstance(new FakeIommu(world, { provider: 'mdp1' }));
    iommu.configure(mdp);
    expect(iommu.groupOf(mdp)?.devices).toEqual([mdp]);
  });

  test('one domain spans two IOMMUs of one table key, with what both can do', () => {
    const { iommu, world, fake } = bench();
    const second = new FakeIommu(world, { provider: 'mdp1', capabilities: { pageSizes: [4096, 65536] } });
    iommu.registerInstance(second);
    const mdp = device('mdp', endpoint('mdp_port0', 0), endpoint('mdp_port1', 1, 'mdp1'));
    iommu.configure(mdp);
    expect(iommu.domainOf(mdp)?.capabilities.pageSizes).toEqual([4096, 65536]);
    expect([...fake.targets.values()]).toEqual([...second.targets.values()]);
  });

  test('a default over incompatible IOMMUs is an address space with a domain for each; or there is none', () => {
    const { iommu, world, fake, events } = bench();
    const odd = new FakeIommu(world, { provider: 'odd', tableKey: 'odd' });
    iommu.registerInstance(odd);
    const mixed = device('mixed', endpoint('a', 0), endpoint('b', 1, 'odd'));
    odd.broken.add('b');
    expect(codeOf(() => iommu.configure(mixed))).toBe('EIO');
    expect([iommu.groupOf(mixed), fake.targets.size, fake.tables.size, odd.tables.size]).toEqual([
      undefined,
      ...[0, 0, 0],
    ]);
    odd.broken.clear();
    iommu.configure(mixed);
    expect([iommu.domainOf(mixed, 'a')?.name, iommu.domainOf(mixed, 'b')?.name]).toEqual([
      'dma:mixed#0',
      'dma:mixed#1',
    ]);
    expect(iommu.groupOf(mixed)?.defaultSpace?.members).toEqual([mixed]);
    expect(events.slice(-2).map((e) => e.fields['domain'])).toEqual(['dma:mixed#0', 'dma:mixed#1']);
    expect(() => iommu.allocPagingDomain(mixed)).toThrow(/EOPNOTSUPP.*an I.O address space can/);
  });

  test('attaches all endpoints or none', () => {
    const { iommu, fake } = bench();
    fake.broken.add('rot_dst');
    const rot = device('rot', endpoint('rot_src', 4), endpoint('rot_dst', 5));
    expect(codeOf(() => iommu.configure(rot))).toBe('EIO');
    expect([iommu.groups, fake.targets.size, fake.tables.size]).toEqual([[], 0, 0]);
    expect(fake.calls.at(-1)).toBe('release rot_src');
  });

  test('fails when the hardware has no such context', () => {
    const { iommu } = bench();
    expect(codeOf(() => iommu.configure(device('x', endpoint('missing', 0))))).toBe('ENODEV');
  });

  test.each([
    ['identity', 'identity'],
    ['blocked', 'blocked'],
    ['dma', 'paging'],
  ] as const)('default domain %s', (defaultDomain, kind) => {
    const made = bench({ defaultDomain });
    expect(made.iommu.domainOf(rotator(made))?.kind).toBe(kind);
  });

  test('identity that the hardware has not becomes dma, and that is reported', () => {
    const made = bench({ defaultDomain: 'identity', capabilities: { identity: false } });
    const rot = rotator(made);
    expect(made.iommu.domainOf(rot)?.kind).toBe('paging');
    expect(made.events.map((e) => e.name)).toContain('iommu:default_domain_changed');
    expect(codeOf(() => made.iommu.attach(made.iommu.identityDomain, rot))).toBe('EOPNOTSUPP');
    expect(codeOf(() => made.iommu.allocDomain(rot, 'identity'))).toBe('EOPNOTSUPP');
  });

  test('configuring again changes nothing', () => {
    const made = bench();
    const rot = rotator(made);
    const calls = made.fake.calls.length;
    made.iommu.configure(rot);
    expect(made.fake.calls.length).toBe(calls);
  });
});

describe('groups', () => {
  const shared = { isolate: () => 'all' };

  test('devices that share an isolation key share group and domain, and leave one by one', () => {
    const { iommu, fake } = bench(shared);
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    iommu.configure(a);
    iommu.configure(b);
    expect(iommu.groupOf(b)?.devices).toEqual([a, b]);
    expect(iommu.domainOf(b)).toBe(iommu.domainOf(a));
    expect(fake.tables.size).toBe(1);
    iommu.cleanup(a);
    expect([iommu.groupOf(a), iommu.groupOf(b)?.devices]).toEqual([undefined, [b]]);
    iommu.cleanup(b);
    iommu.cleanup(b);
    expect([iommu.groups, fake.tables.size, fake.targets.size]).toEqual([[], 0, 0]);
  });

  test('devices behind contexts of their own do not', () => {
    const { iommu } = bench();
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    iommu.configure(a);
    iommu.configure(b);
    expect(iommu.groupOf(a)).not.toBe(iommu.groupOf(b));
    expect(iommu.groups.map((g) => g.id)).toEqual([0, 1]);
  });

  test('the same key at another provider is another', () => {
    const { iommu, world } = bench(shared);
    iommu.registerInstance(new FakeIommu(world, { provider: 'second', ...shared }));
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c0', 0, 'second'))];
    iommu.configure(a);
    iommu.configure(b);
    expect(iommu.groups.length).toBe(2);
  });

  test('a device that would join two live groups is refused', () => {
    const { iommu } = bench();
    iommu.configure(device('a', endpoint('c0', 0)));
    iommu.configure(device('b', endpoint('c1', 1)));
    expect(codeOf(() => iommu.configure(device('both', endpoint('c0', 2), endpoint('c1', 3))))).toBe(
      'EINVAL',
    );
  });
});

describe('instances', () => {
  test('one a provider; not taken away under a device', () => {
    const made = bench();
    const rot = rotator(made);
    expect(codeOf(() => made.iommu.registerInstance(new FakeIommu(made.world)))).toBe('EEXIST');
    expect(codeOf(() => made.iommu.unregisterInstance('fake'))).toBe('EBUSY');
    made.iommu.cleanup(rot);
    made.iommu.unregisterInstance('fake');
    made.iommu.unregisterInstance('fake');
    expect(made.iommu.instances).toEqual([]);
    expect(codeOf(() => made.iommu.configure(rot))).toBe('EPROBE_DEFER');
  });

  test('kinds that are not built are refused', () => {
    const made = bench();
    const rot = rotator(made);
    expect(codeOf(() => made.iommu.allocDomain(rot, 'sva'))).toBe('EOPNOTSUPP');
    expect(codeOf(() => made.iommu.allocDomain(rot, 'nested'))).toBe('EOPNOTSUPP');
    expect(made.iommu.allocDomain(rot, 'blocked')).toBe(made.iommu.blockedDomain);
    expect(made.iommu.allocDomain(rot, 'paging', 'mine').name).toBe('mine');
  });

  test('two cores in one process know nothing of each other', () => {
    const [a, b] = [bench(), bench()];
    rotator(a);
    expect(b.iommu.groups).toEqual([]);
    expect(new Iommu(b.world).instances).toEqual([]);
  });
});
