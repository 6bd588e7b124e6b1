import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { addIommu, expectSame, NARROW, ODD } from './space-fixture.ts';

describe('an address space over all IOMMUs', () => {
  test('has a domain for each kind from the start, and keeps them', () => {
    const { iommu, world, fake } = bench();
    const odd = addIommu(iommu, world, 'odd', ODD);
    addIommu(iommu, world, 'twin');
    const space = iommu.createAddressSpace('vm', 'all');
    expect(space.domains.map((d) => d.name)).toEqual(['vm#0', 'vm#1']);
    space.map(M, M, 16 * K, READ_WRITE);
    expectSame(space, [fake, odd]);
    expect(codeOf(() => space.map(4 * K, M, 4 * K, READ_WRITE))).toBe('EINVAL');
    const c = device('c', endpoint('c0', 0, 'odd'));
    iommu.configure(c);
    odd.calls.length = 0;
    space.attach(c);
    expect(odd.calls).toEqual(['attach c0 paging']);
    space.detach(c);
    iommu.cleanup(c);
    expect(space.domains.length).toBe(2);
    space.free();
    expect([fake.tables.size, odd.tables.size]).toEqual([0, 0]);
  });

  test('needs memory for all of them, or takes none', () => {
    const { iommu, world, fake } = bench();
    const odd = addIommu(iommu, world, 'odd', ODD);
    world.failpoints.failNth(2, 'fake.table');
    expect(codeOf(() => iommu.createAddressSpace('vm', 'all'))).toBe('ENOMEM');
    expect([iommu.domains, fake.tables.size, odd.tables.size]).toEqual([[], 0, 0]);
  });

  test('reaches an IOMMU that comes late, with everything mapped', () => {
    const { iommu, world, fake } = bench();
    const space = iommu.createAddressSpace('vm', 'all');
    space.map(M, M, 16 * K, READ_WRITE);
    const odd = addIommu(iommu, world, 'odd', ODD);
    expect(space.domains.length).toBe(2);
    expectSame(space, [fake, odd]);
    addIommu(iommu, world, 'twin');
    expect(space.domains.length).toBe(2);
  });

  test('says which late IOMMU it cannot reach; a device behind that one cannot join until it can', () => {
    const { iommu, world, fake, events } = bench();
    const space = iommu.createAddressSpace('vm', 'all');
    const others = iommu.createAddressSpace('others');
    space.map(512 * M, M, 16 * K, READ_WRITE);
    const narrow = addIommu(iommu, world, 'narrow', NARROW);
    expect(events.filter((e) => e.name === 'iommu:address_space_not_extended')).toMatchObject([
      { fields: { space: 'vm', instance: narrow.name, error: expect.stringMatching(/^ERANGE/) } },
    ]);
    expect([space.domains.length, narrow.tables.size]).toEqual([1, 0]);
    const n = device('n', endpoint('c0', 0, 'narrow'));
    iommu.configure(n);
    const before = narrow.state();
    expect(codeOf(() => space.attach(n))).toBe('ERANGE');
    expect([narrow.state(), space.domains.length]).toEqual([before, 1]);
    others.attach(n);
    others.detach(n);
    space.unmap(512 * M, 16 * K);
    space.map(M, M, 16 * K, READ_WRITE);
    space.attach(n);
    expectSame(space, [fake, narrow]);
  });

  test('lets go of the domain of an IOMMU that leaves', () => {
    const { iommu, world, fake } = bench();
    const odd = addIommu(iommu, world, 'odd', ODD);
    const twin = addIommu(iommu, world, 'twin');
    const space = iommu.createAddressSpace('vm', 'all');
    iommu.removeInstance('odd');
    expect([space.domains.length, odd.tables.size]).toEqual([1, 0]);
    space.map(4 * K, M, 4 * K, READ_WRITE);
    iommu.unregisterInstance('fake');
    expectSame(space, [fake, twin]);
    iommu.unregisterInstance('twin');
    expect([space.domains, fake.tables.size, twin.tables.size]).toEqual([[], 0, 0]);
    expect(space.mappedBytes).toBe(4 * K);
  });

  test('does not follow once it is freed', () => {
    const { iommu, world } = bench();
    iommu.createAddressSpace('vm', 'all').free();
    expect(addIommu(iommu, world, 'odd', ODD).tables.size).toBe(0);
  });
});

