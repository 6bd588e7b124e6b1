/**
 * Hands out IOVA ranges: from the top down, each aligned to its own size rounded up to a power of two, never address 0 (the
 * kernel's drivers/iommu/iova.c). Small ranges that were freed wait in magazines and come back first (`alloc_iova_fast`).
 *
 * From the top means that the first range ends at the limit itself; whoever makes a space chooses `last` so that something
 * lies behind it. There are no guard granules between ranges, as in the kernel: a device that runs over the end of a buffer
 * may reach one that was handed out before it.
 *
 * Everything inside counts granules: the *frame* of an address is the address divided by the granule.
 */
import { hex, type Iova, isPowerOfTwo, LabError, type World } from '@iommu-lab/machine';
import { HoleTree, NONE } from './hole-tree.ts';
import { LiveRanges } from './live-ranges.ts';
import { powerAtLeast, powerAtMost } from './natural-alignment.ts';
import { LARGEST_CACHED, RangeCache } from './range-cache.ts';
import { ReservedRanges } from './reserved-ranges.ts';

export interface IovaAllocatorOptions {
  /** Bytes; a power of two. All ranges are multiples of it. */
  readonly granule: number;
  /** First and last address that may be handed out, both included. A start of 0 becomes one granule. */
  readonly start: number;
  readonly last: number;
  /** CPUs that have magazines of their own; 1 unless given. A CPU beyond them shares, by the remainder. */
  readonly cpus?: number;
  /** false: no magazines, every call goes to the tree, and no size is rounded up to a power of two. */
  readonly caching?: boolean;
}

/** What the free space is worth, in bytes. */
export interface IovaFragmentation {
  /** All that is neither out nor reserved. */
  readonly freeBytes: number;
  /** How much of it waits in magazines: only requests of its own sizes get it until they are emptied. */
  readonly cachedBytes: number;
  /** Pieces of which the rest consists. */
  readonly holes: number;
  readonly largestHoleBytes: number;
  /** The largest request that would be served without emptying a magazine. Alignment makes it less than the largest hole. */
  readonly largestFreeBytes: number;
  /** largestFreeBytes of freeBytes: the share of the free space that one request could get. 0 when nothing is free. */
  readonly largestShare: number;
}

/** The IOVAs of one domain. What is out, cached, free and reserved is the whole space, and no two of them meet. */
export class IovaAllocator {
  readonly granule: number;
  /** First address that can be handed out. */
  readonly start: Iova;
  readonly #startFrame: number;
  /** First frame behind the last whole granule. */
  readonly #endFrame: number;
  readonly #holes: HoleTree;
  readonly #live: LiveRanges = new LiveRanges();
  readonly #cache: RangeCache;
  /** Sizes above this go past the magazines; 0: all do. */
  readonly #largestCached: number;
  readonly #reserved: ReservedRanges = new ReservedRanges();
  /** Granules that are reserved and still out. */
  #reservedOut = 0;
  #allocated = 0;

  /**
   * @param world its current CPU chooses the magazines, its clock runs the job that shrinks their depots
   * @throws LabError EINVAL when the granule is no power of two, no granule fits between the ends, or there is no CPU
   */
  constructor(world: World, options: IovaAllocatorOptions) {
    const { granule, last, cpus = 1, caching = true } = options;
    const startFrame = Math.max(1, Math.ceil(options.start / granule));
    const endFrame = Math.floor((last + 1) / granule);
    const isSpace = isPowerOfTwo(granule) && options.start >= 0 && endFrame > startFrame;
    if (!isSpace || !Number.isSafeInteger(last) || !Number.isSafeInteger(cpus) || cpus < 1) {
      throw new LabError('EINVAL', 'an IOVA space holds at least one granule above address 0, for a CPU', {
        ...options,
      });
    }
    this.granule = granule;
    this.start = (startFrame * granule) as Iova;
    this.#startFrame = startFrame;
    this.#endFrame = endFrame;
    this.#holes = new HoleTree(startFrame, endFrame);
    this.#largestCached = caching ? LARGEST_CACHED : 0;
    this.#cache = new RangeCache(world, cpus, (frame, size) => this.#giveBack(frame, size));
  }

  /** Bytes in ranges that are out, with what was rounded up. */
  get allocatedBytes(): number {
    return this.#allocated * this.granule;
  }

