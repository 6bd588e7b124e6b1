/**
 * Page frames. Single frames come scattered, as they do on a machine that has run for a while, so that nobody gets by
 * with physically contiguous buffers by luck; runs come from the other end of memory, where the scatter does not reach
 * as long as it can be helped.
 */
import {
  alignUp,
  assert,
  hex,
  isAligned,
  isPowerOfTwo,
  LabError,
  physAddr,
  type PhysAddr,
  type Random,
  type World,
} from '@iommu-lab/machine';
import { FrameList } from './frame-list.ts';

/** Bytes of a frame. */
export const FRAME_BYTES = 4096;

export interface FrameRange {
  /** First byte; a multiple of 4096. */
  readonly base: number;
  /** A multiple of 4096. */
  readonly sizeBytes: number;
}

export interface FrameAllocatorOptions {
  /** Single frames in an order drawn from the seed (default), else in ascending order. */
  readonly scatter?: boolean;
}

/** A range with the number of its first frame; frames are counted through all ranges. */
interface NumberedRange extends FrameRange {
  readonly firstFrame: number;
  readonly frames: number;
}

/**
 * Hands out the frames of some ranges of memory. The upper half of each range serves single frames first, the lower
 * half serves runs first; either goes on with the other's when its own are gone.
 */
export class FrameAllocator {
  readonly totalBytes: number;
  readonly #world: World;
  readonly #random: Random | undefined;
  readonly #ranges: readonly NumberedRange[];
  readonly #free: FrameList;

  /** @throws LabError EINVAL on an empty, unaligned or overlapping range. */
  constructor(world: World, ranges: readonly FrameRange[], options: FrameAllocatorOptions = {}) {
    this.#world = world;
    this.#random = options.scatter === false ? undefined : world.random.fork('kernel-mm.frames');
    this.#ranges = numberRanges(ranges);
    const frames = this.#ranges.reduce((sum, range) => sum + range.frames, 0);
    this.#free = new FrameList(frames);
    for (const range of this.#ranges) {
      const half = range.firstFrame + Math.floor(range.frames / 2);
      this.#free.addRange(range.firstFrame, half, 'runs');
      this.#free.addRange(half, range.firstFrame + range.frames, 'singles');
    }
    this.totalBytes = frames * FRAME_BYTES;
  }

  get freeBytes(): number {
    return this.#free.count * FRAME_BYTES;
  }

  /** One frame; its contents are whatever was there. @throws LabError ENOMEM */
  allocate(): PhysAddr {
    const random = this.#random;
    const frame = this.#world.fail('kernel-mm.frame')
      ? undefined
      : random === undefined
        ? this.#free.takeLowestSingle()
        : this.#free.takeSingle((count) => random.integer(0, count - 1));
    if (frame === undefined) throw new LabError('ENOMEM', 'no free page frame');
    return this.#addressOf(frame);
  }

  /**
   * A run of frames of at least `sizeBytes` (rounded up to whole frames), first fit from the lowest address on, aligned
   * to `alignBytes`.
   * @param lowest no frame of it lies below
   * @throws LabError ENOMEM when there is no such run, EINVAL on a size below 1 or an alignment that is no power of two.
   */
  allocateContiguous(sizeBytes: number, alignBytes: number, lowest: number = 0): PhysAddr {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1 || !isPowerOfTwo(alignBytes)) {
      throw new LabError('EINVAL', 'not a size and an alignment', { sizeBytes, alignBytes });
    }
    const frames = alignUp(sizeBytes, FRAME_BYTES) / FRAME_BYTES;
    const first = this.#world.fail('kernel-mm.contiguous')
      ? undefined
      : this.#findRun(frames, alignBytes, lowest);
    if (first === undefined) {
      throw new LabError('ENOMEM', 'no run of free page frames', { sizeBytes, alignBytes });
    }
    for (let frame = first; frame < first + frames; frame++) this.#free.take(frame);
    return this.#addressOf(first);
  }

  /**
   * Takes back `sizeBytes` (rounded up to whole frames) from `address` on: all of an allocation, or part of a run.
   * @throws LabError EINVAL when a frame of it is not allocated or not of this allocator; nothing is then taken back.
   */
  free(address: PhysAddr, sizeBytes: number = FRAME_BYTES): void {
    const frames = alignUp(sizeBytes, FRAME_BYTES) / FRAME_BYTES;
    const first = this.#frameAt(address, frames);
    if (first === undefined) {
      throw new LabError('EINVAL', `${hex(address)} is not a frame of this allocator`, {
        address,
        sizeBytes,
      });
    }
    for (let frame = first; frame < first + frames; frame++) {
      if (this.#free.has(frame)) {
        throw new LabError('EINVAL', `${hex(this.#addressOf(frame))} is free already`, {
          address,
          sizeBytes,
        });
      }
    }
    for (let frame = first; frame < first + frames; frame++) this.#free.add(frame);
  }

  #findRun(frames: number, alignBytes: number, lowestAddress: number): number | undefined {
    const step = Math.max(1, alignBytes / FRAME_BYTES);
    for (const range of this.#ranges) {
      const end = range.firstFrame + range.frames;
      const skipped = Math.max(0, Math.ceil((lowestAddress - range.base) / FRAME_BYTES));
      const lowest = Math.max(range.firstFrame + skipped, this.#free.lowestHint);
      const address = range.base + (lowest - range.firstFrame) * FRAME_BYTES;
      let start = lowest + (alignUp(address, step * FRAME_BYTES) - address) / FRAME_BYTES;
      while (start + frames <= end) {
        const taken = this.#free.firstTaken(start, start + frames);
        if (taken === undefined) return start;
        start += Math.ceil((taken + 1 - start) / step) * step;
      }
    }
    return undefined;
  }

  #frameAt(address: number, frames: number): number | undefined {
    if (!isAligned(address, FRAME_BYTES) || !(frames >= 1)) return undefined;
    const range = this.#ranges.find(
      (r) => address >= r.base && address + frames * FRAME_BYTES <= r.base + r.sizeBytes,
    );
    return range === undefined ? undefined : range.firstFrame + (address - range.base) / FRAME_BYTES;
  }

  #addressOf(frame: number): PhysAddr {
    const range = this.#ranges.find((r) => frame < r.firstFrame + r.frames);
    assert(range !== undefined, 'a frame lies in a range');
    return physAddr(range.base + (frame - range.firstFrame) * FRAME_BYTES);
  }
}

function numberRanges(ranges: readonly FrameRange[]): readonly NumberedRange[] {
  let firstFrame = 0;
  let previousEnd = 0;
  return [...ranges]
    .sort((a, b) => a.base - b.base)
    .map((range) => {
      const { base, sizeBytes } = range;
      if (!(sizeBytes > 0) || !isAligned(sizeBytes, FRAME_BYTES) || !isAligned(physAddr(base), FRAME_BYTES)) {
        throw new LabError('EINVAL', 'a frame range is a positive multiple of 4096 bytes', { ...range });
      }
      if (base < previousEnd) throw new LabError('EINVAL', 'frame ranges overlap', { ...range });
      const numbered = { base, sizeBytes, firstFrame, frames: sizeBytes / FRAME_BYTES };
      firstFrame += numbered.frames;
      previousEnd = base + sizeBytes;
      return numbered;
    });
}
