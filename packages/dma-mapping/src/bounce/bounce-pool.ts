/**
 * Memory that every device reaches, to stand for buffers that one does not: the CPU copies to and fro (the kernel's
 * software IO TLB, kernel/dma/swiotlb.c).
 */
import {
  alignUp,
  hex,
  LabError,
  type MemoryPort,
  offsetBy,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import type { FrameSource } from '../ports.ts';
import type { BounceArea } from './bounce-area.ts';
import { BounceCopy } from './bounce-copy.ts';
import { BounceEvents } from './bounce-events.ts';
import { BounceMemories } from './bounce-memories.ts';
import type { BounceRequest, BounceSlot } from './bounce-slot.ts';
import { explainBounce, type ExplainedSlot, slotFor } from './explain-bounce.ts';
import { SEGMENT_BYTES, SLOT_BYTES, SlotNeed } from './slot-need.ts';

export interface BouncePoolOptions {
  /**
   * 1 MiB unless given, the kernel's smallest (its default is 64 MiB). Rounded up to whole segments of 256 KiB, at least one
   * for each area.
   */
  readonly sizeBytes?: number;
  /** CPUs; rounded up to a power of two it is the number of areas. 1 unless given. */
  readonly cpus?: number;
  /** Most bytes it may grow to, with the memory of single requests. `sizeBytes` unless given: no growth. */
  readonly maxBytes?: number;
}

/** How full a pool is, and what it has done. */
export interface BounceOccupancy {
  /** Slots of 2 KiB, with those of single requests. */
  readonly slots: number;
  readonly usedSlots: number;
  readonly highestUsedSlots: number;
  readonly bytes: number;
  /** Memories that last: the first, and those it grew by. */
  readonly pools: number;
  /** Memories of single requests. */
  readonly transientPools: number;
  /** How often it grew. */
  readonly grown: number;
  /** Mappings that are out. */
  readonly mappings: number;
  /** Mappings that were made. */
  readonly mapped: number;
  /** Requests that found no room. */
  readonly refused: number;
  /** Bytes copied, in and out. */
  readonly copiedBytes: number;
}

const DEFAULT_BYTES = 1024 * 1024;

export class BouncePool {
  readonly #world: World;
  readonly #memories: BounceMemories;
  readonly #copy: BounceCopy;
  readonly #events: BounceEvents;
  readonly #need = new SlotNeed();
  /** What is out, in the order it was mapped, and where it is from. */
  readonly #out = new Map<BounceSlot, BounceArea>();
  #usedSlots = 0;
  #highestUsedSlots = 0;
  #mapped = 0;
  #refused = 0;

  /**
   * @param frames what it takes there is the lowest run there is, for the sake of devices that reach little
   * @param cpu the CPU's view through its cache; maintenance around the copies is the caller's
   * @throws LabError ENOMEM; EINVAL on options that are no sizes or counts
   */
  constructor(world: World, frames: FrameSource, cpu: MemoryPort, options: BouncePoolOptions = {}) {
    const { sizeBytes = DEFAULT_BYTES, cpus = 1, maxBytes = 0 } = options;
    if (!isCount(sizeBytes, 1) || !isCount(cpus, 1) || !isCount(maxBytes, 0)) {
      throw new LabError('EINVAL', 'not a size and a number of CPUs', { sizeBytes, cpus, maxBytes });
    }
    const areas = 2 ** Math.ceil(Math.log2(cpus));
    const firstBytes = alignUp(sizeBytes, SEGMENT_BYTES * areas);
    this.#world = world;
    this.#copy = new BounceCopy(cpu);
    this.#events = new BounceEvents(world);
    this.#memories = new BounceMemories(world, frames, {
      sizeBytes: firstBytes,
      areas,
      maxBytes: Math.max(firstBytes, maxBytes),
    });
  }

  /** No slot lies below; MAX_SAFE_INTEGER once it is destroyed. */
  get lowestAddress(): number {
    return this.#memories.lowestAddress;
  }

  get occupancy(): BounceOccupancy {
    const memories = this.#memories;
    return {
      slots: memories.bytes / SLOT_BYTES,
      usedSlots: this.#usedSlots,
      highestUsedSlots: this.#highestUsedSlots,
      bytes: memories.bytes,
      pools: memories.lastingCount,
      transientPools: memories.transientCount,
      grown: memories.grown,
      mappings: this.#out.size,
      mapped: this.#mapped,
      refused: this.#refused,
      copiedBytes: this.#copy.copiedBytes,
    };
  }

  /**
   * Most bytes that a buffer can have and be bounced for sure in an empty pool, whatever its address
   * (swiotlb_max_mapping_size); 0 when there are no such.
   * @param minAlignMask and `allocAlignMask`: as in a request
   */
  maxMappingSize(minAlignMask: number, allocAlignMask: number = 0): number {
    if (allocAlignMask >= SEGMENT_BYTES) return 0;
    return Math.max(0, SEGMENT_BYTES - alignUp(minAlignMask, SLOT_BYTES));
  }

  /**
   * Takes slots and copies all of the buffer in, whatever the direction: what the device does not write comes back as it was
   * (swiotlb_tbl_map_single). Around the edge of a buffer of a device that is not trusted the slots are zeroed.
   * @throws LabError ENOMEM when no slots are free where the request can have them; EINVAL when no pool could serve it; EFAULT
   * when the buffer is no memory. Nothing is taken then.
   */
  map(request: BounceRequest): BounceSlot {
    const need = this.#need;
    need.describe(request);
    const area = this.#world.fail('dma-mapping.bounce') ? undefined : this.#memories.take(need);
    if (area === undefined) throw this.#full(request, need.slots);
    const { start, offset, slots } = need;
    const { original, sizeBytes, reason } = request;
    const address = (start + offset) as PhysAddr;
    try {
      if (reason === 'untrusted-edge') {
        this.#copy.zeroAround(start, slots * SLOT_BYTES, offset, sizeBytes);
      }
      this.#copy.copy(original, address, sizeBytes);
    } catch (error) {
      this.#memories.release(area, address);
      throw error;
    }
    const slot = slotFor(request, address);
    this.#out.set(slot, area);
    this.#mapped++;
    this.#usedSlots += slots;
    this.#highestUsedSlots = Math.max(this.#highestUsedSlots, this.#usedSlots);
    this.#events.bounced(slot);
    return slot;
  }

  /**
   * Copies `sizeBytes` at `offset` from the buffer to what stands for it, before the device looks.
   * @throws LabError EINVAL when the slot is not out or the range leaves it; EFAULT when the buffer is no memory
   */
  copyIn(slot: BounceSlot, offset: number, sizeBytes: number): void {
    this.#checkRange(slot, offset, sizeBytes);
    this.#copy.copy(offsetBy(slot.original, offset), offsetBy(slot.address, offset), sizeBytes);
  }

  /** The same the other way, when the device is done. @throws LabError as `copyIn` */
  copyOut(slot: BounceSlot, offset: number, sizeBytes: number): void {
    this.#checkRange(slot, offset, sizeBytes);
    this.#copy.copy(offsetBy(slot.address, offset), offsetBy(slot.original, offset), sizeBytes);
  }

  /** Its slots are free again; nothing is copied. @throws LabError EINVAL when it is not out */
  release(slot: BounceSlot): void {
    const area = this.#areaOf(slot);
    this.#out.delete(slot);
    this.#usedSlots -= this.#memories.release(area, slot.address);
  }

  /** All memory that a mapping has, its padding included. @throws LabError EINVAL when it is not out */
  memoryOf(slot: BounceSlot): { readonly address: PhysAddr; readonly length: number } {
    const area = this.#areaOf(slot);
    return {
      address: area.startOf(slot.address) as PhysAddr,
      length: area.slotsOf(slot.address) * SLOT_BYTES,
    };
  }

  /** The mapping that has the slot at `address`, which may lie in its padding. Asks one after the other: for reports. */
  slotAt(address: number): BounceSlot | undefined {
    for (const [slot, area] of this.#out) {
      const start = area.startOf(slot.address);
      const length = area.slotsOf(slot.address) * SLOT_BYTES;
      if (address >= start && address < start + length) return slot;
    }
    return undefined;
  }

  /**
   * Why `address`, of a slot or of a buffer, is bounced: the buffer, who mapped it, what kept the device from it. Undefined when
   * it is not.
   */
  explain(address: number): string | undefined {
    const slot =
      this.slotAt(address) ??
      this.live().find(({ original, sizeBytes }) => address >= original && address < original + sizeBytes);
    return slot === undefined ? undefined : explainBounce(slot as ExplainedSlot);
  }

  /** What is out, in the order it was mapped. */
  live(): readonly BounceSlot[] {
    return [...this.#out.keys()];
  }

  /** Gives all memory back; the pool has no room then. @throws LabError EBUSY while something is out */
  destroy(): void {
    if (this.#out.size > 0) {
      throw new LabError('EBUSY', `${this.#out.size} buffers are bounced`, { live: this.#out.size });
    }
    this.#memories.destroy();
  }

  #areaOf(slot: BounceSlot): BounceArea {
    const area = this.#out.get(slot);
    if (area === undefined) {
      throw new LabError('EINVAL', `the slot at ${hex(slot.address)} is not out`, { address: slot.address });
    }
    return area;
  }

  #checkRange(slot: BounceSlot, offset: number, sizeBytes: number): void {
    this.#areaOf(slot);
    if (isCount(offset, 0) && isCount(sizeBytes, 0) && offset + sizeBytes <= slot.sizeBytes) return;
    throw new LabError('EINVAL', `not a part of the slot at ${hex(slot.address)}`, {
      address: slot.address,
      slotBytes: slot.sizeBytes,
      offset,
      sizeBytes,
    });
  }

  #full({ deviceName, limit }: BounceRequest, slots: number): LabError {
    this.#refused++;
    const total = this.#memories.bytes / SLOT_BYTES;
    const used = this.#usedSlots;
    this.#events.full(deviceName, slots * SLOT_BYTES, total, used);
    return new LabError(
      'ENOMEM',
      `${deviceName}: no ${slots} free slots in a row in the bounce pool up to ${hex(Math.max(0, limit))}; ` +
        `${used} of ${total} are used`,
      { device: deviceName, slots, total, used, limit },
    );
  }
}

function isCount(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}
