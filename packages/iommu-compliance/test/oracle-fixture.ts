import { Device } from '@iommu-lab/driver-core';
import type { IommuCapabilities } from '@iommu-lab/iommu-core';
import { BusMaster, DEFAULT_ATTRIBUTES, PhysicalMemory, World } from '@iommu-lab/machine';
import type { ComplianceFixture } from '../src/index.ts';
import { type Defect, OracleIommu } from './oracle-backend.ts';

/** All there is: three page sizes, every right, identity, stall. */
export const RICH: IommuCapabilities = {
  pageSizes: [0x1000, 0x1_0000, 0x10_0000],
  aperture: { start: 0, last: 0xffff_ffff },
  lastPhysAddr: 0xffff_ffff,
  permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true },
  identity: true,
  switchKind: 'atomic',
  coherentWalk: true,
  stall: true,
  pasids: 0,
  dirtyTracking: false,
  nesting: false,
};

/** The least there can be. */
export const POOR: IommuCapabilities = {
  ...RICH,
  pageSizes: [0x2000],
  aperture: { start: 0x4000_0000, last: 0x5fff_ffff },
  permissions: { readOnly: false, writeOnly: false, noExec: false, privileged: false },
  identity: false,
  stall: false,
};

/** Two devices behind an oracle IOMMU. */
export function createOracleFixture(capabilities: IommuCapabilities, defect?: Defect): ComplianceFixture {
  const world = new World({ seed: 3 });
  // Large enough to be kept in chunks, so that a fixture costs next to nothing.
  const ram = { base: 0x4800_0000, sizeBytes: 0x1800_0000 };
  const memory = new PhysicalMemory([ram]);
  const oracle = new OracleIommu(world, memory, capabilities, defect);
  const devices = [1, 2].map((stream) => {
    const device = new Device(`device${stream}`);
    device.endpoints = [{ provider: oracle.provider, context: `context${stream}`, streamIds: [stream] }];
    return device;
  }) as [Device, Device];
  let next = ram.base;

  return {
    world,
    iommu: oracle.iommu,
    devices,
    memory,
    createMaster: (device, attributes = DEFAULT_ATTRIBUTES) =>
      new BusMaster(world, {
        name: device.name,
        streamId: device.endpoints[0]?.streamIds[0] ?? 0,
        port: oracle,
        attributes,
      }),
    allocate(sizeBytes, alignBytes) {
      const address = Math.ceil(next / alignBytes) * alignBytes;
      next = address + sizeBytes;
      return address;
    },
    allocatedTableBytes: () => oracle.allocatedBytes,
    settle: () => world.clock.run(),
  };
}
