/**
 * The bus driver: takes an SMMU instance from the bus, brings it up and registers it with the core. Order and errors
 * of probing are those of drivers/iommu/msm_iommu_dev.c, msm_iommu_probe.
 */
import type { BusServices, Device, Driver } from '@iommu-lab/driver-core';
import type { Iommu } from '@iommu-lab/iommu-core';
import { isLabError, LabError, type MemoryPort } from '@iommu-lab/machine';
import {
  type ClockGate,
  type ClockTree,
  MsmBus,
  type MsmSmmuPlatformData,
  PLATFORM_DATA,
} from '@iommu-lab/msm-bus';
import type { TableMemory } from '@iommu-lab/page-table';
import { MsmHardware } from './clock-bracket.ts';
import { type MsmIommuConfig, resolveConfig, type ResolvedMsmIommuConfig } from './config.ts';
import { MsmIommuInstance } from './instance.ts';

/** What the driver needs of the core. */
export type IommuCore = Pick<Iommu, 'registerInstance' | 'unregisterInstance' | 'reportFault'>;

/** What the driver is made from. */
export interface MsmIommuDriverOptions {
  readonly iommu: IommuCore;
  /** Memory of the page tables. Its `clean` must reach memory unless walks are coherent. */
  readonly tables: TableMemory;
  /** Memory as the walker sees it, for explanations of faults; the CPU's view unless given. */
  readonly walkerMemory?: MemoryPort;
  readonly config?: MsmIommuConfig;
}

/** `compatible` of an instance's device: the platform device's name, and the device tree's string. */
export const MSM_IOMMU_COMPATIBLE: readonly string[] = ['msm_iommu', 'qcom,apq8064-iommu'];

interface Probed {
  readonly instance: MsmIommuInstance;
  readonly start: number;
  readonly end: number;
  readonly freeInterrupts: readonly (() => void)[];
}

/** The driver: add it to an MSM bus, and it probes the SMMUs that are there. */
export class MsmIommuDriver implements Driver {
  readonly name = 'msm_iommu';
  readonly #options: MsmIommuDriverOptions;
  readonly #config: ResolvedMsmIommuConfig;
  readonly #probed = new Map<Device, Probed>();

  /** @throws LabError EOPNOTSUPP, EINVAL on a configuration that is not built or out of range */
  constructor(options: MsmIommuDriverOptions) {
    this.#options = options;
    this.#config = resolveConfig(options.config);
  }

