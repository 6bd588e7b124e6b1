/** An IOMMU of another kind beside the one under test: its tables are none that any other hardware takes. */
import { Device } from '@iommu-lab/driver-core';
import type { Iommu, IommuInstance, PagingTable } from '@iommu-lab/iommu-core';

const PROVIDER = 'compliance-foreign';

/** A configured device behind an IOMMU of another kind in the same system. */
export function foreignDevice(iommu: Iommu): Device {
  iommu.registerInstance(foreignInstance());
  const device = new Device('foreign-device');
  device.endpoints = [{ provider: PROVIDER, context: 'only', streamIds: [0] }];
  iommu.configure(device);
  return device;
}

function foreignInstance(): IommuInstance {
  return {
    name: 'foreign',
    provider: PROVIDER,
    tableKey: PROVIDER,
    capabilities: {
      pageSizes: [0x1000],
      aperture: { start: 0, last: 0xffffffff },
      lastPhysAddr: 0xffffffff,
      permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true },
      identity: true,
      switchKind: 'atomic',
      coherentWalk: true,
      stall: false,
      pasids: 0,
      dirtyTracking: false,
      nesting: false,
    },
    probeEndpoint: () => 'only',
    createPagingTable: () => DUMMY_TABLE,
    attach() {},
    release() {},
  };
}

/** Does nothing: no device ever translates by it. */
const DUMMY_TABLE: PagingTable = {
  tableBytes: 0,
  mapPages() {},
  syncMap() {},
  unmapPages: () => 0,
  sync(gather) {
    gather.finish();
  },
  iovaToPhys: () => undefined,
  walk: () => [],
  destroy() {},
};
