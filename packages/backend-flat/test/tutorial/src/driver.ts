/** The bus driver: finds registers and interrupt, registers the instance, and hands faults on. */
import type { Device, Driver } from '@iommu-lab/driver-core';
import type { FaultReport, Iommu } from '@iommu-lab/iommu-core';
import { assert, type MmioPort } from '@iommu-lab/machine';
import { FAULT, REGISTERS, STREAMS } from './hardware.ts';
import { TinyInstance } from './instance.ts';
import type { TableMemory } from './table.ts';

export class TinyDriver implements Driver {
  readonly name = 'tiny-iommu';
  readonly #iommu: Iommu;
  readonly #tables: TableMemory;
  readonly #freeInterrupts = new Map<Device, () => void>();

  constructor(iommu: Iommu, tables: TableMemory) {
    this.#iommu = iommu;
    this.#tables = tables;
  }

  matches(device: Device): boolean {
    return device.compatible === 'tiny-iommu';
  }

  probe(device: Device): void {
    assert(device.bus !== undefined, 'a device is probed on its bus');
    const { world, mmio, interrupts } = device.bus.services;
    const { start } = device.memoryResource('registers');
    const { irq } = device.interruptResource('fault');
    // Nothing is known of what an earlier owner left: every stream is refused from here on, and its last fault is not ours.
    for (const stream of STREAMS) mmio.write32(start + 4 * stream, 0);
    mmio.write32(start + REGISTERS.FAULT, 0);
    const init = { provider: device.name, mmio, registers: start, tables: this.#tables };
    const instance = new TinyInstance(world, init);
    const free = interrupts.request(irq, device.name, () => {
      const report = takeFault(mmio, start);
      if (report !== undefined) this.#iommu.reportFault(instance, report);
      return report !== undefined;
    });
    try {
      this.#iommu.registerInstance(instance);
    } catch (error) {
      free();
      throw error;
    }
    this.#freeInterrupts.set(device, free);
  }

  remove(device: Device): void {
    this.#iommu.removeInstance(device.name);
    this.#freeInterrupts.get(device)?.();
    this.#freeInterrupts.delete(device);
  }
}

/** Reads and acknowledges the recorded fault; undefined when there is none. */
function takeFault(mmio: MmioPort, base: number): FaultReport | undefined {
  const status = mmio.read32(base + REGISTERS.FAULT);
  if (status === 0) return undefined;
  const iova = mmio.read32(base + REGISTERS.FAULT_IOVA);
  mmio.write32(base + REGISTERS.FAULT, 0);
  const streamId = status >>> 8;
  return {
    context: String(streamId),
    streamId,
    iova,
    direction: (status & FAULT.WRITE) === 0 ? 'read' : 'write',
    cause: (status & FAULT.REFUSED) === 0 ? 'translation' : 'permission',
    isStalled: false,
    isMultiple: (status & FAULT.MORE) !== 0,
    registers: { FAULT: status, FAULT_IOVA: iova },
  };
}