  /** Bytes that are neither out nor reserved, in however many pieces; what waits in magazines is free. */
  get freeBytes(): number {
    const reserved = this.#reserved.size - this.#reservedOut;
    return (this.#endFrame - this.#startFrame - this.#allocated - reserved) * this.granule;
  }

  /** Ranges that are out. */
  get liveRanges(): number {
    return this.#live.count;
  }

  /**
   * A free range of `sizeBytes` (rounded up to granules; up to 32 granules also to a power of two, when there are magazines)
   * that ends at or below `limit`: one of this CPU's magazines if there is one, else the highest.
   * @throws LabError EINVAL on a size that is not a positive integer or a limit below 0, ENOSPC when there is none.
   */
  allocate(sizeBytes: number, limit: number): Iova {
    let iova = this.tryAllocate(sizeBytes, limit);
    if (iova === undefined && this.#cache.granules > 0) {
      this.emptyCaches();
      iova = this.tryAllocate(sizeBytes, limit);
    }
    if (iova !== undefined) return iova;
    throw new LabError('ENOSPC', `no ${sizeBytes} bytes of IOVA space at or below ${hex(limit)}`, {
      sizeBytes,
      limit,
      freeBytes: this.freeBytes,
    });
  }

  /**
   * As `allocate`, but what waits in magazines stays there.
   * @returns undefined when there is none
   * @throws LabError EINVAL on a size that is not a positive integer, or a limit below 0
   */
  tryAllocate(sizeBytes: number, limit: number): Iova | undefined {
    if (!(limit >= 0)) throw new LabError('EINVAL', 'a limit is an address', { limit });
    const asked = this.#granulesOf(sizeBytes);
    const size = this.#occupied(asked);
    const end = Math.floor((limit + 1) / this.granule);
    let frame = NONE;
    if (size <= this.#largestCached) frame = this.#cache.pop(size, end - size);
    if (frame === NONE) frame = this.#holes.takeHighest(size, end);
    if (frame === NONE) return undefined;
    this.#live.add(frame, asked);
    this.#allocated += size;
    return (frame * this.granule) as Iova;
  }

  /** Takes a range back. @throws LabError EINVAL unless it is out with that size. */
  free(iova: Iova, sizeBytes: number): void {
    const asked = this.#granulesOf(sizeBytes);
    const frame = iova / this.granule;
    if (!this.#live.remove(frame, asked)) {
      throw new LabError('EINVAL', `IOVA ${hex(iova)} is not out with ${sizeBytes} bytes`, {
        iova,
        sizeBytes,
      });
    }
    const size = this.#occupied(asked);
    this.#allocated -= size;
    if (size <= this.#largestCached && this.#reservedOut === 0) this.#cache.push(frame, size);
    else this.#giveBack(frame, size);
  }

  /**
   * Never hands the range out from now on, as far as it lies in the space; whole granules, rounded outward (`reserve_iova`).
   * What is out there comes under it when it is taken back.
   * @throws LabError EINVAL unless both are numbers from 0 on
   */
  reserve(start: number, sizeBytes: number): void {
    if (!(start >= 0) || !(sizeBytes >= 0)) {
      throw new LabError('EINVAL', 'a reserved range has a start and a size', { start, sizeBytes });
    }
    const from = Math.max(this.#startFrame, Math.floor(start / this.granule));
    const to = Math.min(this.#endFrame, Math.ceil((start + sizeBytes) / this.granule));
    if (from >= to) return;
    // Nothing of it may be left in a magazine.
    this.emptyCaches();
    const before = this.#reserved.size;
    this.#reserved.add(from, to);
    this.#reservedOut += this.#reserved.size - before - this.#holes.takeOut(from, to);
  }

  /** Gives what waits in magazines back to the tree, where neighbours grow together (`free_cpu_cached_iovas`). */
  emptyCaches(): void {
    this.#cache.empty();
  }

  /** Measures how far the free space has fallen to pieces; looks at each of them. */
  fragmentation(): IovaFragmentation {
    const { freeBytes, granule } = this;
    const fit = this.#holes.largestFit;
    const servable = fit > 0 && fit <= this.#largestCached ? powerAtMost(fit) : fit;
    return {
      freeBytes,
      cachedBytes: this.#cache.granules * granule,
      holes: this.#holes.count,
      largestHoleBytes: this.#holes.largestHole() * granule,
      largestFreeBytes: servable * granule,
      largestShare: freeBytes === 0 ? 0 : (servable * granule) / freeBytes,
    };
  }

  #granulesOf(sizeBytes: number): number {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
      throw new LabError('EINVAL', 'a size is a positive integer of bytes', { sizeBytes });
    }
    return Math.ceil(sizeBytes / this.granule);
  }

  /** What a range takes up: whoever frees it into a magazine frees it for every size of its class. */
  #occupied(asked: number): number {
    return asked <= this.#largestCached ? powerAtLeast(asked) : asked;
  }

  /** To the tree, less what has been reserved meanwhile. */
  #giveBack(frame: number, size: number): void {
    const end = frame + size;
    let from = frame;
    if (this.#reservedOut > 0) {
      for (const reserved of this.#reserved.within(frame, end)) {
        if (reserved.start > from) this.#holes.give(from, reserved.start);
        this.#reservedOut -= reserved.end - reserved.start;
        from = reserved.end;
      }
    }
    if (from < end) this.#holes.give(from, end);
  }
}