describe('an address space as the default of a device behind several kinds', () => {
  function start() {
    const made = bench();
    const odd = addIommu(made.iommu, made.world, 'odd', ODD);
    const mixed = device('mixed', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    made.iommu.configure(mixed);
    return { ...made, odd, mixed };
  }

  test('holds the default domains together', () => {
    const { iommu, mixed, fake, odd } = start();
    const space = iommu.groupOf(mixed)?.defaultSpace;
    expect(iommu.dmaMappingsOf(mixed)).toBe(space);
    expect([iommu.defaultDomainOf(mixed), iommu.domainOf(mixed)]).toEqual([
      space?.domains[0],
      space?.domains[0],
    ]);
    expect(iommu.domainOf(mixed, 'odd:c0')).toBe(space?.domains[1]);
    expect(codeOf(() => iommu.allocPagingDomain(mixed))).toBe('EOPNOTSUPP');
    space?.map(M, M, 16 * K, READ_WRITE);
    expectSame(space ?? iommu.createAddressSpace('none'), [fake, odd]);
    iommu.cleanup(mixed);
    expect([iommu.domains, fake.tables.size, odd.tables.size]).toEqual([[], 0, 0]);
  });

  test('is where it returns to', () => {
    const { iommu, mixed } = start();
    const home = iommu.groupOf(mixed)?.defaultSpace;
    const guest = iommu.createAddressSpace('guest');
    iommu.claimOwnership(mixed, 'vm');
    guest.attach(mixed);
    expect([guest.members, home?.members]).toEqual([[mixed], []]);
    guest.detach(mixed);
    iommu.releaseOwnership(mixed);
    expect([guest.domains, home?.members, home?.domains.length]).toEqual([[], [mixed], 2]);
  });

  test('is not freed by anybody, at home or away: EBUSY, and nothing happens', () => {
    const { iommu, mixed, fake, odd } = start();
    const home = iommu.groupOf(mixed)?.defaultSpace;
    expect(codeOf(() => home?.free())).toBe('EBUSY');
    iommu.replace(iommu.blockedDomain, mixed);
    expect(codeOf(() => home?.free())).toBe('EBUSY');
    home?.map(M, M, 16 * K, READ_WRITE);
    iommu.cleanup(mixed);
    expect([fake.tables.size, odd.tables.size, home?.domains]).toEqual([0, 0, []]);
  });

  test('takes no member behind a kind that came later: the kinds were settled with the first', () => {
    const { iommu, world, mixed } = start();
    const third = addIommu(iommu, world, 'third', { tableKey: 'third' });
    const more = device('more', endpoint('c0', 9), endpoint('c9', 9, 'third'));
    const home = iommu.groupOf(mixed)?.defaultSpace;
    expect(codeOf(() => iommu.configure(more))).toBe('EINVAL');
    expect([home?.domains.length, third.tables.size, home?.members]).toEqual([2, 0, [mixed]]);
  });

  test('stays whole when the member goes that it began with', () => {
    const { iommu, mixed } = start();
    const rest = device('rest', endpoint('c0', 9, 'odd'));
    iommu.configure(rest);
    const home = iommu.groupOf(rest)?.defaultSpace;
    iommu.cleanup(mixed);
    expect(home?.domains.length).toBe(1);
    expect([iommu.defaultDomainOf(rest), iommu.domainOf(rest)]).toEqual([home?.domains[0], home?.domains[0]]);
    expect(iommu.domainOf(rest, 'c0')).toBe(home?.domains[0]);
    iommu.attach(iommu.allocPagingDomain(rest), rest);
    iommu.cleanup(rest);
    expect(home?.domains).toEqual([]);
  });
});
