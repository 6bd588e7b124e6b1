/** Memory-mapped registers: which device answers at which physical address. */
import { hex } from './address.ts';
import { LabError } from './errors.ts';
import type { World } from './world.ts';

/** A device's registers, by byte offset inside its window. All registers are 32 bits wide. */
export interface MmioDevice {
  read32(offset: number): number;
  write32(offset: number, value: number): void;
}

/** Where a device's registers stand. */
export interface MmioWindow {
  readonly name: string;
  /** Physical address of offset 0. */
  readonly base: number;
  readonly sizeBytes: number;
  readonly device: MmioDevice;
  /** Whether the device's register clock runs; absent = always. */
  readonly isClocked?: () => boolean;
}

/** What a driver uses to reach registers. */
export interface MmioPort {
  /**
   * Reads the 32-bit register at a physical address.
   * @throws LabError EFAULT when no window answers there or the address is not 4-byte aligned (a kernel would die of
   * the external abort), EIO when the device's clock is off.
   */
  read32(address: number): number;
  /** Writes a 32-bit register. @throws LabError as `read32`. */
  write32(address: number, value: number): void;
}

/** Decodes register accesses. */
export class MmioBus implements MmioPort {
  readonly #world: World;
  readonly #windows: MmioWindow[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** @throws LabError EBUSY when the window overlaps another, EINVAL on an empty or unaligned one. */
  addWindow(window: MmioWindow): void {
    if (window.sizeBytes <= 0 || window.base % 4 !== 0) {
      throw new LabError('EINVAL', 'an MMIO window is not empty and 4-byte aligned', {
        name: window.name,
        base: window.base,
      });
    }
    const other = this.#windows.find(
      (w) => window.base < w.base + w.sizeBytes && w.base < window.base + window.sizeBytes,
    );
    if (other !== undefined) {
      throw new LabError('EBUSY', `MMIO window ${window.name} overlaps ${other.name}`, { base: window.base });
    }
    this.#windows.push(window);
  }

  read32(address: number): number {
    const window = this.#decode(address, 'read');
    return window.device.read32(address - window.base) >>> 0;
  }

  write32(address: number, value: number): void {
    const window = this.#decode(address, 'write');
    window.device.write32(address - window.base, value >>> 0);
    this.#world.interposer.notify('mmio-write', address, 4);
  }

  #decode(address: number, access: string): MmioWindow {
    const window = this.#windows.find((w) => address >= w.base && address < w.base + w.sizeBytes);
    if (window === undefined || address % 4 !== 0) {
      throw new LabError('EFAULT', `register ${access} at ${hex(address)}: nothing answers there`, {
        address,
      });
    }
    if (window.isClocked?.() === false) {
      throw new LabError('EIO', `register ${access} at ${hex(address)}: the clock of ${window.name} is off`, {
        address,
        window: window.name,
      });
    }
    return window;
  }
}
