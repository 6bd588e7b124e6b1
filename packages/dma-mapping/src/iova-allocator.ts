/**
 * Hands out IOVA ranges: from the top down, each aligned to its own size rounded up to a power of two, never address 0
 * (the kernel's alloc_iova, drivers/iommu/iova.c). What is free is kept as an array of holes by address; it is short,
 * since ranges are handed out side by side and neighbours grow together when they are freed.
 *
 * From the top means that the first range ends at the limit itself; whoever makes a space chooses `last` so that something
 * lies behind it (`iovaSpaceOf`). There are no guard granules between ranges, as in the kernel: a device that runs over
 * the end of a buffer may reach one that was handed out before it.
 */
import { alignDown, alignUp, hex, type Iova, isAligned, isPowerOfTwo, LabError } from '@iommu-lab/machine';

export interface IovaAllocatorOptions {
  /** Bytes; a power of two. All ranges are multiples of it. */
  readonly granule: number;
  /** First and last address that may be handed out, both included. A start of 0 becomes one granule. */
  readonly start: number;
  readonly last: number;
}

interface Hole {
  readonly start: number;
  /** First address behind it. */
  readonly end: number;
}

export class IovaAllocator {
  readonly granule: number;
  /** First address that can be handed out. */
  readonly start: Iova;
  /** First address behind the last whole granule. */
  readonly #end: number;
  /** Ascending; no two touch. */
  readonly #holes: Hole[];
  /** Size of each range that is out, by its start. */
  readonly #allocated = new Map<number, number>();
  readonly #reserved: Hole[] = [];
  #allocatedBytes = 0;
  #reservedBytes = 0;

  /** @throws LabError EINVAL when the granule is no power of two or no granule fits between the ends. */
  constructor(options: IovaAllocatorOptions) {
    const { granule, last } = options;
    const start = alignUp(Math.max(options.start, granule), granule);
    const end = alignDown(last + 1, granule);
    if (!isPowerOfTwo(granule) || !(options.start >= 0) || !(end > start)) {
      throw new LabError('EINVAL', 'an IOVA space holds at least one granule above address 0', {
        ...options,
      });
    }
    this.granule = granule;
    this.start = start as Iova;
    this.#end = end;
    this.#holes = [{ start, end }];
  }

  /** Bytes in ranges that are out. */
  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  /** Bytes that are free, in however many pieces. */
  get freeBytes(): number {
    return this.#end - this.start - this.#allocatedBytes - this.#reservedBytes;
  }

  /**
   * The highest free range of `sizeBytes` (rounded up to granules) that ends at or below `limit`.
   * @throws LabError EINVAL on a size that is not positive, ENOSPC when there is none.
   */
  allocate(sizeBytes: number, limit: number): Iova {
    const size = this.#roundUp(sizeBytes);
    const alignment = 2 ** Math.ceil(Math.log2(size / this.granule)) * this.granule;
    for (let i = this.#holes.length - 1; i >= 0; i--) {
      const hole = this.#holes[i] as Hole;
      const start = alignDown(Math.min(hole.end, limit + 1) - size, alignment);
      if (start < hole.start) continue;
      this.#holes.splice(i, 1, ...split(hole, start, start + size));
      this.#allocated.set(start, size);
      this.#allocatedBytes += size;
      return start as Iova;
    }
    throw new LabError('ENOSPC', `no ${size} bytes of IOVA space at or below ${hex(limit)}`, {
      sizeBytes,
      limit,
      freeBytes: this.freeBytes,
    });
  }

  /**
   * Never hands the range out from now on, as far as it lies in the space; whole granules, rounded outward (reserve_iova).
   * What is out there comes under it when it is taken back.
   */
  reserve(start: number, sizeBytes: number): void {
    const range = {
      start: alignDown(start, this.granule),
      end: alignUp(start + sizeBytes, this.granule),
    };
    this.#reserved.push(range);
    this.#cutOut(range);
  }

  /** Takes a range back. @throws LabError EINVAL unless it was handed out with that size. */
  free(iova: Iova, sizeBytes: number): void {
    const size = this.#allocated.get(iova);
    if (size === undefined || size !== this.#roundUp(sizeBytes)) {
      throw new LabError('EINVAL', `IOVA ${hex(iova)} is not out with ${sizeBytes} bytes`, {
        iova,
        sizeBytes,
      });
    }
    this.#allocated.delete(iova);
    this.#allocatedBytes -= size;
    const at = this.#holesBelow(iova);
    const below = this.#holes[at - 1];
    const above = this.#holes[at];
    const joinsBelow = below?.end === iova;
    const joinsAbove = above?.start === iova + size;
    const grown: Hole = {
      start: joinsBelow ? below.start : iova,
      end: joinsAbove ? above.end : iova + size,
    };
    this.#holes.splice(at - (joinsBelow ? 1 : 0), (joinsBelow ? 1 : 0) + (joinsAbove ? 1 : 0), grown);
    for (const range of this.#reserved) this.#cutOut(range);
  }

  /** Takes a reserved range out of the holes. */
  #cutOut(range: Hole): void {
    for (let i = this.#holes.length - 1; i >= 0; i--) {
      const hole = this.#holes[i] as Hole;
      const [from, to] = [Math.max(hole.start, range.start), Math.min(hole.end, range.end)];
      if (from >= to) continue;
      this.#reservedBytes += to - from;
      this.#holes.splice(i, 1, ...split(hole, from, to));
    }
  }

  #roundUp(sizeBytes: number): number {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0) {
      throw new LabError('EINVAL', 'a size is a positive integer of bytes', { sizeBytes });
    }
    return isAligned(sizeBytes, this.granule) ? sizeBytes : alignUp(sizeBytes, this.granule);
  }

  /** How many holes start below `address`. */
  #holesBelow(address: number): number {
    let low = 0;
    let high = this.#holes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#holes[middle] as Hole).start < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What remains of a hole when `[start, end)` is taken out of it. */
function split(hole: Hole, start: number, end: number): Hole[] {
  return [
    { start: hole.start, end: start },
    { start: end, end: hole.end },
  ].filter((rest) => rest.end > rest.start);
}
