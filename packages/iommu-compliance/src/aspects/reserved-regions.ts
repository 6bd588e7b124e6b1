/** IOVAs that are not free to use: what firmware says of a device, and what the hardware keeps for itself. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import type { ReservedRegion } from '@iommu-lab/driver-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';
import { type Probe, watchSteps } from '../watch-steps.ts';

export const reservedRegions: readonly Check[] = defineAspect('reserved-regions', {
  'the hardware’s own regions have a size and stay where they are'(bench) {
    for (const side of bench.sides) {
      const instance = bench.instanceOf(side);
      const once = instance.reservedRegions?.(side.endpoint) ?? [];
      const again = instance.reservedRegions?.(side.endpoint) ?? [];
      demandEqual(again, once, 'its regions when asked again');
      for (const { name, kind, iova, sizeBytes } of once) {
        demand(name !== '', 'a region has a name');
        demand(Number.isSafeInteger(iova) && iova >= 0 && sizeBytes > 0, `${name} is a range of IOVAs`);
        demand(kind === 'msi' || kind === 'reserved', `${name}: hardware keeps it, so it is not ${kind}`);
      }
      const known = bench.iommu.reservedRegionsOf(side.device);
      for (const region of once) {
        demand(
          known.some((r) => r.kind === region.kind && contains(r, region)),
          `${region.name} is among the regions of ${side.device.name}`,
        );
      }
    }
  },

  'the hardware’s own regions cannot be mapped for a member of an address space'(bench) {
    const { iommu, first, granule } = bench;
    const page = bench.page();
    const regions = iommu.reservedRegionsOf(first.device);
    const space = iommu.createAddressSpace('own regions');
    space.attach(first.device);
    demandEqual(space.reservedRegions, regions, 'regions of the space');
    for (const { iova } of regions) {
      const at = iova - (iova % granule);
      demandCode('EADDRINUSE', 'a map over one', () => space.map(at, page, granule, READ_WRITE));
    }
    space.map(bench.iova(0), page, granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), page);
  },

  'regions of a device are merged by kind, ascending'(bench) {
    const { granule } = bench;
    const own = bench.iommu.reservedRegionsOf(bench.first.device);
    reconfigure(bench, [
      region('late', 'reserved', bench.iova(20), granule),
      region('a', 'reserved', bench.iova(10), granule),
      region('b', 'reserved', bench.iova(11), granule),
      region('c', 'direct-relaxable', bench.iova(10), granule),
    ]);
    const mine = bench.iommu
      .reservedRegionsOf(bench.first.device)
      .filter((r) => !own.some((o) => o.name === r.name));
    demandEqual(
      mine.map(({ kind, iova, sizeBytes }) => [kind, iova, sizeBytes]),
      [
        ['reserved', bench.iova(10), 2 * granule],
        ['direct-relaxable', bench.iova(10), granule],
        ['reserved', bench.iova(20), granule],
      ],
      'the regions',
    );
  },

  'a direct region leads to itself from the moment the device is configured, or it cannot be configured'(
    bench,
  ) {
    const { iommu, first, granule } = bench;
    const tables = bench.fixture.allocatedTableBytes();
    const direct = region('splash', 'direct', bench.iova(8) + granule / 4, granule);
    if (iommu.defaultDomainOf(first.device)?.kind === 'blocked') {
      iommu.cleanup(first.device);
      first.device.reservedRegions = [direct];
      demandCode('EINVAL', 'a device that would be blocked', () => iommu.configure(first.device));
      demandEqual(iommu.groupOf(first.device), undefined, 'its group');
      bench.demandNoAccess(first, bench.iova(8), 'not configured');
      first.device.reservedRegions = [];
      iommu.configure(first.device);
      demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
      return;
    }
    iommu.cleanup(first.device);
    first.device.reservedRegions = [direct];
    // Rounded outward to whole granules.
    const probes = [8, 9].map((i): Probe => ({
      side: first,
      iova: bench.iova(i),
      mayReach: bench.isMirrored ? [bench.iova(i)] : [],
      mayFault: true,
    }));
    watchSteps(bench, probes, () => iommu.configure(first.device));
    if (bench.isMirrored) {
      for (const i of [8, 9]) {
        bench.demandReads(first, bench.iova(i), bench.iova(i));
        bench.demandWrites(first, bench.iova(i), bench.iova(i));
      }
    }
    for (const i of [7, 10]) bench.demandNoAccess(first, bench.iova(i), 'beside the region');
    const domain = iommu.defaultDomainOf(first.device);
    demandEqual(domain?.iovaToPhys(bench.iova(9)), bench.iova(9), 'where the region leads');
    iommu.cleanup(first.device);
    bench.demandNoAccess(first, bench.iova(8), 'the device has left');
    first.device.reservedRegions = [];
    iommu.configure(first.device);
    bench.demandNoAccess(first, bench.iova(8), 'configured without regions');
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
  },

  'a device with a direct region can be neither blocked nor taken over'(bench) {
    const { iommu, first, granule } = bench;
    if (iommu.defaultDomainOf(first.device)?.kind === 'blocked') return;
    reconfigure(bench, [region('splash', 'direct', bench.iova(8), granule)]);
    const { domain, page } = bench.serving('other');
    demandCode('EINVAL', 'blocking it', () => iommu.replace(iommu.blockedDomain, first.device));
    bench.demandReads(first, bench.iova(0), page);
    iommu.detach(domain, first.device);
    demandCode('EINVAL', 'claiming it', () => iommu.claimOwnership(first.device, 'owner'));
    demandEqual(iommu.groupOf(first.device)?.owner, undefined, 'its owner');
    if (bench.isMirrored) bench.demandReads(first, bench.iova(8), bench.iova(8));
  },

  'a relaxable region gives way to an owner and is there again afterwards'(bench) {
    const { iommu, first, granule } = bench;
    if (iommu.defaultDomainOf(first.device)?.kind === 'blocked') return;
    reconfigure(bench, [region('keyboard', 'direct-relaxable', bench.iova(8), granule)]);
    if (bench.isMirrored) bench.demandReads(first, bench.iova(8), bench.iova(8));
    iommu.claimOwnership(first.device, 'owner');
    bench.demandNoAccess(first, bench.iova(8), 'owned');
    iommu.releaseOwnership(first.device, 'owner');
    if (bench.isMirrored) bench.demandReads(first, bench.iova(8), bench.iova(8));
  },

  'a direct region that cannot be mapped leaves the device unconfigured'(bench) {
    const { iommu, first, granule } = bench;
    if (iommu.defaultDomainOf(first.device)?.kind === 'blocked') return;
    const tables = bench.fixture.allocatedTableBytes();
    const { last } = bench.capabilities.aperture;
    iommu.cleanup(first.device);
    first.device.reservedRegions = [
      region('inside', 'direct', bench.iova(8), granule),
      region('outside', 'direct', last + 1, granule),
    ];
    demandCode('ERANGE', 'configuring it', () => iommu.configure(first.device));
    demandEqual(iommu.groupOf(first.device), undefined, 'its group');
    bench.demandNoAccess(first, bench.iova(8), 'not configured');
    first.device.reservedRegions = [];
    iommu.configure(first.device);
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    bench.demandNoAccess(first, bench.iova(8), 'no region');
  },
});

function region(name: string, kind: ReservedRegion['kind'], iova: number, sizeBytes: number): ReservedRegion {
  return { name, kind, iova, sizeBytes };
}

/** The first device again, with these regions. */
function reconfigure(bench: Bench, regions: readonly ReservedRegion[]): void {
  const { device } = bench.first;
  bench.iommu.cleanup(device);
  device.reservedRegions = regions;
  bench.iommu.configure(device);
}

function contains(outer: ReservedRegion, inner: ReservedRegion): boolean {
  return outer.iova <= inner.iova && inner.iova + inner.sizeBytes <= outer.iova + outer.sizeBytes;
}
