import { describe, expect, test } from '@jest/globals';
import type { Device, ReservedRegion, ReservedRegionKind } from '@iommu-lab/driver-core';
import { READ_ONLY, READ_WRITE } from '../src/index.ts';
import { bench, codeOf, device, endpoint, type FakeOptions, K, M } from './fake-iommu.ts';
import { addIommu } from './space-fixture.ts';

function region(
  kind: ReservedRegionKind,
  iova: number,
  sizeBytes: number,
  name: string = kind,
): ReservedRegion {
  return { kind, iova, sizeBytes, name };
}

/** A device at context c0 with regions of its own, not configured. */
function reserving(...regions: readonly ReservedRegion[]): Device {
  const made = device('display', endpoint('c0', 0));
  made.reservedRegions = regions;
  return made;
}

/** Two devices in one group. */
const TOGETHER: FakeOptions = { isolate: () => 'all' };

describe('the regions of a device', () => {
  test('are those of firmware and of the hardware in front, ascending; none without IOMMU', () => {
    const msi = region('msi', 0xfee0_0000, M);
    const { iommu } = bench({ reserved: ({ context }) => (context === 'c0' ? [msi] : []) });
    const [splash, hole] = [region('direct', 2 * M, M), region('reserved', 0, 64 * K)];
    const display = reserving(splash, hole);
    expect(iommu.reservedRegionsOf(display)).toEqual([]);
    iommu.configure(display);
    expect(iommu.reservedRegionsOf(display)).toEqual([hole, splash, msi]);
    expect(iommu.reservedRegionsOf(device('stranger'))).toEqual([]);
  });

  test('of one kind that overlap or touch are one; of two kinds they are not', () => {
    const { iommu } = bench();
    const display = reserving(
      region('reserved', 8 * K, 8 * K, 'b'),
      region('reserved', 0, 8 * K, 'a'),
      region('reserved', 0, 20 * K, 'a'),
      region('msi', 16 * K, 8 * K),
      region('reserved', 24 * K, 4 * K, 'c'),
      region('reserved', 20 * K, 4 * K, 'b'),
      region('reserved', 32 * K, 4 * K, 'd'),
    );
    iommu.configure(display);
    const found = iommu.reservedRegionsOf(display).map((r) => [r.kind, r.iova / K, r.sizeBytes / K]);
    expect(found).toEqual([
      ['reserved', 0, 28],
      ['msi', 16, 8],
      ['reserved', 32, 4],
    ]);
    expect(iommu.reservedRegionsOf(display)[0]?.name).toBe('a, b, c');
  });

  test('are those of the whole group', () => {
    const { iommu } = bench(TOGETHER);
    const [a, b] = [reserving(region('reserved', 0, 4 * K)), device('b', endpoint('c1', 1))];
    b.reservedRegions = [region('msi', M, 4 * K)];
    for (const each of [a, b]) iommu.configure(each);
    expect(iommu.reservedRegionsOf(a)).toEqual(iommu.reservedRegionsOf(b));
    expect(iommu.reservedRegionsOf(a).map((r) => r.kind)).toEqual(['reserved', 'msi']);
  });
});

