/** The bus driver: finds the registers and the interrupt, starts the hardware and registers it with the core. */
import type { Device, Driver } from '@iommu-lab/driver-core';
import type { Iommu } from '@iommu-lab/iommu-core';
import { assert, LabError } from '@iommu-lab/machine';
import { handleFault } from './fault-handler.ts';
import { FlatHw } from './hw.ts';
import { FlatInstance } from './instance.ts';
import type { TableMemory } from './table-memory.ts';

/** What a device that this driver takes is `compatible` with. */
export const FLAT_COMPATIBLE = 'iommu-lab,flat-iommu';
/** Name of its memory resource. */
export const REGISTERS_RESOURCE = 'registers';
/** Name of its interrupt resource. */
export const FAULT_RESOURCE = 'fault';

export class FlatIommuDriver implements Driver {
  readonly name = 'flat-iommu';
  readonly #iommu: Iommu;
  readonly #tables: TableMemory;
  readonly #removals = new Map<Device, () => void>();

  constructor(iommu: Iommu, tables: TableMemory) {
    this.#iommu = iommu;
    this.#tables = tables;
  }

  matches(device: Device): boolean {
    return device.compatible === FLAT_COMPATIBLE;
  }

  /**
   * Takes the IOMMU; its provider is the device's name.
   * @throws LabError ENODEV without its resources or when nothing answers, ENOMEM, EEXIST; nothing is left behind then
   */
  probe(device: Device): void {
    assert(device.bus !== undefined, 'a device is probed on its bus');
    const { world, mmio, interrupts } = device.bus.services;
    const registers = device.memoryResource(REGISTERS_RESOURCE);
    const { irq } = device.interruptResource(FAULT_RESOURCE);
    if (world.fail('backend-flat.probe')) throw new LabError('ENOMEM', `no memory for ${device.name}`);

    const hw = new FlatHw(mmio, registers.start);
    const streams = hw.start();
    const instance = new FlatInstance(world, { provider: device.name, streams, hw, tables: this.#tables });
    let freeInterrupt: (() => void) | undefined;
    try {
      freeInterrupt = interrupts.request(irq, device.name, () =>
        handleFault(hw, (report) => this.#iommu.reportFault(instance, report)),
      );
      this.#iommu.registerInstance(instance);
    } catch (error) {
      freeInterrupt?.();
      hw.stop();
      throw error;
    }
    this.#removals.set(device, () => {
      this.#iommu.removeInstance(device.name);
      freeInterrupt();
      hw.stop();
    });
  }

  /** Gives the IOMMU up. Devices that are still behind it lose their translation: every access of theirs is refused. */
  remove(device: Device): void {
    this.#removals.get(device)?.();
    this.#removals.delete(device);
  }
}
