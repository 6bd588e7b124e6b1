/** A device as the driver model sees it: a name, what the bus found out about it, and slots for upper layers. */
import { LabError } from '@iommu-lab/machine';
import type { Bus } from './bus.ts';
import { DEFAULT_DMA_PARAMETERS, type DmaParameters, type DmaRange } from './dma-parameters.ts';
import type { Driver } from './driver.ts';
import type { Endpoint } from './endpoint.ts';
import type { ReservedRegion } from './reserved-region.ts';
import { findResource, type InterruptResource, type MemoryResource, type Resource } from './resource.ts';

/** A typed place on a device that an upper layer fills (its IOMMU group, its DMA ops, its owner). */
export interface Slot<T> {
  readonly name: string;
  /** Carries the type only; never set. */
  readonly type?: T;
}

/** Makes a slot. Each call makes another one, whatever the name. */
export function slot<T>(name: string): Slot<T> {
  return { name };
}

export interface DeviceOptions {
  /** What drivers match on (`qcom,mdp`); the name unless given. */
  readonly compatible?: string;
  readonly parent?: Device;
  readonly resources?: readonly Resource[];
  /** Whether the device's accesses snoop the CPU's cache; false unless given. */
  readonly isDmaCoherent?: boolean;
  /** Anybody may have built it (a port on the outside): it must not see a byte it was not given; false unless given. */
  readonly isUntrusted?: boolean;
}

/** Highest address a 32-bit device can drive. */
export const DMA_MASK_32 = 0xffffffff;

export class Device {
  readonly name: string;
  readonly compatible: string;
  readonly parent: Device | undefined;
  readonly resources: readonly Resource[];
  readonly isDmaCoherent: boolean;
  readonly isUntrusted: boolean;
  /** Set by the bus while the device is on it. */
  bus: Bus | undefined;
  /** Set by the bus while a driver is bound. */
  driver: Driver | undefined;
  /** Written by the bus when it configures the device, before a driver probes. */
  endpoints: readonly Endpoint[] = [];
  /** Written by the bus with the endpoints: what firmware says about the device's IOVAs. */
  reservedRegions: readonly ReservedRegion[] = [];
  /** Windows of the bus onto the CPU's addresses; none: bus addresses are CPU addresses. Written by the bus. */
  dmaRanges: readonly DmaRange[] = [];
  /** Highest bus address that gets through to the device's bus, whatever the device can drive. Written by the bus. */
  busDmaLimit: number = Number.MAX_SAFE_INTEGER;
  /** What the device's DMA engine asks of a scatter list and of bounce buffers. Written by its driver. */
  dmaParameters: DmaParameters = DEFAULT_DMA_PARAMETERS;
  /** Highest address the device can drive in a streaming mapping. */
  dmaMask: number = DMA_MASK_32;
  /** The same for coherent allocations. */
  coherentDmaMask: number = DMA_MASK_32;
  readonly #slots = new Map<Slot<unknown>, unknown>();

  constructor(name: string, options: DeviceOptions = {}) {
    this.name = name;
    this.compatible = options.compatible ?? name;
    this.parent = options.parent;
    this.resources = options.resources ?? [];
    this.isDmaCoherent = options.isDmaCoherent ?? false;
    this.isUntrusted = options.isUntrusted ?? false;
  }

  /** What an upper layer left in `slot`. */
  get<T>(slot: Slot<T>): T | undefined {
    return this.#slots.get(slot) as T | undefined;
  }

  /** What an upper layer left in `slot`. @throws LabError ENODEV when nothing is there. */
  require<T>(slot: Slot<T>): T {
    const value = this.get(slot);
    if (value === undefined) {
      throw new LabError('ENODEV', `${this.name} has no ${slot.name}`, { device: this.name });
    }
    return value;
  }

  set<T>(slot: Slot<T>, value: T): void {
    this.#slots.set(slot, value);
  }

  clear(slot: Slot<unknown>): void {
    this.#slots.delete(slot);
  }

  /** The register window `name`. @throws LabError ENODEV when the device has none. */
  memoryResource(name: string): MemoryResource {
    return findResource(this.name, this.resources, 'memory', name);
  }

  /** The interrupt `name`. @throws LabError ENODEV when the device has none. */
  interruptResource(name: string): InterruptResource {
    return findResource(this.name, this.resources, 'interrupt', name);
  }
}
