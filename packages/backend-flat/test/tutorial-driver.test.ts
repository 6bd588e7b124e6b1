/** What the kit cannot see of the tutorial's bus driver: what it finds, and what it leaves. */
import { expect, test } from '@jest/globals';
import { Bus, Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { BusMaster, InterruptLine, MmioBus, PhysicalMemory, World } from '@iommu-lab/machine';
import { TinyDriver } from './tutorial/src/driver.ts';
import { FIRST_IOVA, REGISTERS, TinyHardware } from './tutorial/src/hardware.ts';

const BASE = 0x0f00_0000;
const IRQ = 32;

test('tiny reports no fault of an earlier owner, and can be bound again after its end', () => {
  const world = new World();
  const line = new InterruptLine('fault');
  const hardware = new TinyHardware(new PhysicalMemory([{ base: 0x8000_0000, sizeBytes: 0x1000 }]), line);
  const mmio = new MmioBus(world);
  mmio.addWindow({ name: 'tiny', base: BASE, sizeBytes: REGISTERS.sizeBytes, device: hardware });
  const interrupts = new InterruptController(world);
  interrupts.connect(IRQ, line);
  const iommu = new Iommu(world);
  const device = new Device('tiny', {
    compatible: 'tiny-iommu',
    resources: [
      { kind: 'memory', name: 'registers', start: BASE, sizeBytes: REGISTERS.sizeBytes },
      { kind: 'interrupt', name: 'fault', irq: IRQ },
    ],
  });
  const bus = new Bus('soc', { world, mmio, interrupts });
  bus.addDevice(device);
  const driver = new TinyDriver(iommu, { memory: new PhysicalMemory([]), freePages: [] });
  const master = new BusMaster(world, { name: 'first owner', streamId: 1, port: hardware });
  for (let round = 1; round <= 2; round++) {
    expect(master.read(FIRST_IOVA, new Uint8Array(4)).state).toBe('faulted');
    bus.bind(device, driver);
    world.clock.run();
    expect(iommu.faults).toEqual([]);
    expect(interrupts.count(IRQ)).toBe(0);
    bus.unbind(device);
    expect(iommu.instances).toEqual([]);
  }
});
