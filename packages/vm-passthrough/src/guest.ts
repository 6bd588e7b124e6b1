/**
 * A virtual machine that owns devices, as KVM of 2010 gave them: all memory pinned, one I/O address space, trapped
 * registers, wired interrupts. Left out: the CPU's own virtualisation, message interrupts, ballooning, guests in guests.
 */
import { type Device, type Driver, InterruptController } from '@iommu-lab/driver-core';
import type { Iommu, IoAddressSpace } from '@iommu-lab/iommu-core';
import type { FrameAllocator } from '@iommu-lab/kernel-mm';
import {
  type CacheMaintenance,
  guestPhysAddr,
  hex,
  LabError,
  type MemoryPort,
  type MmioPort,
  type World,
} from '@iommu-lab/machine';
import { assignDevice, type Assignment, makeHoldingDriver } from './assign.ts';
import { GuestCacheMaintenance } from './guest-cache-maintenance.ts';
import { GuestAddressSpace } from './guest-address-space.ts';
import { bootGuestKernel, type GuestKernel } from './guest-kernel.ts';
import { GuestMemory } from './guest-memory.ts';
import { GuestMmio } from './guest-mmio.ts';
import { allocatePages, freePages } from './host-pages.ts';
import { InterruptForwarding } from './interrupt-forwarding.ts';
import { type MemorySlot, MemorySlots } from './memory-slots.ts';

/** What a guest takes from its host. */
export interface GuestHost {
  readonly world: World;
  readonly iommu: Iommu;
  readonly frames: FrameAllocator;
  /** The CPU's view of host memory through the cache, and past it. */
  readonly cached: MemoryPort;
  readonly uncached: MemoryPort;
  readonly maintenance: CacheMaintenance;
  readonly mmio: MmioPort;
  readonly interrupts: InterruptController;
}

export interface GuestOptions {
  /** Scope of the guest's events becomes `host/NAME`. */
  readonly name: string;
  /** Size of the host pages behind guest memory, a power of two; 4096 unless given. At least the IOMMU's granule. */
  readonly pageBytes?: number;
}

export class Guest {
  readonly name: string;
  readonly world: World;
  /** Guest-physical memory as the guest's CPU sees it. */
  readonly memory: MemoryPort;
  readonly maintenance: CacheMaintenance;
  /** Registers, trapped and counted. */
  readonly mmio: GuestMmio;
  /** The guest's virtual interrupt controller. */
  readonly interrupts: InterruptController;
  readonly #host: GuestHost;
  readonly #slots: MemorySlots;
  readonly #uncached: MemoryPort;
  readonly #space: GuestAddressSpace;
  readonly #forwarding: InterruptForwarding;
  readonly #holdingDriver: Driver;
  readonly #assignments = new Map<Device, Assignment>();
  #kernel: GuestKernel | undefined;
  #isDestroyed = false;

