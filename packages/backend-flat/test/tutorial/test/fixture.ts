import { Bus, Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import type { ComplianceFixture } from '@iommu-lab/iommu-compliance';
import {
  BusMaster,
  DEFAULT_ATTRIBUTES,
  InterruptLine,
  MmioBus,
  PhysicalMemory,
  type PhysAddr,
  World,
} from '@iommu-lab/machine';
import { TinyDriver } from '../src/driver.ts';
import { REGISTERS, TABLE_BYTES, TinyHardware } from '../src/hardware.ts';
import type { TableMemory } from '../src/table.ts';

/** RAM at the IOVAs of the window: what gets past the tables then reads something, and is seen. */
const RAM = { base: 0x4000_0000, sizeBytes: 0x80_0000 };
const TABLE_RAM = { base: 0x8000_0000, sizeBytes: 32 * TABLE_BYTES };
const REGISTER_BASE = 0x0f00_0000;
const IRQ = 32;

export function createTinyFixture(): ComplianceFixture {
  const world = new World({ seed: 7 });
  const memory = new PhysicalMemory([RAM, TABLE_RAM]);
  const tables: TableMemory = { memory, freePages: [] };
  for (let i = 0; i < 32; i++) tables.freePages.push((TABLE_RAM.base + i * TABLE_BYTES) as PhysAddr);

  const faultLine = new InterruptLine('tiny fault');
  const hardware = new TinyHardware(memory, faultLine);
  const mmio = new MmioBus(world);
  mmio.addWindow({ name: 'tiny', base: REGISTER_BASE, sizeBytes: REGISTERS.sizeBytes, device: hardware });
  const interrupts = new InterruptController(world);
  interrupts.connect(IRQ, faultLine);

  const iommu = new Iommu(world);
  const bus = new Bus('soc', { world, mmio, interrupts });
  bus.addDriver(new TinyDriver(iommu, tables));
  const registers = {
    kind: 'memory',
    name: 'registers',
    start: REGISTER_BASE,
    sizeBytes: REGISTERS.sizeBytes,
  } as const;
  const resources = [registers, { kind: 'interrupt', name: 'fault', irq: IRQ }] as const;
  bus.addDevice(new Device('tiny', { compatible: 'tiny-iommu', resources }));

  const streams = new Map([
    [new Device('first'), 1],
    [new Device('second'), 3],
  ]);
  for (const [device, stream] of streams) {
    device.endpoints = [{ provider: 'tiny', context: String(stream), streamIds: [stream] }];
  }
  let next = RAM.base;
  return {
    world,
    iommu,
    devices: [...streams.keys()] as [Device, Device],
    memory,
    createMaster(device, attributes = DEFAULT_ATTRIBUTES) {
      const streamId = streams.get(device) ?? 0;
      return new BusMaster(world, { name: device.name, streamId, port: hardware, attributes });
    },
    allocate(sizeBytes, alignBytes) {
      const address = Math.ceil(next / alignBytes) * alignBytes;
      next = address + sizeBytes;
      return address;
    },
    allocatedTableBytes: () => (32 - tables.freePages.length) * TABLE_BYTES,
    settle: () => world.clock.run(),
  };
}
