import { Device, type ReservedRegion } from '@iommu-lab/driver-core';
import { type DefaultDomainKind, Iommu, type IommuCapabilities } from '@iommu-lab/iommu-core';
import { BusMaster, DEFAULT_ATTRIBUTES, type PhysAddr, PhysicalMemory, World } from '@iommu-lab/machine';
import type { ComplianceFixture } from '../src/index.ts';
import type { Defect } from '../src/reference/defects.ts';
import { referenceContext, ReferenceIommu } from '../src/reference/reference-iommu.ts';
import {
  PROCESS_PAGE_BYTES,
  REFERENCE_FORMAT,
  ReferenceProcess,
} from '../src/reference/reference-process.ts';

/** All there is: three page sizes, every right, identity, stall, writes noted, processes. */
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
  dirtyTracking: true,
  nesting: false,
  processFormats: [REFERENCE_FORMAT],
};

/** The least there can be. */
export const POOR: IommuCapabilities = {
  ...RICH,
  pageSizes: [0x2000],
  aperture: { start: 0x4000_0000, last: 0x5fff_ffff },
  permissions: { readOnly: false, writeOnly: false, noExec: false, privileged: false },
  identity: false,
  stall: false,
  dirtyTracking: false,
  processFormats: [],
};

const DOORBELL: ReservedRegion = { name: 'doorbell', kind: 'msi', iova: 0x0100_0000, sizeBytes: 0x1000 };

/** Two devices behind a reference IOMMU. */
export function createOracleFixture(
  capabilities: IommuCapabilities,
  defect?: Defect,
  defaultDomain: DefaultDomainKind = 'dma',
): ComplianceFixture {
  const world = new World({ seed: 3 });
  // Large enough to be kept in chunks, so that a fixture costs next to nothing.
  const ram = { base: 0x4800_0000, sizeBytes: 0x1800_0000 };
  const memory = new PhysicalMemory([ram]);
  const iommu = new Iommu(world, { defaultDomain });
  const reserved = [DOORBELL];
  const oracle = new ReferenceIommu({ world, iommu, memory, capabilities, reserved, defect });
  iommu.registerInstance(oracle);
  const devices = [1, 2].map((stream) => {
    const device = new Device(`device${stream}`);
    device.endpoints = [
      { provider: oracle.provider, context: referenceContext(stream), streamIds: [stream] },
    ];
    return device;
  }) as [Device, Device];
  let next = ram.base;
  const allocate = (sizeBytes: number, alignBytes: number): number => {
    const address = Math.ceil(next / alignBytes) * alignBytes;
    next = address + sizeBytes;
    return address;
  };

  return {
    world,
    iommu,
    devices,
    memory,
    createMaster: (device, attributes = DEFAULT_ATTRIBUTES) =>
      new BusMaster(world, {
        name: device.name,
        streamId: device.endpoints[0]?.streamIds[0] ?? 0,
        port: oracle,
        attributes,
      }),
    allocate,
    allocatedTableBytes: () => oracle.allocatedBytes,
    settle: () => world.clock.run(),
    ...(capabilities.processFormats.length > 0 && {
      createProcess: (name: string) =>
        new ReferenceProcess(name, {
          allocate: () => allocate(PROCESS_PAGE_BYTES, PROCESS_PAGE_BYTES),
          load: (address, into) => void memory.read(address as PhysAddr, into),
          store: (address, from) => void memory.write(address as PhysAddr, from),
        }),
    }),
  };
}