  /** @throws LabError EOPNOTSUPP when the host is a guest itself, EINVAL on a bad page size */
  constructor(host: GuestHost, options: GuestOptions) {
    if (host.world.name.includes('/')) {
      throw new LabError('EOPNOTSUPP', 'a guest in a guest is not modelled', { name: options.name });
    }
    this.#host = host;
    this.name = options.name;
    this.world = host.world.child(options.name);
    this.#slots = new MemorySlots(options.pageBytes);
    this.memory = new GuestMemory(this.#slots, host.cached);
    this.#uncached = new GuestMemory(this.#slots, host.uncached);
    this.maintenance = new GuestCacheMaintenance(this.#slots, host.maintenance);
    this.mmio = new GuestMmio(host.mmio);
    this.interrupts = new InterruptController(this.world);
    this.#forwarding = new InterruptForwarding(this.name, host.interrupts, this.interrupts);
    this.#holdingDriver = makeHoldingDriver(this.name);
    this.#space = new GuestAddressSpace(this.world, host.iommu, `vm ${this.name}`, this.#slots.pageBytes);
  }

  /** Memory slots, ascending. */
  get memorySlots(): readonly MemorySlot[] {
    return this.#slots.all;
  }

  /** Bytes of host memory pinned for the guest. */
  get pinnedBytes(): number {
    return this.#slots.sizeBytes;
  }

  /** What the guest's devices reach: its memory, through all the IOMMUs they sit behind. */
  get addressSpace(): IoAddressSpace {
    return this.#space.mappings;
  }

  /** The host's devices that the guest has, in the order they were assigned. */
  get assignedDevices(): readonly Device[] {
    return [...this.#assignments.keys()];
  }

  /**
   * The guest's kernel. The first look boots it on the memory slots that are there then; it does not learn of later
   * ones. @throws LabError EINVAL when there is no memory yet, or the guest is destroyed
   */
  get kernel(): GuestKernel {
    if (this.#kernel !== undefined) return this.#kernel;
    this.#refuseDestroyed();
    if (this.#slots.all.length === 0) {
      throw new LabError('EINVAL', `guest ${this.name} has no memory to boot on`, { guest: this.name });
    }
    this.#kernel = bootGuestKernel({
      slots: this.#slots.all,
      cached: this.memory,
      uncached: this.#uncached,
      maintenance: this.maintenance,
      services: { world: this.world, mmio: this.mmio, interrupts: this.interrupts },
    });
    return this.#kernel;
  }

  /**
   * Gives the guest zeroed memory at guest-physical `base`: host pages from anywhere, pinned, and mapped for its devices.
   * @throws LabError EINVAL unaligned or empty, EEXIST over another slot or a register window, ENOMEM, and what mapping
   * throws. Nothing has changed then.
   */
  addMemorySlot(base: number, sizeBytes: number): void {
    this.#refuseDestroyed();
    this.#slots.check(base, sizeBytes);
    const window = this.mmio.overlapping(base, sizeBytes);
    if (window !== undefined) {
      throw new LabError('EEXIST', `registers of ${window.device} stand at ${hex(window.start)}`, { base });
    }
    const { pageBytes } = this.#slots;
    const hostPages = allocatePages(this.#host, pageBytes, sizeBytes / pageBytes);
    const slot: MemorySlot = { base: guestPhysAddr(base), sizeBytes, hostPages };
    try {
      this.#space.mapSlot(slot);
    } catch (error) {
      freePages(this.#host, pageBytes, hostPages);
      throw error;
    }
    this.#slots.add(slot);
    this.world.emit('vm:memory_slot_added', { base: hex(base), size: sizeBytes });
  }

  /**
   * Takes the slot that starts at `base` away, whatever the guest keeps in it: from its CPU and from its devices, and only
   * then the host has its pages back. @throws LabError ENOENT when no slot starts there
   */
  removeMemorySlot(base: number): void {
    const slot = this.#slots.remove(base);
    this.#space.unmapSlot(slot);
    freePages(this.#host, this.#slots.pageBytes, slot.hostPages);
    this.world.emit('vm:memory_slot_removed', { base: hex(base), size: slot.sizeBytes });
  }

  /**
   * Gives a device of the host to the guest. It appears on the guest's bus, where a driver may take it at once.
   * @returns the guest's device
   * @throws LabError EEXIST when the guest has it, or its registers stand where guest memory is; EBUSY while a driver
   * (or another guest) has it, or its interrupt is shared; ENODEV when it is on no bus or behind no IOMMU; EPERM when
   * its DMA is in use; what its IOMMU
   * cannot map of the guest's memory (ERANGE, EINVAL), or reserves where that is (EADDRINUSE). Nothing has changed then.
   */
  assign(device: Device): Device {
    this.#refuseDestroyed();
    if (this.#assignments.has(device)) {
      throw new LabError('EEXIST', `guest ${this.name} has ${device.name}`, { device: device.name });
    }
    const assignment = assignDevice(device, {
      world: this.world,
      holdingDriver: this.#holdingDriver,
      iommu: this.#host.iommu,
      space: this.#space,
      slots: this.#slots,
      mmio: this.mmio,
      forwarding: this.#forwarding,
      bus: this.kernel.bus,
    });
    this.#assignments.set(device, assignment);
    this.world.emit('vm:device_assigned', { device: device.name });
    return assignment.guestDevice;
  }

  /** Takes the device back for the host. Harmless when the guest does not have it. */
  unassign(device: Device): void {
    const assignment = this.#assignments.get(device);
    if (assignment === undefined) return;
    this.#assignments.delete(device);
    assignment.end();
    this.world.emit('vm:device_unassigned', { device: device.name });
  }

  /** Gives everything back: devices in reverse, then memory. Harmless a second time. */
  destroy(): void {
    if (this.#isDestroyed) return;
    for (const device of this.assignedDevices.toReversed()) this.unassign(device);
    for (const slot of this.#slots.all.slice()) this.removeMemorySlot(slot.base);
    this.addressSpace.free();
    this.#isDestroyed = true;
    this.#kernel = undefined;
    this.world.emit('vm:destroyed', {});
  }

  #refuseDestroyed(): void {
    if (this.#isDestroyed) {
      throw new LabError('EINVAL', `guest ${this.name} is destroyed`, { guest: this.name });
    }
  }
}
