/**
 * How a scatter list lies in IOVA space, and which of its pieces one segment holds (drivers/iommu/dma-iommu.c,
 * iommu_dma_map_sg and __finalise_sg).
 */
import type { DmaParameters } from '@iommu-lab/driver-core';
import { alignDown, alignUp, type Iova } from '@iommu-lab/machine';
import type { DmaSegment, SgEntry } from '../dma-ops.ts';

/** Where the whole granules of one entry go, relative to the start of the list's range. */
export interface PlacedEntry {
  readonly entry: SgEntry;
  /** First granule of the entry in memory. */
  readonly wholeAddress: number;
  readonly wholeBytes: number;
  /** Bytes from the start of the range. */
  readonly at: number;
}

export interface SgLayout {
  readonly entries: readonly PlacedEntry[];
  /** Of the range, with holes. */
  readonly sizeBytes: number;
}

/**
 * Lays the entries out one behind the other, each in granules of its own. One that would cross a segment boundary starts at it;
 * a hole is left before it. The range is aligned to its own size or more, so boundaries are known from the lengths.
 */
export function layOut(entries: readonly SgEntry[], granule: number, segmentBoundaryMask: number): SgLayout {
  const placed: PlacedEntry[] = [];
  let sizeBytes = 0;
  for (const entry of entries) {
    const wholeAddress = alignDown(entry.address as number, granule);
    const wholeBytes = alignUp(entry.address + entry.length, granule) - wholeAddress;
    const overBoundary = sizeBytes % (segmentBoundaryMask + 1);
    const toBoundary = overBoundary === 0 ? 0 : segmentBoundaryMask + 1 - overBoundary;
    if (toBoundary < wholeBytes) sizeBytes += toBoundary;
    placed.push({ entry, wholeAddress, wholeBytes, at: sizeBytes });
    sizeBytes += wholeBytes;
  }
  return { entries: placed, sizeBytes };
}

/**
 * The segments of a list that was laid out from `start` on. An entry joins the segment before it when both meet on a granule
 * without a hole, not on a boundary, and the sum is no longer than a segment may be.
 */
export function segmentsOf(
  { entries }: SgLayout,
  start: Iova,
  { maxSegmentBytes, segmentBoundaryMask }: DmaParameters,
): readonly DmaSegment[] {
  const segments: { address: Iova; length: number }[] = [];
  for (const { entry, wholeAddress, at } of entries) {
    const address = (start + at + (entry.address - wholeAddress)) as Iova;
    const previous = segments.at(-1);
    const joins =
      previous !== undefined &&
      previous.address + previous.length === address &&
      address % (segmentBoundaryMask + 1) !== 0 &&
      previous.length + entry.length <= maxSegmentBytes;
    if (joins) previous.length += entry.length;
    else segments.push({ address, length: entry.length });
  }
  return segments;
}
