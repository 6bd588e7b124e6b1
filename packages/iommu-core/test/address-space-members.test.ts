import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '../src/index.ts';
import { bench, type Bench, codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { addIommu, expectSame, NARROW, ODD } from './space-fixture.ts';

/** Three IOMMUs: fake, odd (other tables), narrow (fake's tables, smaller); a space with something mapped. */
function start(): Bench & ReturnType<typeof more> {
  const made = bench();
  return { ...made, ...more(made) };
}

function more({ iommu, world }: Bench) {
  const odd = addIommu(iommu, world, 'odd', ODD);
  const narrow = addIommu(iommu, world, 'narrow', NARROW);
  const a = device('a', endpoint('c0', 0));
  const b = device('b', endpoint('c1', 1));
  const c = device('c', endpoint('c0', 0, 'odd'));
  const n = device('n', endpoint('c0', 0, 'narrow'));
  const mixed = device('mixed', endpoint('c2', 2), endpoint('c2', 2, 'odd'), endpoint('c3', 3));
  for (const each of [a, b, c, n, mixed]) iommu.configure(each);
  const space = iommu.createAddressSpace('guest');
  space.map(M, 64 * M, 64 * K, READ_WRITE, 'early');
  return { odd, narrow, a, b, c, n, mixed, space };
}

describe('domains of an address space', () => {
  test('are one for each kind of IOMMU, shared where tables and promises agree', () => {
    const { space, a, b, c, n, fake, odd, narrow, iommu } = start();
    space.attach(a);
    space.attach(b);
    expect(space.domains.length).toBe(1);
    // The narrow IOMMU cannot keep the promises of the first domain; the wide one can keep those of a narrow domain.
    space.attach(n);
    space.attach(c);
    expect(space.domains.map((d) => d.capabilities.pageSizes.length)).toEqual([4, 2, 2]);
    expectSame(space, [fake, odd, narrow]);
    for (const each of [a, b]) space.detach(each);
    expect(space.domains.length).toBe(2);
    space.attach(a);
    expect(iommu.domainOf(a)).toBe(iommu.domainOf(n));
    expectSame(space, [fake, odd, narrow]);
  });

  test('of a device behind two kinds are two, and it goes to all of them or none', () => {
    const { space, mixed, fake, odd, iommu } = start();
    const before = [fake.state(), odd.state()];
    fake.broken.add('c3');
    expect(codeOf(() => space.attach(mixed))).toBe('EIO');
    expect([fake.state(), odd.state()]).toEqual(before);
    expect([space.domains, space.members]).toEqual([[], []]);
    fake.broken.clear();
    space.attach(mixed);
    expect(['fake:c2', 'odd:c2', 'c3'].map((c) => iommu.domainOf(mixed, c)?.name)).toEqual([
      'guest#2',
      'guest#3',
      'guest#2',
    ]);
    expect(space.members).toEqual([mixed]);
    expectSame(space, [fake, odd]);
  });

  test('of two IOMMUs with the same tables can do what both can', () => {
    const { space, iommu } = start();
    const both = device('both', endpoint('c8', 8), endpoint('c8', 8, 'narrow'));
    iommu.configure(both);
    space.attach(both);
    expect(space.domains.map((d) => d.capabilities.pageSizes)).toEqual([[4 * K, 64 * K]]);
  });

  test('of two IOMMUs with the same tables and no page size in common are two', () => {
    const { space, iommu, world } = start();
    addIommu(iommu, world, 'large', { capabilities: { pageSizes: [64 * K, M] } });
    addIommu(iommu, world, 'small', { capabilities: { pageSizes: [4 * K] } });
    const both = device('both', endpoint('c8', 8, 'large'), endpoint('c8', 8, 'small'));
    iommu.configure(both);
    space.attach(both);
    expect(space.domains.map((d) => d.capabilities.pageSizes)).toEqual([[64 * K, M], [4 * K]]);
  });

  test.each(['detach', 'cleanup', 'replace', 'remove', 'iommu.detach'] as const)(
    'go when the last member of their kind goes: %s',
    (how) => {
      const { space, a, c, iommu, fake, odd } = start();
      space.attach(a);
      space.attach(c);
      const before = odd.tables.size;
      if (how === 'detach') space.detach(c);
      if (how === 'cleanup') iommu.cleanup(c);
      if (how === 'replace') iommu.replace(iommu.blockedDomain, c);
      if (how === 'remove') iommu.removeInstance('odd');
      if (how === 'iommu.detach') iommu.detach(iommu.domainOf(c) ?? iommu.blockedDomain, c);
      expect([space.members, space.domains.length]).toEqual([[a], 1]);
      expect(odd.tables.size).toBe(before - (how === 'cleanup' ? 2 : 1));
      expectSame(space, [fake, odd]);
      space.map(2 * M, M, 4 * K, READ_WRITE);
    },
  );

  test('go when the owner gives the group back', () => {
    const { space, a, iommu, fake } = start();
    iommu.claimOwnership(a, 'guest');
    space.attach(a);
    space.detach(a);
    expect(iommu.domainOf(a)).toBe(iommu.blockedDomain);
    space.attach(a);
    iommu.releaseOwnership(a, 'guest');
    expect([space.members, space.domains, iommu.domainOf(a)]).toEqual([[], [], iommu.defaultDomainOf(a)]);
    expectSame(space, [fake]);
  });

  test('take the fault handler that is set, before and after', () => {
    const { space, a, c, fake, odd, iommu } = start();
    space.attach(a);
    space.setFaultHandler(() => 'retry');
    space.attach(c);
    expect([fake.stall(iommu, { context: 'c0' }), odd.stall(iommu, { context: 'c0' })]).toEqual([
      'retry',
      'retry',
    ]);
    space.setFaultHandler(undefined);
    expect([fake.stall(iommu, { context: 'c0' }), odd.stall(iommu, { context: 'c0' })]).toEqual([
      'terminate',
      'terminate',
    ]);
  });
});

describe('joining', () => {
  test.each([
    ['EINVAL', 4 * K, 4 * K, 4 * K],
    ['ERANGE', 2 ** 31, 0, 16 * K],
    ['ERANGE', 0, 2 ** 31, 16 * K],
  ])('shows late what the hardware cannot map: %s', (code, iova, address, size) => {
    const { space, c, mixed, fake, odd } = start();
    space.map(iova === 0 ? 2 * M : iova, address, size, READ_WRITE, 'too much');
    const before = [fake.state(), odd.state()];
    for (const each of [c, mixed]) expect(codeOf(() => space.attach(each))).toBe(code);
    expect([fake.state(), odd.state()]).toEqual(before);
    expect([space.domains, space.members]).toEqual([[], []]);
    space.unmap(iova === 0 ? 2 * M : iova, size);
    space.attach(c);
  });

  test('replays scattered buffers as they were mapped', () => {
    const { space, c, fake, odd } = start();
    const entries = [8, 24, 16].map((n) => ({ address: n * M, length: 16 * K }));
    space.mapSg(32 * M, entries, READ_WRITE, 'scattered');
    space.attach(c);
    expectSame(space, [fake, odd]);
    expect(space.domains[0]?.mappings().at(-1)).toMatchObject({
      by: 'scattered',
      buffer: { iova: 32 * M, sizeBytes: 48 * K },
    });
  });

  test('is for idle devices with an IOMMU: EBUSY and ENODEV', () => {
    const { space, a, iommu } = start();
    space.attach(a);
    expect(codeOf(() => space.attach(a))).toBe('EBUSY');
    expect(codeOf(() => iommu.createAddressSpace('other').attach(a))).toBe('EBUSY');
    expect(codeOf(() => iommu.claimOwnership(a, 'guest'))).toBe('EBUSY');
    expect(codeOf(() => space.attach(device('stranger')))).toBe('ENODEV');
    space.detach(device('stranger'));
  });

  test('takes the whole group, and leaving takes it back', () => {
    const { iommu, fake } = bench({ isolate: () => 'all' });
    const [a, b] = [device('a', endpoint('c0', 0)), device('b', endpoint('c1', 1))];
    iommu.configure(a);
    iommu.configure(b);
    const space = iommu.createAddressSpace('guest');
    space.attach(b);
    expect(space.members).toEqual([a, b]);
    expect(codeOf(() => iommu.configure(device('late', endpoint('c2', 2))))).toBe('EBUSY');
    iommu.cleanup(a);
    expect([space.members, space.domains.length]).toEqual([[b], 1]);
    space.detach(b);
    expect([space.members, fake.tables.size]).toEqual([[], 1]);
  });

  test('leaving never fails: what cannot go back is blocked', () => {
    const { space, mixed, fake, iommu, events } = start();
    space.attach(mixed);
    fake.broken.add('c2');
    space.detach(mixed);
    expect([space.members, space.domains]).toEqual([[], []]);
    expect([iommu.domainOf(mixed, 'fake:c2'), fake.targets.has('c2:2')]).toEqual([undefined, false]);
    expect(events.map((e) => e.name)).toContain('iommu:endpoint_quarantined');
  });
});
