/**
 * A guest's memory as the host sees it: slots of guest-physical range, backed by host pages that lie anywhere.
 * (KVM's struct kvm_memory_slot, with the host pages in it: everything is pinned for the life of the slot.)
 */
import {
  type GuestPhysAddr,
  guestPhysAddr,
  hex,
  isAligned,
  isPowerOfTwo,
  LabError,
  offsetBy,
  type PhysAddr,
} from '@iommu-lab/machine';

/** Smallest host page behind a guest, in bytes. */
export const MIN_PAGE_BYTES = 4096;

export interface MemorySlot {
  /** First guest-physical address. */
  readonly base: GuestPhysAddr;
  readonly sizeBytes: number;
  /** The host page behind each page of the slot, in the guest's order. */
  readonly hostPages: readonly PhysAddr[];
}

/** A piece of guest memory that is contiguous in the host. */
export interface HostPiece {
  readonly address: PhysAddr;
  readonly length: number;
}

export class MemorySlots {
  /** Bytes of one host page. */
  readonly pageBytes: number;
  readonly #slots: MemorySlot[] = [];

  /** @param pageBytes size of the host pages. @throws LabError EINVAL unless a power of two of at least 4096 */
  constructor(pageBytes: number = MIN_PAGE_BYTES) {
    if (!isPowerOfTwo(pageBytes) || pageBytes < MIN_PAGE_BYTES) {
      throw new LabError('EINVAL', 'a host page is a power of two of at least 4096 bytes', { pageBytes });
    }
    this.pageBytes = pageBytes;
  }

  /** Slots, ascending by address. */
  get all(): readonly MemorySlot[] {
    return this.#slots;
  }

  /** Bytes of guest memory, all of it pinned in the host. */
  get sizeBytes(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.sizeBytes, 0);
  }

  /** Whether a slot could stand there. @throws LabError EINVAL unaligned or empty, EEXIST over another slot */
  check(base: number, sizeBytes: number): void {
    guestPhysAddr(base);
    if (!(sizeBytes > 0) || !isAligned(base, this.pageBytes) || !isAligned(sizeBytes, this.pageBytes)) {
      throw new LabError('EINVAL', `a memory slot is made of whole pages of ${this.pageBytes} bytes`, {
        base,
        sizeBytes,
      });
    }
    const other = this.overlapping(base, sizeBytes);
    if (other !== undefined) {
      throw new LabError('EEXIST', `a memory slot stands at ${hex(other.base)}`, { base, sizeBytes });
    }
  }

  /** The first slot that overlaps a range, or undefined. */
  overlapping(base: number, sizeBytes: number): MemorySlot | undefined {
    return this.#slots.find((slot) => base < slot.base + slot.sizeBytes && slot.base < base + sizeBytes);
  }

  /** @throws LabError EINVAL, EEXIST as `check`, EINVAL when the pages are not as many as the size needs */
  add(slot: MemorySlot): void {
    this.check(slot.base, slot.sizeBytes);
    if (slot.hostPages.length * this.pageBytes !== slot.sizeBytes) {
      throw new LabError('EINVAL', 'a slot has one host page for each of its pages', { base: slot.base });
    }
    this.#slots.push(slot);
    this.#slots.sort((a, b) => a.base - b.base);
  }

  /** Takes the slot that starts at `base` out. @throws LabError ENOENT when none does */
  remove(base: number): MemorySlot {
    const at = this.#slots.findIndex((slot) => slot.base === base);
    const [slot] = at < 0 ? [] : this.#slots.splice(at, 1);
    if (slot === undefined) throw new LabError('ENOENT', `no memory slot starts at ${hex(base)}`, { base });
    return slot;
  }

  /** The host address behind a guest-physical one, or undefined in a hole. */
  translate(address: number): PhysAddr | undefined {
    for (const slot of this.#slots) {
      const offset = address - slot.base;
      if (offset < 0 || offset >= slot.sizeBytes) continue;
      const inPage = offset % this.pageBytes;
      return offsetBy(slot.hostPages[(offset - inPage) / this.pageBytes] as PhysAddr, inPage);
    }
    return undefined;
  }

  /** The host pieces behind a guest range, one a page, in order; undefined when part of it is a hole. */
  pieces(address: number, sizeBytes: number): readonly HostPiece[] | undefined {
    const pieces: HostPiece[] = [];
    for (let done = 0; done < sizeBytes;) {
      const host = this.translate(address + done);
      if (host === undefined) return undefined;
      const length = Math.min(sizeBytes - done, this.pageBytes - ((address + done) % this.pageBytes));
      pieces.push({ address: host, length });
      done += length;
    }
    return pieces;
  }
}
