/**
 * What a request needs of the slots of a pool: how many in a row, and where they may start (kernel/dma/swiotlb.c:
 * swiotlb_tbl_map_single and swiotlb_search_pool_area).
 */
import { LabError } from '@iommu-lab/machine';
import type { BounceRequest } from './bounce-slot.ts';

/** Bytes of a slot (IO_TLB_SIZE). */
export const SLOT_BYTES = 2048;
/** Slots of a segment; no mapping crosses one (IO_TLB_SEGSIZE). */
export const SEGMENT_SLOTS = 128;
/** Bytes of a segment: the largest mapping. Every pool that lasts starts at a multiple of it. */
export const SEGMENT_BYTES: number = SLOT_BYTES * SEGMENT_SLOTS;

const PAGE_BYTES = 4096;

/** A pool has one of these and writes it anew for each mapping, so that a mapping makes no other object than its slot. */
export class SlotNeed {
  /** Slots in a row. */
  slots = 0;
  /** Bytes from the first slot to where the buffer's first byte goes; whole slots of them are padding. */
  offset = 0;
  sizeBytes = 0;
  /** The first slot lies at `phaseBytes` above a multiple of `strideBytes`. */
  strideBytes: number = SLOT_BYTES;
  phaseBytes = 0;
  /** Highest address at which the first slot may lie; negative: nowhere. */
  highestStart = 0;
  /** The buffer's bytes cross no multiple of this plus one. */
  boundaryMask = 0;
  /** The device's address of a byte less the CPU's. */
  busOffset = 0;
  /** Address of the first slot, written by the area that took them. */
  start = 0;

  /**
   * The allocation is aligned to `allocAlignMask`. The buffer's bits in `minAlignMask` are kept: those below the alignment
   * by an offset into the allocation, those above by the choice of its first slot. A page or more is page-aligned when
   * nothing else is asked for.
   * @throws LabError EINVAL on a size that is none, a mask that is not 2^n - 1, and what fits in no segment of any pool.
   */
  describe(request: BounceRequest): void {
    const { original, sizeBytes, allocAlignMask, minAlignMask, segmentBoundaryMask } = request;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) throw refused(request, 'not a size');
    if (!isMask(allocAlignMask) || !isMask(minAlignMask) || !isMask(segmentBoundaryMask)) {
      throw refused(request, 'a mask is 2^n - 1');
    }
    const alignMask = Math.max(allocAlignMask, SLOT_BYTES - 1);
    const offset = lowBits(original, Math.min(minAlignMask, alignMask));
    const phaseBytes =
      minAlignMask > alignMask ? lowBits(original, minAlignMask) - lowBits(original, alignMask) : 0;
    const endBytes = offset + sizeBytes;
    const takenBytes = endBytes + lowBits(-endBytes, allocAlignMask);
    const slots = Math.ceil(takenBytes / SLOT_BYTES);
    if (lowBits(phaseBytes, SEGMENT_BYTES - 1) + slots * SLOT_BYTES > SEGMENT_BYTES) {
      throw refused(request, 'more than a segment of a bounce pool holds');
    }
    if (
      lowBits(original, Math.min(minAlignMask, segmentBoundaryMask)) + sizeBytes >
      segmentBoundaryMask + 1
    ) {
      throw refused(request, 'it would cross a segment boundary of the device wherever it lay');
    }
    const isFree = allocAlignMask === 0 && minAlignMask === 0;
    this.slots = slots;
    this.offset = offset;
    this.sizeBytes = sizeBytes;
    this.strideBytes =
      isFree && takenBytes >= PAGE_BYTES ? PAGE_BYTES : Math.max(alignMask, minAlignMask) + 1;
    this.phaseBytes = phaseBytes;
    this.highestStart = request.limit - sizeBytes + 1 - offset;
    this.boundaryMask = segmentBoundaryMask;
    this.busOffset = request.busOffset ?? 0;
  }
}

/** The bits of `value` in `mask`, 2^n - 1. (A remainder of numbers above 31 bits is a call into the C library.) */
export function lowBits(value: number, mask: number): number {
  if (mask <= 0x7fffffff) return value & mask;
  const rest = value % (mask + 1);
  return rest < 0 ? rest + mask + 1 : rest;
}

function isMask(mask: number): boolean {
  if (!(mask >= 0)) return false;
  if (mask <= 0xffffffff) return Number.isInteger(mask) && (mask & (mask + 1)) === 0;
  return mask <= Number.MAX_SAFE_INTEGER && 2 ** Math.round(Math.log2(mask + 1)) === mask + 1;
}

function refused(request: BounceRequest, why: string): LabError {
  const { original, sizeBytes, deviceName } = request;
  return new LabError('EINVAL', `${deviceName}: a buffer of ${sizeBytes} bytes cannot be bounced: ${why}`, {
    original,
    sizeBytes,
    allocAlignMask: request.allocAlignMask,
    minAlignMask: request.minAlignMask,
    segmentBoundaryMask: request.segmentBoundaryMask,
  });
}
