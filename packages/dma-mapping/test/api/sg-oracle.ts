/** The segments of a scatter list, from the words of the kernel's documentation alone (drivers/iommu/dma-iommu.c). */
import type { DmaSegment, SgEntry } from '../../src/index.ts';

export interface Engine {
  readonly granule: number;
  readonly boundary: number;
  readonly maxSegmentBytes: number;
}

/** Offsets of the segments from the start of the list's range, and their lengths. */
export function expectedSegments(
  entries: readonly SgEntry[],
  { granule, boundary, maxSegmentBytes }: Engine,
): DmaSegment[] {
  const out: { address: number; length: number }[] = [];
  let at = 0;
  let isOpen = false; // the last segment may still grow
  for (const { address, length } of entries) {
    const offset = address % granule;
    let granules = 0;
    for (let covered = 0; covered < offset + length; covered += granule) granules++;
    // What is left up to the next boundary is too little for the entry: it is padding of the entry before.
    const left = (boundary - (at % boundary)) % boundary;
    if (at > 0 && left > 0 && left < granules * granule) {
      at += left;
      isOpen = false;
    }
    const last = out.at(-1);
    if (
      last !== undefined &&
      isOpen &&
      offset === 0 &&
      at % boundary !== 0 &&
      last.length + length <= maxSegmentBytes
    ) {
      last.length += length;
    } else {
      out.push({ address: at + offset, length });
    }
    at += granules * granule;
    isOpen = (offset + length) % granule === 0;
  }
  return out as DmaSegment[];
}
