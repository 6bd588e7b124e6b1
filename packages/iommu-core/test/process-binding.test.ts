import { describe, expect, test } from '@jest/globals';
import { codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { FakeProcess } from './fake-process.ts';
import { kindsOf, startProcess } from './process-fixture.ts';
import { addIommu } from './space-fixture.ts';

describe('bindProcess', () => {
  test('puts the device on the tables of the process, and unbind back', () => {
    const { iommu, fake, rot, app, events } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    expect([bond.device, bond.process, bond.context, bond.pagedIn, bond.refused]).toEqual([
      rot,
      app,
      undefined,
      0,
      0,
    ]);
    expect(kindsOf(fake)).toEqual(['sva', 'sva']);
    expect([...fake.processTables].map((t) => t.space)).toEqual([app]);
    const domain = iommu.domainOf(rot);
    expect([domain?.kind, domain?.capabilities.aperture.last]).toEqual(['sva', app.userEnd - 1]);
    expect(iommu.domains).toContain(domain);
    app.handleFault(0x1000, 'read');
    expect(domain?.iovaToPhys(0x1004)).toBe(0x8000_1004);
    bond.unbind();
    bond.unbind();
    expect([kindsOf(fake), fake.processTables.size, app.listenerCount]).toEqual([['paging', 'paging'], 0, 0]);
    expect([iommu.domainOf(rot), iommu.domains.length]).toEqual([iommu.defaultDomainOf(rot), 1]);
    expect(events.map((e) => e.name).filter((n) => n.includes('sva'))).toEqual([
      'iommu:sva_bind',
      'iommu:sva_unbind',
    ]);
  });

  test('counts: the last handle ends it', () => {
    const { iommu, fake, rot, app } = startProcess();
    const [first, second] = [iommu.bindProcess(rot, app), iommu.bindProcess(rot, app)];
    expect([fake.processTables.size, app.listenerCount]).toEqual([1, 2]);
    first.unbind();
    first.unbind();
    expect(kindsOf(fake)).toEqual(['sva', 'sva']);
    second.unbind();
    expect(kindsOf(fake)).toEqual(['paging', 'paging']);
  });

  test('is for one process at a time, and for idle devices', () => {
    const { iommu, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    expect(() => iommu.bindProcess(rot, new FakeProcess('other'))).toThrow(/ENOSPC.*works for app/);
    expect(codeOf(() => iommu.attach(iommu.allocPagingDomain(rot), rot))).toBe('EBUSY');
    bond.unbind();
    iommu.attach(iommu.allocPagingDomain(rot), rot);
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('EBUSY');
    expect(app.listenerCount).toBe(0);
  });

  test('needs hardware that walks these tables, an IOMMU, and a group of one', () => {
    const { iommu, world, rot, fake } = startProcess({
      isolate: (e) => (e.context.startsWith('s') ? 's' : e.context),
    });
    expect(() => iommu.bindProcess(rot, new FakeProcess('vax', [], 'vax'))).toThrow(
      /EOPNOTSUPP.*vax tables of vax/,
    );
    expect(codeOf(() => iommu.bindProcess(device('stranger'), new FakeProcess('app')))).toBe('ENODEV');
    expect(codeOf(() => iommu.bindProcess(rot, new FakeProcess('app'), 'nowhere'))).toBe('ENODEV');
    const [a, b] = [device('a', endpoint('s0', 0)), device('b', endpoint('s1', 1))];
    for (const each of [a, b]) iommu.configure(each);
    expect(codeOf(() => iommu.bindProcess(a, new FakeProcess('app')))).toBe('EINVAL');
    // Two IOMMUs, of which one cannot: nothing is left of the other's.
    addIommu(iommu, world, 'plain');
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'plain'));
    iommu.configure(mixed);
    expect(codeOf(() => iommu.bindProcess(mixed, new FakeProcess('app')))).toBe('EOPNOTSUPP');
    expect(fake.processTables.size).toBe(0);
    expect([
      codeOf(() => iommu.allocDomain(rot, 'sva')),
      codeOf(() => iommu.allocDomain(mixed, 'sva')),
    ]).toEqual(['EINVAL', 'EOPNOTSUPP']);
  });

  test('at a context leaves the others: two processes on one device', () => {
    const { iommu, fake, rot, app } = startProcess();
    const other = new FakeProcess('other');
    const src = iommu.bindProcess(rot, app, 'rot_src');
    const dst = iommu.bindProcess(rot, other, 'fake:rot_dst');
    expect([src.context, dst.context]).toEqual(['rot_src', 'fake:rot_dst']);
    expect(iommu.domainOf(rot)).toBe(iommu.domainOf(rot, 'rot_src'));
    expect(codeOf(() => iommu.bindProcess(rot, other, 'rot_src'))).toBe('ENOSPC');
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('ENOSPC');
    src.unbind();
    expect(kindsOf(fake)).toEqual(['paging', 'sva']);
    dst.unbind();
    expect(fake.processTables.size).toBe(0);
  });

  test('spans the IOMMUs of the device, with what each needs', () => {
    const { iommu, world, fake, app } = startProcess();
    const second = addIommu(iommu, world, 'second', { tableKey: 'other', capabilities: fake.capabilities });
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c1', 1), endpoint('c0', 0, 'second'));
    iommu.configure(mixed);
    const bond = iommu.bindProcess(mixed, app);
    expect([fake.processTables.size, second.processTables.size]).toEqual([1, 1]);
    app.unmap(0x1000, 4 * K);
    expect([fake.calls.at(-2), second.calls.at(-1)]).toEqual([
      'invalidate 0x00001000+4096',
      'invalidate 0x00001000+4096',
    ]);
    bond.unbind();
    expect([fake.processTables.size, second.processTables.size]).toEqual([0, 0]);
  });

  test('while the group is owned goes back to blocked', () => {
    const { iommu, fake, rot, app } = startProcess();
    iommu.claimOwnership(rot, 'owner');
    iommu.bindProcess(rot, app).unbind();
    expect(kindsOf(fake)).toEqual(['blocked', 'blocked']);
    expect(iommu.domainOf(rot)).toBe(iommu.blockedDomain);
  });

  test('a domain of a process has no mappings and takes no handler, and no device but by bindProcess', () => {
    const { iommu, rot, app } = startProcess();
    const other = device('other', endpoint('c0', 0));
    iommu.configure(other);
    const bond = iommu.bindProcess(rot, app);
    const domain = iommu.domainOf(rot) ?? iommu.blockedDomain;
    expect([
      codeOf(() => domain.map(0, 0, 4 * K, { read: true, write: true })),
      codeOf(() => domain.setFaultHandler(undefined)),
      codeOf(() => domain.free()),
      codeOf(() => iommu.attach(domain, other)),
      codeOf(() => iommu.attachGroup(domain, other)),
      codeOf(() => iommu.attachEndpoint(domain, other, 'c0')),
      codeOf(() => iommu.replace(domain, other)),
      codeOf(() => iommu.replace(domain, other, 'c0')),
    ]).toEqual(['EINVAL', 'EINVAL', 'EBUSY', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']);
    bond.unbind();
  });
});

describe('a process that changes', () => {
  test('has what it unmaps invalidated before the memory is anybody else’s', () => {
    const { iommu, fake, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.calls.length = 0;
    app.unmap(0x2000, 8 * K);
    expect(fake.calls).toEqual(['invalidate 0x00002000+8192', 'freed 0x00002000+8192']);
    bond.unbind();
    app.unmap(0x2000, 8 * K);
    expect(fake.calls.at(-1)).toBe('freed 0x00002000+8192');
    expect(fake.calls.filter((c) => c.startsWith('invalidate')).length).toBe(1);
  });

  test('has its devices blocked before its tables go; the bond stays until it is unbound', () => {
    const { iommu, fake, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    fake.calls.length = 0;
    app.exit();
    expect(fake.calls).toEqual(['attach rot_src blocked', 'attach rot_dst blocked', 'tables gone']);
    expect(iommu.domainOf(rot)).toBe(iommu.blockedDomain);
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('EINVAL');
    bond.unbind();
    expect([kindsOf(fake), iommu.domainOf(rot)]).toEqual([['paging', 'paging'], iommu.defaultDomainOf(rot)]);
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('EINVAL');
  });

  test.each(['before', 'after'] as const)(
    'can be unbound by whoever hears of the exit %s the core',
    (when) => {
      const { iommu, fake, rot, app } = startProcess();
      let end = (): void => undefined;
      if (when === 'before') app.onExit(() => end());
      const bond = iommu.bindProcess(rot, app);
      end = () => bond.unbind();
      if (when === 'after') app.onExit(() => end());
      app.exit();
      expect([kindsOf(fake), iommu.domainOf(rot)]).toEqual([
        ['paging', 'paging'],
        iommu.defaultDomainOf(rot),
      ]);
      expect([fake.processTables.size, app.listenerCount]).toEqual([0, 0]);
    },
  );

  test('and has ended makes room for the next, which a late unbind leaves alone', () => {
    const { iommu, fake, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    app.exit();
    const next = iommu.bindProcess(rot, new FakeProcess('next'));
    const domain = iommu.domainOf(rot);
    bond.unbind();
    expect([kindsOf(fake), iommu.domainOf(rot) === domain]).toEqual([['sva', 'sva'], true]);
    next.unbind();
    expect(iommu.domainOf(rot)).toBe(iommu.defaultDomainOf(rot));
  });
});

describe('a bound device that is moved by others', () => {
  test('is left where it is by unbind', () => {
    const { iommu, fake, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    const other = iommu.allocPagingDomain(rot, 'other');
    iommu.replace(other, rot);
    bond.unbind();
    expect([iommu.domainOf(rot), iommu.domainOf(rot, 'rot_src')]).toEqual([other, other]);
    expect([fake.processTables.size, app.listenerCount]).toEqual([0, 0]);
  });

  test('can be bound again, to the same process or another', () => {
    const { iommu, fake, rot, app } = startProcess();
    const old = iommu.bindProcess(rot, app);
    iommu.cleanup(rot);
    expect(kindsOf(fake)).toEqual([]);
    iommu.configure(rot);
    const bond = iommu.bindProcess(rot, app);
    expect(kindsOf(fake)).toEqual(['sva', 'sva']);
    old.unbind();
    expect([kindsOf(fake), fake.processTables.size]).toEqual([['sva', 'sva'], 1]);
    app.unmap(M, 4 * K);
    expect(fake.calls.at(-2)).toBe('invalidate 0x00100000+4096');
    bond.unbind();
    expect([fake.processTables.size, app.listenerCount]).toEqual([0, 0]);
  });

  test('and whose IOMMU has gone cannot be bound: ENODEV', () => {
    const { iommu, fake, rot, app } = startProcess();
    const bond = iommu.bindProcess(rot, app);
    iommu.removeInstance('fake');
    expect(codeOf(() => iommu.bindProcess(rot, app))).toBe('ENODEV');
    app.exit();
    bond.unbind();
    expect([fake.targets.size, fake.processTables.size, app.listenerCount]).toEqual([0, 0, 0]);
  });
});
