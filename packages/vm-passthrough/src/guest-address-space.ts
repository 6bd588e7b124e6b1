/**
 * The I/O address space of a guest: one paging domain for all its assigned devices and all the IOMMUs they sit
 * behind, in which IOVA = guest-physical address (virt/kvm/iommu.c of 2010). It lives from the first assigned device
 * to the last, and mirrors the memory slots all that time.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type Fault, type Iommu, type IommuDomain, READ_WRITE } from '@iommu-lab/iommu-core';
import { hex, type World } from '@iommu-lab/machine';
import type { MemorySlot, MemorySlots } from './memory-slots.ts';

export class GuestDomain {
  readonly #world: World;
  readonly #iommu: Iommu;
  readonly #slots: MemorySlots;
  readonly #name: string;
  #domain: IommuDomain | undefined;
  #members = 0;

  /** @param world the guest's: faults of its devices are events there */
  constructor(world: World, iommu: Iommu, slots: MemorySlots, name: string) {
    this.#world = world;
    this.#iommu = iommu;
    this.#slots = slots;
    this.#name = name;
  }

  /** The domain while a device is assigned. */
  get current(): IommuDomain | undefined {
    return this.#domain;
  }

  /**
   * Attaches a device, whose ownership has been claimed.
   * @returns takes it off again; the last device takes the domain along
   * @throws LabError ENODEV without IOMMU, EINVAL when its IOMMU cannot use the table of the others, or it is not
   * alone in its group; what mapping the slots throws. Nothing has changed then.
   */
  attach(device: Device): () => void {
    const domain = this.#domain ?? this.#create(device);
    try {
      this.#iommu.attach(domain, device);
    } catch (error) {
      if (this.#domain === undefined) domain.free();
      throw error;
    }
    this.#domain = domain;
    this.#members++;
    return () => {
      this.#iommu.detach(domain, device);
      if (--this.#members > 0) return;
      this.#domain = undefined;
      domain.free();
    };
  }

  /** Gives a slot to the assigned devices; nothing to do while there are none. @throws LabError as `map` */
  mapSlot(slot: MemorySlot): void {
    if (this.#domain !== undefined) this.#map(this.#domain, slot);
  }

  /** Takes it away again: when this returns, no device reaches its pages. */
  unmapSlot(slot: MemorySlot): void {
    this.#domain?.unmap(slot.base, slot.sizeBytes, this.#label(slot));
  }

  #create(device: Device): IommuDomain {
    const domain = this.#iommu.allocPagingDomain(device, this.#name);
    try {
      for (const slot of this.#slots.all) this.#map(domain, slot);
    } catch (error) {
      domain.free();
      throw error;
    }
    domain.setFaultHandler((fault) => this.#onFault(fault));
    return domain;
  }

  #map(domain: IommuDomain, slot: MemorySlot): void {
    const length = this.#slots.pageBytes;
    const entries = slot.hostPages.map((address) => ({ address, length }));
    domain.mapSg(slot.base, entries, READ_WRITE, this.#label(slot));
  }

  /** The guest's device went where the guest has no memory. The guest hears of it; the access ends. */
  #onFault(fault: Fault): 'terminate' {
    this.#world.emit('vm:device_fault', {
      device: fault.device ?? null,
      gpa: hex(fault.iova),
      direction: fault.direction,
      cause: fault.cause,
      stream: fault.streamId,
    });
    return 'terminate';
  }

  #label(slot: MemorySlot): string {
    return `${this.#name}: memory slot ${hex(slot.base)}`;
  }
}
