import { describe, expect, test } from '@jest/globals';
import { type IoAddressSpace, READ_ONLY, READ_WRITE, WRITE_ONLY } from '../src/index.ts';
import { bench, type Bench, codeOf, device, endpoint, K, M } from './fake-iommu.ts';
import { addIommu, expectSame, ODD } from './space-fixture.ts';

/** A fake IOMMU, an odd one, a device behind each and an empty address space. */
function start(): Bench & ReturnType<typeof more> {
  const made = bench();
  return { ...made, ...more(made) };
}

function more({ iommu, world }: Bench) {
  const odd = addIommu(iommu, world, 'odd', { ...ODD });
  const [a, b, c] = [
    device('a', endpoint('c0', 0)),
    device('b', endpoint('c1', 1)),
    device('c', endpoint('c0', 0, 'odd')),
  ];
  for (const each of [a, b, c]) iommu.configure(each);
  return { odd, a, b, c, space: iommu.createAddressSpace('guest') };
}

function namesOf(space: IoAddressSpace): readonly string[] {
  return space.members.map((d) => d.name);
}

describe('mappings', () => {
  test('are kept while nobody uses them, and read back', () => {
    const { space, iommu } = start();
    space.map(M, 64 * M, 8 * K, READ_ONLY, 'early');
    expect(
      space.mapSg(
        2 * M,
        [
          { address: M, length: K },
          { address: M + K, length: 3 * K },
        ],
        READ_WRITE,
      ),
    ).toBe(4 * K);
    expect([space.domains, space.tableBytes, space.mappedBytes]).toEqual([[], 0, 12 * K]);
    expect([space.iovaToPhys(M + 5), space.iovaToPhys(M + 8 * K)]).toEqual([64 * M + 5, undefined]);
    expect(space.mappings()).toMatchObject([
      { iova: M, address: 64 * M, sizeBytes: 8 * K, by: 'early' },
      { iova: 2 * M, address: M, sizeBytes: 4 * K },
    ]);
    expect(space.capabilities.pageSizes).toEqual([1]);
    expect(iommu.domains.map((d) => d.name)).toEqual(['dma:a', 'dma:b', 'dma:c']);
  });

  test('are in every domain, and leave every domain', () => {
    const { space, a, c, fake, odd } = start();
    space.map(M, 64 * M, 128 * K, READ_WRITE);
    space.attach(a);
    space.attach(c);
    space.map(16 * M, 2 * M, 16 * K, READ_ONLY);
    expectSame(space, [fake, odd]);
    expect(space.domains.map((d) => d.mappedBytes)).toEqual([144 * K, 144 * K]);
    expect(space.tableBytes).toBe(space.domains.reduce((sum, d) => sum + d.tableBytes, 0));
    expect(space.unmap(M, 128 * K)).toBe(128 * K);
    expectSame(space, [fake, odd]);
    expect(space.domains.map((d) => d.mappedBytes)).toEqual([16 * K, 16 * K]);
  });

  test('do not overlap: EEXIST, whether or not somebody uses them', () => {
    const { space, a } = start();
    space.map(M, M, 8 * K, READ_WRITE);
    for (const iova of [M - 4 * K, M, M + 4 * K]) {
      expect(codeOf(() => space.map(iova, M, 8 * K, READ_WRITE))).toBe('EEXIST');
    }
    space.attach(a);
    expect(codeOf(() => space.map(M + 4 * K, M, 8 * K, READ_WRITE))).toBe('EEXIST');
    space.map(M - 4 * K, M, 4 * K, READ_WRITE);
    space.map(M + 8 * K, M, 4 * K, READ_WRITE);
  });

  test.each([
    [0, 0, 0],
    [-4096, 0, 4096],
    [0, -4096, 4096],
    [0.5, 0, 4096],
    [0, 0, Number.NaN],
    [Number.MAX_SAFE_INTEGER, 0, 4096],
    [0, Number.MAX_SAFE_INTEGER, 4096],
  ])('no range is EINVAL: iova %p, address %p, %p bytes', (iova, address, sizeBytes) => {
    const { space } = start();
    expect(codeOf(() => space.map(iova, address, sizeBytes, READ_WRITE))).toBe('EINVAL');
    expect(space.mappings()).toEqual([]);
  });

  test('without rights, or of no entries, are EINVAL', () => {
    const { space } = start();
    expect(codeOf(() => space.map(0, 0, 4 * K, { read: false, write: false }))).toBe('EINVAL');
    expect(codeOf(() => space.mapSg(0, [], READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => space.unmap(0, 0))).toBe('EINVAL');
    expect(codeOf(() => space.unmap(-1, 4 * K))).toBe('EINVAL');
  });

  test('go whole: a range that cuts what one call mapped is EINVAL and removes nothing', () => {
    const { space, a, fake } = start();
    space.attach(a);
    space.map(M, M, 4 * K, READ_WRITE);
    space.mapSg(
      2 * M,
      [8, 16].map((n) => ({ address: n * M, length: 4 * K })),
      READ_WRITE,
    );
    for (const [iova, size] of [
      [M, 2 * M - M + 4 * K],
      [2 * M + 4 * K, 4 * K],
      [2 * M + 4 * K, M],
    ] as const) {
      expect(codeOf(() => space.unmap(iova, size))).toBe('EINVAL');
    }
    expect(space.mappedBytes).toBe(12 * K);
    expectSame(space, [fake]);
  });

  test('are removed over holes, of which nothing is said', () => {
    const { space, a, fake } = start();
    space.attach(a);
    for (const n of [1, 3, 9]) space.map(n * M, n * M, 4 * K, READ_WRITE);
    expect(space.unmap(0, 8 * M)).toBe(8 * K);
    expect(space.unmap(0, 8 * M)).toBe(0);
    expect(space.mappings().map((m) => m.iova)).toEqual([9 * M]);
    expectSame(space, [fake]);
  });

  test('that one IOMMU cannot express are in none', () => {
    const { space, a, c, fake, odd } = start();
    space.attach(a);
    space.attach(c);
    expect(codeOf(() => space.map(M, M, 4 * K, READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => space.map(2 ** 31, M, 16 * K, READ_WRITE))).toBe('ERANGE');
    expect(codeOf(() => space.map(M, 2 ** 31, 16 * K, READ_WRITE))).toBe('ERANGE');
    expect(codeOf(() => space.map(M, M, 16 * K, { ...READ_WRITE, privileged: true }))).toBe('EOPNOTSUPP');
    expect([space.mappings(), fake.state(), odd.state()]).toMatchObject([[], {}, {}]);
    expectSame(space, [fake, odd]);
    expect(space.capabilities).toMatchObject({
      pageSizes: [16 * K, M],
      aperture: { start: 64 * K, last: 2 ** 31 - 1 },
      permissions: { privileged: false },
    });
  });

  test('keep the rights that were asked for, whatever one IOMMU makes of them', () => {
    const { space, a, c } = start();
    space.attach(a);
    space.map(M, M, 16 * K, WRITE_ONLY);
    space.attach(c);
    expect(space.mappings()[0]?.protection).toEqual(WRITE_ONLY);
    expect(space.domains.map((d) => d.mappings()[0]?.protection)).toEqual([READ_WRITE, WRITE_ONLY]);
  });
});

describe('the end', () => {
  test('is refused with members, harmless twice, and final', () => {
    const { space, a, fake } = start();
    space.attach(a);
    space.map(M, M, 4 * K, READ_WRITE);
    expect(() => space.free()).toThrow(/EBUSY.*in use by a/);
    space.detach(a);
    space.free();
    space.free();
    expect([space.mappings(), space.domains, fake.tables.size]).toEqual([[], [], 2]);
    expect(codeOf(() => space.map(M, M, 4 * K, READ_WRITE))).toBe('EINVAL');
    expect(codeOf(() => space.attach(a))).toBe('EINVAL');
    expect(space.unmap(M, 4 * K)).toBe(0);
  });
});

test('its name and its members are known, by joining', () => {
  const { space, a, b, c, events } = start();
  for (const each of [a, b, c]) space.attach(each);
  expect([space.name, space.kind, space.span, namesOf(space)]).toEqual([
    'guest',
    'paging',
    'members',
    ['a', 'b', 'c'],
  ]);
  expect(events.filter((e) => e.name === 'iommu:join_address_space').map((e) => e.fields)).toEqual([
    { device: 'a', space: 'guest', domains: ['guest#0'] },
    { device: 'b', space: 'guest', domains: ['guest#0'] },
    { device: 'c', space: 'guest', domains: ['guest#1'] },
  ]);
});
