/** A contiguous stretch of memory cut into areas of slots (struct io_tlb_pool). */
import { LabError, type PhysAddr, type World } from '@iommu-lab/machine';
import type { FrameSource } from '../ports.ts';
import { BounceArea } from './bounce-area.ts';
import { SLOT_BYTES } from './slot-need.ts';

export class BounceMemory {
  readonly base: PhysAddr;
  readonly sizeBytes: number;
  /** A power of two of them, of the same size. */
  readonly areas: readonly BounceArea[];
  readonly #frames: FrameSource;

  /**
   * @param areas a power of two that divides the slots
   * @throws LabError ENOMEM
   */
  constructor(world: World, frames: FrameSource, sizeBytes: number, alignBytes: number, areas: number) {
    if (world.fail('dma-mapping.bounce-memory')) {
      throw new LabError('ENOMEM', 'no memory for a bounce pool', { sizeBytes });
    }
    const base = frames.allocateContiguous(sizeBytes, alignBytes);
    const areaBytes = sizeBytes / areas;
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.areas = Array.from(
      { length: areas },
      (_, i) => new BounceArea(base + i * areaBytes, areaBytes / SLOT_BYTES),
    );
    this.#frames = frames;
  }

  get slots(): number {
    return this.sizeBytes / SLOT_BYTES;
  }

  /** The area that is searched `turn` after that of `cpu`; undefined when all have been. */
  areaFor(cpu: number, turn: number): BounceArea | undefined {
    return turn < this.areas.length ? this.areas[(cpu + turn) & (this.areas.length - 1)] : undefined;
  }

  /** Gives the frames back; nothing of it may be out. */
  free(): void {
    this.#frames.free(this.base, this.sizeBytes);
  }
}
