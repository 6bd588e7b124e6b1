/**
 * The memory of a pool, which may grow: a request that finds no room gets memory of its own, and a task in the background adds
 * room for those to come (kernel/dma/swiotlb.c: swiotlb_find_slots, swiotlb_dyn_alloc).
 */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import { alignDown, alignUp, isLabError, type World } from '@iommu-lab/machine';
import type { FrameSource } from '../ports.ts';
import type { BounceArea } from './bounce-area.ts';
import { BounceMemory } from './bounce-memory.ts';
import { SEGMENT_BYTES, SLOT_BYTES, type SlotNeed } from './slot-need.ts';

export interface MemoriesSize {
  /** Of the first, and most of each that is added; whole segments, at least one for each area. */
  readonly sizeBytes: number;
  /** A power of two. */
  readonly areas: number;
  /** Most bytes of all together. */
  readonly maxBytes: number;
}

export class BounceMemories {
  readonly #world: World;
  readonly #frames: FrameSource;
  readonly #size: MemoriesSize;
  /** Those that last. */
  readonly #lasting: BounceMemory[] = [];
  /** Those of single requests, by the only area they have. */
  readonly #transient = new Map<BounceArea, BounceMemory>();
  #maxBytes: number;
  #bytes = 0;
  #grown = 0;
  #isGrowthQueued = false;

  /** @throws LabError ENOMEM */
  constructor(world: World, frames: FrameSource, size: MemoriesSize) {
    this.#world = world;
    this.#frames = frames;
    this.#size = size;
    this.#maxBytes = size.maxBytes;
    this.#lasting.push(new BounceMemory(world, frames, size.sizeBytes, SEGMENT_BYTES, size.areas));
    this.#bytes = size.sizeBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** No slot lies below; MAX_SAFE_INTEGER when there are none. */
  get lowestAddress(): number {
    return this.#lasting.reduce((lowest, { base }) => Math.min(lowest, base), Number.MAX_SAFE_INTEGER);
  }

  get lastingCount(): number {
    return this.#lasting.length;
  }

  get transientCount(): number {
    return this.#transient.size;
  }

  get grown(): number {
    return this.#grown;
  }

  /** Takes slots for `need`, and writes there which. @returns the area they are in; undefined when there is no room */
  take(need: SlotNeed): BounceArea | undefined {
    // An area after the other, beginning with the CPU's, and each in all memories.
    for (let turn = 0; turn < this.#size.areas; turn++) {
      for (const memory of this.#lasting) {
        const area = memory.areaFor(this.#world.currentCpu, turn);
        if (area !== undefined && area.take(need)) return area;
      }
    }
    if (this.#bytes >= this.#maxBytes) return undefined;
    this.#growLater();
    return this.#takeTransient(need);
  }

  /** Gives back what was taken for the buffer at `address`. @returns how many slots */
  release(area: BounceArea, address: number): number {
    const slots = area.release(address);
    const memory = this.#transient.get(area);
    if (memory !== undefined) {
      this.#transient.delete(area);
      this.#free(memory);
    }
    return slots;
  }

  /** Gives all frames back; nothing may be out. There is no room then. */
  destroy(): void {
    this.#maxBytes = 0;
    for (const memory of this.#lasting.splice(0)) this.#free(memory);
  }

  #takeTransient(need: SlotNeed): BounceArea | undefined {
    const sizeBytes = alignUp(need.phaseBytes + need.slots * SLOT_BYTES, FRAME_BYTES);
    if (this.#bytes + sizeBytes > this.#maxBytes) return undefined;
    // Aligned to its size, so that it crosses few boundaries, and to the stride, so that its first fitting slot is `phaseBytes` in.
    const alignBytes = Math.max(2 ** Math.ceil(Math.log2(sizeBytes)), need.strideBytes);
    const memory = this.#allocate(sizeBytes, alignBytes, 1);
    const area = memory?.areaFor(0, 0);
    if (memory === undefined || area === undefined) return undefined;
    if (!area.take(need)) {
      // It lies too high for the device.
      this.#free(memory);
      return undefined;
    }
    this.#transient.set(area, memory);
    return area;
  }

  #growLater(): void {
    if (this.#isGrowthQueued) return;
    this.#isGrowthQueued = true;
    this.#world.clock.schedule(0, 'growth of the bounce pool', () => {
      this.#isGrowthQueued = false;
      this.#grow();
    });
  }

  /** Adds as much as the first memory has, or half of that and so on when there is no room for more. */
  #grow(): void {
    const { sizeBytes, areas } = this.#size;
    let segments = Math.floor(Math.min(sizeBytes, this.#maxBytes - this.#bytes) / SEGMENT_BYTES);
    for (; segments >= 1; segments = Math.floor(segments / 2)) {
      const areasOfIt = Math.min(areas, 2 ** Math.floor(Math.log2(segments)));
      const size = alignDown(segments, areasOfIt) * SEGMENT_BYTES;
      const memory = this.#allocate(size, SEGMENT_BYTES, areasOfIt);
      if (memory === undefined) continue;
      this.#lasting.push(memory);
      this.#grown++;
      this.#world.emit('swiotlb:grown', { size, total: this.#bytes / SLOT_BYTES });
      return;
    }
  }

  #allocate(sizeBytes: number, alignBytes: number, areas: number): BounceMemory | undefined {
    try {
      const memory = new BounceMemory(this.#world, this.#frames, sizeBytes, alignBytes, areas);
      this.#bytes += sizeBytes;
      return memory;
    } catch (error) {
      if (isLabError(error, 'ENOMEM')) return undefined;
      throw error;
    }
  }

  #free(memory: BounceMemory): void {
    this.#bytes -= memory.sizeBytes;
    memory.free();
  }
}