describe('direct regions', () => {
  test('are mapped to themselves before the device is attached, rounded outward', () => {
    const { iommu, fake } = bench();
    const display = reserving(
      region('direct', 4 * M + 100, 8 * K, 'splash screen'),
      region('direct-relaxable', M, 4 * K),
      region('reserved', 8 * M, 4 * K),
    );
    iommu.configure(display);
    expect(fake.calls).toEqual([
      'createPagingTable',
      'map 0x00100000 0x00100000 4096x1',
      'syncMap 0x00100000 4096',
      'map 0x00400000 0x00400000 4096x3',
      'syncMap 0x00400000 12288',
      'attach c0 paging',
    ]);
    expect(iommu.defaultDomainOf(display)?.mappings()).toMatchObject([
      { iova: M, address: M, by: 'reserved: direct-relaxable', protection: READ_WRITE },
      { iova: 4 * M, address: 4 * M, sizeBytes: 12 * K, by: 'reserved: splash screen' },
    ]);
  });

  test('that another member has mapped are left alone; only what is missing is mapped, and unmapped on failure', () => {
    const { iommu, fake } = bench(TOGETHER);
    iommu.configure(reserving(region('direct', 4 * K, 8 * K)));
    const late = device('late', endpoint('c1', 1), endpoint('c2', 2));
    late.reservedRegions = [region('direct', 0, 16 * K)];
    const before = fake.state();
    fake.broken.add('c2');
    fake.calls.length = 0;
    expect(codeOf(() => iommu.configure(late))).toBe('EIO');
    expect(fake.state()).toEqual(before);
    expect(fake.calls.filter((c) => c.startsWith('map'))).toEqual([
      'map 0x00000000 0x00000000 4096x1',
      'map 0x00003000 0x00003000 4096x1',
    ]);
    fake.broken.clear();
    iommu.configure(late);
    expect(iommu.defaultDomainOf(late)?.mappedBytes).toBe(16 * K);
  });

  test('that cannot be mapped keep the device from being configured', () => {
    const { iommu, fake } = bench({ capabilities: { aperture: { start: 0, last: M - 1 } } });
    const display = reserving(region('direct', 0, 4 * K), region('direct', 2 * M, 4 * K));
    expect(codeOf(() => iommu.configure(display))).toBe('ERANGE');
    expect([fake.tables.size, fake.targets.size, iommu.groups]).toEqual([0, 0, []]);
  });

  test('are in the default domains of both kinds of IOMMU', () => {
    const { iommu, world } = bench();
    addIommu(iommu, world, 'odd', { tableKey: 'odd', capabilities: { pageSizes: [16 * K] } });
    const display = device('display', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    display.reservedRegions = [region('direct', M, 4 * K)];
    iommu.configure(display);
    expect(['fake:c0', 'odd:c0'].map((c) => iommu.domainOf(display, c)?.mappedBytes)).toEqual([
      16 * K,
      16 * K,
    ]);
    expect(iommu.groupOf(display)?.defaultSpace?.iovaToPhys(M + 4)).toBe(M + 4);
  });

  test('are mappings of the address space that is the default, in granules of all its kinds', () => {
    const { iommu, world } = bench({ isolate: () => 'all' });
    addIommu(iommu, world, 'odd', { tableKey: 'odd', capabilities: { pageSizes: [16 * K] } });
    const display = device('display', endpoint('c0', 0), endpoint('c0', 0, 'odd'));
    display.reservedRegions = [region('direct', M + 20 * K, 8 * K, 'splash')];
    iommu.configure(display);
    const [space, splash] = [iommu.dmaMappingsOf(display), M + 16 * K];
    const found = { iova: splash, address: splash, sizeBytes: 16 * K, by: 'reserved: splash' };
    expect(space?.mappings()).toMatchObject([found]);
    expect([space?.iovaToPhys(splash + 5), space?.iovaToPhys(splash - 1), space?.mappedBytes]).toEqual([
      splash + 5,
      undefined,
      16 * K,
    ]);
    expect(codeOf(() => space?.map(M, 0, 64 * K, READ_WRITE))).toMatch(/EEXIST|EADDRINUSE/);
    const late = device('late', endpoint('c1', 1));
    late.reservedRegions = [
      region('direct', M + 16 * K, 4 * K),
      region('direct-relaxable', 2 * M, 16 * K, 'usb'),
    ];
    iommu.configure(late);
    expect(space?.mappings()).toMatchObject([found, { iova: 2 * M, by: 'reserved: usb' }]);
    expect(iommu.domainOf(late, 'c1')?.mappedBytes).toBe(32 * K);
  });

  test('keep a device from being blocked or owned: EINVAL', () => {
    const { iommu } = bench();
    const display = reserving(region('direct', M, 4 * K));
    iommu.configure(display);
    expect(codeOf(() => iommu.claimOwnership(display, 'guest'))).toBe('EINVAL');
    expect(codeOf(() => iommu.attach(iommu.blockedDomain, display))).toBe('EINVAL');
    expect(codeOf(() => iommu.replace(iommu.blockedDomain, display, 'c0'))).toBe('EINVAL');
    expect([iommu.domainOf(display), iommu.groupOf(display)?.owner]).toEqual([
      iommu.defaultDomainOf(display),
      undefined,
    ]);
    const blocking = bench({ defaultDomain: 'blocked' });
    expect(codeOf(() => blocking.iommu.configure(reserving(region('direct', M, 4 * K))))).toBe('EINVAL');
    const hard = bench({ reserved: () => [region('direct', M, 4 * K)] });
    const plain = reserving();
    hard.iommu.configure(plain);
    expect(codeOf(() => hard.iommu.claimOwnership(plain, 'guest'))).toBe('EINVAL');
  });

  test('keep nobody from anything when they are relaxable', () => {
    const { iommu } = bench();
    const usb = reserving(region('direct-relaxable', M, 4 * K));
    iommu.configure(usb);
    iommu.claimOwnership(usb, 'guest');
    const space = iommu.createAddressSpace('guest');
    space.map(M, 8 * M, 4 * K, READ_WRITE);
    space.attach(usb);
    space.unmap(M, 4 * K);
    space.map(M, 16 * M, 4 * K, READ_WRITE);
    expect([space.members, space.iovaToPhys(M)]).toEqual([[usb], 16 * M]);
  });

  test('are of no interest to an identity default', () => {
    const { iommu, fake } = bench({ defaultDomain: 'identity' });
    iommu.configure(reserving(region('direct', M, 4 * K)));
    expect(fake.calls).toEqual(['attach c0 identity']);
  });
});

describe('in an address space', () => {
  test.each(['direct', 'reserved', 'msi', 'sw-msi'] as const)(
    '%s regions and mappings exclude each other',
    (kind) => {
      const { iommu, fake } = bench();
      const display = reserving(region(kind, M + 4 * K, 8 * K, 'window'));
      iommu.configure(display);
      const space = iommu.createAddressSpace('guest');
      for (const [iova, size] of [
        [M + 4 * K, 4 * K],
        [M, 64 * K],
        [M + 8 * K, M],
      ] as const) {
        space.map(iova, iova, size, READ_ONLY, 'mine');
        const before = fake.state();
        expect(() => space.attach(display)).toThrow(/EADDRINUSE.*"window".*"mine"/);
        expect([fake.state(), space.domains]).toEqual([before, []]);
        space.unmap(iova, size);
      }
      space.attach(display);
      expect(space.reservedRegions).toEqual(display.reservedRegions);
      for (const [iova, size] of [
        [M + 4 * K, 4 * K],
        [M, 64 * K],
        [M + 8 * K, M],
      ] as const) {
        expect(codeOf(() => space.map(iova, iova, size, READ_WRITE))).toBe('EADDRINUSE');
      }
      for (const iova of [M, M + 12 * K]) space.map(iova, iova, 4 * K, READ_WRITE);
      space.detach(display);
      expect(space.reservedRegions).toEqual([]);
      space.map(M + 4 * K, M, 4 * K, READ_WRITE);
    },
  );
});
