/**
 * A bus: matches devices with drivers, configures and probes them in a fixed order, and tries again what was deferred.
 *
 * Order for one device, as in the kernel's driver core (drivers/base/dd.c, really_probe): the driver is set, the
 * configure hooks run (the bus's own, then the IOMMU's, then the DMA layer's), then `probe`. A failure undoes exactly
 * what was done, in reverse.
 */
import { isLabError, LabError } from '@iommu-lab/machine';
import type { Device } from './device.ts';
import type { Driver } from './driver.ts';
import type { BusServices } from './services.ts';

/** A layer's part in configuring a device for DMA before its driver probes (the kernel's `bus->dma_configure`). */
export interface ConfigureHook {
  /** May throw LabError EPROBE_DEFER; whatever it throws, it has undone what it did. */
  configure(device: Device): void;
  /** Undoes `configure`. Must not fail. */
  cleanup(device: Device): void;
}

export interface Deferral {
  readonly device: Device;
  readonly reason: string;
}

export class Bus {
  readonly name: string;
  readonly services: BusServices;
  readonly #devices: Device[] = [];
  readonly #drivers: Driver[] = [];
  readonly #hooks: ConfigureHook[] = [];
  readonly #deferred = new Map<Device, string>();
  /** Deferred devices whose next try is queued. */
  readonly #retries = new Set<Device>();
  /** The hooks that configured each bound device: what its unbinding undoes, and no more. */
  readonly #configured = new Map<Device, readonly ConfigureHook[]>();
  /** Counts what may end a wait, so that what happens while a deferral is being recorded is not lost. */
  #triggers = 0;

  constructor(name: string, services: BusServices) {
    this.name = name;
    this.services = services;
  }

  /** Devices in the order they were added. */
  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** Devices that wait for something, and for what. */
  deferred(): readonly Deferral[] {
    return [...this.#deferred].map(([device, reason]) => ({ device, reason }));
  }

  /**
   * Tries every device that waits again, as clock tasks: what one waits for may have come without a bind (an IOMMU that
   * registers itself; the kernel's driver_deferred_probe_trigger). A bind does so by itself.
   */
  retryDeferred(): void {
    this.#triggers++;
    for (const waiting of this.#deferred.keys()) this.#retryLater(waiting);
  }

  /** @throws LabError ENODEV when no device has that name. */
  device(name: string): Device {
    const found = this.#devices.find((d) => d.name === name);
    if (found === undefined)
      throw new LabError('ENODEV', `no device "${name}" on bus ${this.name}`, { name });
    return found;
  }

  /** Adds a layer's configure hook; devices bound before it came are not configured again. */
  onConfigure(hook: ConfigureHook): void {
    this.#hooks.push(hook);
  }

  /** Puts a device on the bus and tries to bind it. @throws LabError EEXIST when the name is taken. */
  addDevice(device: Device): void {
    if (device.bus !== undefined || this.#devices.some((d) => d.name === device.name)) {
      throw new LabError('EEXIST', `a device "${device.name}" is already on a bus`, { device: device.name });
    }
    device.bus = this;
    this.#devices.push(device);
    this.services.world.emit('bus:device_added', { bus: this.name, device: device.name });
    this.#tryBind(device);
  }

  /** Unbinds the device and takes it off the bus. */
  removeDevice(device: Device): void {
    this.unbind(device);
    const at = this.#devices.indexOf(device);
    if (at < 0) return;
    this.#devices.splice(at, 1);
    this.#deferred.delete(device);
    device.bus = undefined;
    this.services.world.emit('bus:device_removed', { bus: this.name, device: device.name });
  }

  /** Registers a driver and tries it on every unbound device, in the devices' order. @throws LabError EEXIST */
  addDriver(driver: Driver): void {
    if (this.#drivers.some((d) => d.name === driver.name)) {
      throw new LabError('EEXIST', `a driver "${driver.name}" is already registered`, {
        driver: driver.name,
      });
    }
    this.#drivers.push(driver);
    // A probe may add and remove devices.
    for (const device of this.#devices.slice()) this.#tryBind(device);
  }

  /** Unbinds the driver from all its devices and forgets it. */
  removeDriver(driver: Driver): void {
    for (const device of this.#devices.slice()) if (device.driver === driver) this.unbind(device);
    const at = this.#drivers.indexOf(driver);
    if (at >= 0) this.#drivers.splice(at, 1);
  }

  /** Takes the driver off the device: `remove`, then the hooks' cleanup in reverse. Harmless on an unbound device. */
  unbind(device: Device): void {
    const { driver } = device;
    if (driver === undefined || device.bus !== this) return;
    driver.remove?.(device);
    cleanUp(device, this.#configured.get(device) ?? []);
    this.#configured.delete(device);
    device.driver = undefined;
    this.services.world.emit('bus:driver_unbound', { device: device.name, driver: driver.name });
  }

  /**
   * Binds `driver` to `device`, whatever `matches` says and whether or not it is registered (an administrator's bind).
   * @throws LabError ENODEV when the device is not on this bus, EBUSY when it has a driver, and what probing throws
   */
  bind(device: Device, driver: Driver): void {
    if (device.bus !== this) {
      throw new LabError('ENODEV', `${device.name} is not on bus ${this.name}`, { device: device.name });
    }
    if (device.driver !== undefined) {
      throw new LabError('EBUSY', `${device.name} is bound to ${device.driver.name}`, {
        device: device.name,
      });
    }
    this.#probe(device, driver);
  }

  #tryBind(device: Device): void {
    for (const driver of this.#drivers) {
      if (device.driver !== undefined || device.bus !== this) return;
      if (!driver.matches(device)) continue;
      const triggersBefore = this.#triggers;
      try {
        this.#probe(device, driver);
      } catch (error) {
        if (!isLabError(error)) throw error;
        if (error.code === 'EPROBE_DEFER') this.#defer(device, error.message, triggersBefore);
        else if (error.code !== 'ENODEV' && error.code !== 'ENXIO') {
          this.services.world.emit('bus:probe_failed', {
            device: device.name,
            driver: driver.name,
            error: error.message,
          });
        }
      }
    }
  }

  #probe(device: Device, driver: Driver): void {
    device.driver = driver;
    const configured: ConfigureHook[] = [];
    try {
      for (const hook of this.#hooks) {
        hook.configure(device);
        configured.push(hook);
      }
      driver.probe(device);
    } catch (error) {
      cleanUp(device, configured);
      device.driver = undefined;
      throw error;
    }
    this.#configured.set(device, configured);
    this.#deferred.delete(device);
    this.services.world.emit('bus:driver_bound', { device: device.name, driver: driver.name });
    this.retryDeferred();
  }

  #defer(device: Device, reason: string, triggersBefore: number): void {
    this.#deferred.set(device, reason);
    this.services.world.emit('bus:probe_deferred', { device: device.name, reason });
    if (this.#triggers !== triggersBefore) this.#retryLater(device);
  }

  #retryLater(device: Device): void {
    if (this.#retries.has(device)) return;
    this.#retries.add(device);
    this.services.world.clock.schedule(0, `deferred probe of ${device.name}`, () => {
      this.#retries.delete(device);
      // Off the list first: a try that fails for good must not be tried again and again.
      if (this.#deferred.delete(device)) this.#tryBind(device);
    });
  }
}

/** Undoes hooks, the last one first. */
function cleanUp(device: Device, hooks: readonly ConfigureHook[]): void {
  for (const hook of hooks.toReversed()) hook.cleanup(device);
}
