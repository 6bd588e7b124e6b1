/** What the answers are tried on: a system whose bus has IOMMUs of a second kind, too, and kernels of other times over it. */
import { createFlatIommu } from '@iommu-lab/backend-flat';
import { Device, type Driver } from '@iommu-lab/driver-core';
import type { IommuInstance } from '@iommu-lab/iommu-core';
import { createLinux2010, type Linux2010 } from '@iommu-lab/iommu-core/linux-2010';
import { assert, BusMaster } from '@iommu-lab/machine';
import type { System } from '../system.ts';
import { BusDmaOps } from './bus-dma-ops.ts';

/** Stream of the device behind the flat IOMMU. */
const FLAT_STREAM = 1;
const FLAT_PROVIDER = 'flat';

/** A driver that does nothing but let its device use DMA. */
const PLAIN_DRIVER: Driver = { name: 'plain', matches: () => false, probe: () => undefined };

export class Lab {
  readonly system: System;
  readonly busName: string;
  /** The kind whose driver came first on the bus. */
  readonly firstKind: IommuInstance;
  /** A device on the same bus, behind an IOMMU of another kind. */
  readonly flatDevice: Device = new Device('flatdev', { isDmaCoherent: true });
  /** The API of 2010 with the first kind registered, as its driver did when it came. */
  readonly kernel2010: Linux2010;
  readonly #flat: ReturnType<typeof createFlatIommu>;
  /** Drivers of devices that the core has given up. */
  readonly #outside = new Map<Device, Driver>();

  /** Adds the second kind. @throws LabError ENOMEM; nothing is added then */
  constructor(system: System) {
    const { world, iommu, bus, cache, tables } = system;
    const [firstKind] = iommu.instances;
    assert(firstKind !== undefined, 'a board has IOMMUs');
    this.system = system;
    this.busName = bus.name;
    this.firstKind = firstKind;
    this.kernel2010 = createLinux2010(iommu);
    this.kernel2010.register_iommu(firstKind);
    this.#flat = createFlatIommu({ world, memory: cache.snooped, tables, iommu, provider: FLAT_PROVIDER });
    try {
      this.flatDevice.endpoints = [this.#flat.endpoint(FLAT_STREAM)];
      bus.addDevice(this.flatDevice);
      bus.bind(this.flatDevice, PLAIN_DRIVER);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** One for each IOMMU that the device sits behind, on the device's own wires. */
  mastersOf(device: Device): readonly BusMaster[] {
    const { world } = this.system;
    const providers = [...new Set(device.endpoints.map((e) => e.provider))];
    return providers.map((provider) => {
      const streamId = device.endpoints.find((e) => e.provider === provider)?.streamIds[0];
      assert(streamId !== undefined, 'an endpoint has streams');
      const port = provider === FLAT_PROVIDER ? this.#flat.hardware : this.system.smmu(provider);
      return new BusMaster(world, { name: device.name, streamId, port });
    });
  }

  /** A bus's operations that know the first kind's driver. */
  createBusDmaOps(): BusDmaOps {
    const { world, frames, cache, smmuDriver } = this.system;
    return new BusDmaOps(world, { frames, memory: cache, maintenance: cache }, () => smmuDriver.instances);
  }

  /** The device is none of the IOMMU core's any more, as if there were no such core. Harmless twice. */
  leaveCore(device: Device): void {
    if (device.driver === undefined) return;
    this.#outside.set(device, device.driver);
    this.system.bus.unbind(device);
  }

  /** What has left comes back. @throws LabError what probing throws; what has not come back can be tried again */
  returnToCore(): void {
    for (const [device, driver] of this.#outside) {
      this.system.bus.bind(device, driver);
      this.#outside.delete(device);
    }
  }

  /** Takes the second kind away. */
  close(): void {
    this.system.bus.removeDevice(this.flatDevice);
    this.#flat.remove();
  }
}
