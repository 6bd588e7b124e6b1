/**
 * The I/O address space of a guest: one for all its assigned devices and all the IOMMUs they sit behind, whatever kind
 * those are, in which IOVA = guest-physical address (virt/kvm/iommu.c of 2010). It mirrors the memory slots from the first
 * one on; page tables exist while devices are assigned.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type Fault, type IoAddressSpace, type Iommu, READ_WRITE } from '@iommu-lab/iommu-core';
import { hex, type World } from '@iommu-lab/machine';
import type { MemorySlot } from './memory-slots.ts';

export class GuestAddressSpace {
  /** The mappings themselves. */
  readonly mappings: IoAddressSpace;
  readonly #world: World;
  readonly #pageBytes: number;

  /**
   * @param world the guest's: faults of its devices are events there
   * @param pageBytes size of the host pages behind the slots
   */
  constructor(world: World, iommu: Iommu, name: string, pageBytes: number) {
    this.#world = world;
    this.#pageBytes = pageBytes;
    this.mappings = iommu.createAddressSpace(name);
    this.mappings.setFaultHandler((fault) => this.#onFault(fault));
  }

  /**
   * Attaches a device, whose ownership has been claimed.
   * @returns takes it off again; the last device takes the page tables along
   * @throws LabError as `IoAddressSpace.attach`. Nothing has changed then.
   */
  attach(device: Device): () => void {
    this.mappings.attach(device);
    return () => this.mappings.detach(device);
  }

  /** Gives a slot to the devices that are assigned, and those that will be. @throws LabError as `IoAddressSpace.mapSg` */
  mapSlot(slot: MemorySlot): void {
    const entries = slot.hostPages.map((address) => ({ address, length: this.#pageBytes }));
    this.mappings.mapSg(slot.base, entries, READ_WRITE, this.#label(slot));
  }

  /** Takes it away again: when this returns, no device reaches its pages. */
  unmapSlot(slot: MemorySlot): void {
    this.mappings.unmap(slot.base, slot.sizeBytes, this.#label(slot));
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
    return `${this.mappings.name}: memory slot ${hex(slot.base)}`;
  }
}
