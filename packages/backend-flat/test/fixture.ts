import { Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import type { ComplianceFixture } from '@iommu-lab/iommu-compliance';
import { BusMaster, DEFAULT_ATTRIBUTES, MmioBus, PhysicalMemory, World } from '@iommu-lab/machine';
import { createFlatIommu, type FlatIommu, ReservedTableMemory } from '../src/index.ts';

const MIB = 0x10_0000;
/** RAM in the middle of the IOVA window, so that an address that bypasses the table shows. */
const RAM = { base: 0x1200_0000, sizeBytes: 16 * MIB };
const TABLES = { base: 0x8000_0000, sizeBytes: MIB };

/** A world with two devices behind one flat IOMMU, or each behind its own. */
export function createFlatFixture(iommus: 1 | 2 = 1): ComplianceFixture {
  const world = new World({ seed: 7 });
  const memory = new PhysicalMemory([RAM, TABLES]);
  const tables = new ReservedTableMemory(world, memory, TABLES.base, TABLES.sizeBytes);
  const iommu = new Iommu(world);
  const shared = {
    world,
    memory,
    tables,
    iommu,
    mmio: new MmioBus(world),
    interrupts: new InterruptController(world),
  };
  const one = createFlatIommu(shared);
  const other =
    iommus === 1
      ? one
      : createFlatIommu({ ...shared, provider: 'other', irq: 33, registerBase: 0x0f01_0000 });
  const behind = new Map([
    [new Device('first'), { flat: one, stream: 1 }],
    [new Device('second'), { flat: other, stream: 4 }],
  ]);
  for (const [device, { flat, stream }] of behind) device.endpoints = [flat.endpoint(stream)];
  let next = RAM.base;

  return {
    world,
    iommu,
    devices: [...behind.keys()] as [Device, Device],
    memory,
    createMaster(device, attributes = DEFAULT_ATTRIBUTES) {
      const { flat, stream } = behind.get(device) as { flat: FlatIommu; stream: number };
      return new BusMaster(world, { name: device.name, streamId: stream, port: flat.hardware, attributes });
    },
    allocate(sizeBytes, alignBytes) {
      const address = Math.ceil(next / alignBytes) * alignBytes;
      next = address + sizeBytes;
      return address;
    },
    allocatedTableBytes: () => tables.allocatedBytes,
    settle: () => world.clock.run(),
  };
}