  /** The instances that are up, in the order they were probed. */
  get instances(): readonly MsmIommuInstance[] {
    return [...this.#probed.values()].map(({ instance }) => instance);
  }

  /** A device that says so by name, or that carries an instance's platform data. */
  matches(device: Device): boolean {
    return MSM_IOMMU_COMPATIBLE.includes(device.compatible) || device.get(PLATFORM_DATA) !== undefined;
  }

  /**
   * @throws LabError ENODEV without platform data, a clock of that name, `physbase`, the interrupt of the configured
   * line, or when the sanity check finds no SMMU; EINVAL on contexts the hardware has no bank for; EBUSY when the
   * window is taken; EIO when a clock does not start; ENOMEM; EEXIST when the provider has an instance; what requesting
   * the interrupt throws. Clocks are off again and nothing is left behind.
   */
  probe(device: Device): void {
    if (this.#probed.has(device)) return; // `remove` had to leave it up
    const { bus } = device;
    const platform = device.require(PLATFORM_DATA);
    if (!(bus instanceof MsmBus)) throw new LabError('ENODEV', `${device.name} is not on the MSM bus`);
    checkContexts(platform);
    const gates = clocksOf(bus.clocks, platform);
    const { start, sizeBytes } = device.memoryResource('physbase');
    this.#refuseTaken(device, start, start + sizeBytes);
    const irqs = this.#interruptsOf(device);
    const { mmio, world } = bus.services;
    const { iommu, tables, walkerMemory } = this.#options;
    const instance = new MsmIommuInstance(world, {
      platform,
      hardware: new MsmHardware(mmio, start, gates),
      config: this.#config,
      tables,
      walkerMemory,
      reportFault: (from, report) => iommu.reportFault(from, report),
    });
    try {
      instance.start();
    } catch (error) {
      instance.discard();
      throw error;
    }
    const freeInterrupts: (() => void)[] = [];
    try {
      for (const irq of irqs) freeInterrupts.push(request(bus.services, irq, device, instance));
      iommu.registerInstance(instance);
    } catch (error) {
      for (const free of freeInterrupts) free();
      instance.stop();
      throw error;
    }
    this.#probed.set(device, { instance, start, end: start + sizeBytes, freeInterrupts });
    world.emit('msm_iommu:probed', {
      device: device.name,
      provider: platform.provider,
      banks: platform.contextBanks,
    });
  }

  /**
   * Ends the instance; its streams stay blocked. While devices use it the hardware stays as it is, with the driver
   * serving it: to take it from under them would only turn their accesses into faults.
   */
  remove(device: Device): void {
    const probed = this.#probed.get(device);
    if (probed === undefined) return;
    const { instance, freeInterrupts } = probed;
    try {
      this.#options.iommu.unregisterInstance(instance.provider);
    } catch (error) {
      if (!isLabError(error, 'EBUSY')) throw error;
      device.bus?.services.world.emit('msm_iommu:still_in_use', {
        device: device.name,
        provider: instance.provider,
        error: error.message,
      });
      return;
    }
    this.#probed.delete(device);
    for (const free of freeInterrupts) free();
    instance.stop();
  }

  #refuseTaken(device: Device, start: number, end: number): void {
    for (const [other, window] of this.#probed) {
      if (start >= window.end || end <= window.start) continue;
      throw new LabError('EBUSY', `the registers of ${device.name} are taken by ${other.name}`, { start });
    }
  }

  /** The line of context faults must be there; the other is served too where it is. */
  #interruptsOf(device: Device): readonly number[] {
    const isSecure = this.#config.interruptLine === 'secure';
    const { irq } = device.interruptResource(isSecure ? 'secure_irq' : 'nonsecure_irq');
    try {
      return [irq, device.interruptResource(isSecure ? 'nonsecure_irq' : 'secure_irq').irq];
    } catch (error) {
      if (!isLabError(error, 'ENODEV')) throw error;
      return [irq];
    }
  }
}

function request(services: BusServices, irq: number, device: Device, instance: MsmIommuInstance): () => void {
  return services.interrupts.request(irq, device.name, () => instance.serviceFaults());
}

function clocksOf(clocks: ClockTree, platform: MsmSmmuPlatformData): readonly ClockGate[] {
  const names = [platform.interfaceClock, platform.coreClock].filter((name) => name !== undefined);
  return names.map((name) => {
    try {
      return clocks.get(name);
    } catch (error) {
      if (!isLabError(error, 'ENOENT')) throw error;
      throw new LabError('ENODEV', `${platform.provider}: there is no clock "${name}"`, { clock: name });
    }
  });
}

/** A machine id has one routing entry, so it cannot stand in two contexts of different banks. */
function checkContexts(platform: MsmSmmuPlatformData): void {
  const bankOf = new Map<number, number>();
  for (const { context, bank, machineIds, provider } of platform.contexts) {
    if (bank < 0 || bank >= platform.contextBanks || provider !== platform.provider) {
      throw new LabError('EINVAL', `${platform.provider} has no bank ${bank} for ${context}`, {
        context,
        bank,
      });
    }
    for (const mid of machineIds) {
      if ((bankOf.get(mid) ?? bank) !== bank) {
        throw new LabError('EINVAL', `${platform.provider}: machine id ${mid} is wired to two banks`, {
          mid,
        });
      }
      bankOf.set(mid, bank);
    }
  }
}
