/**
 * How a device reaches memory: the part of mapping in which direct and IOMMU mapping differ. Argument checks, book-keeping,
 * cache maintenance and events are the same for both and stand in `DeviceDmaOps`.
 */
import type { Protection } from '@iommu-lab/iommu-core';
import type { Iova, PhysAddr } from '@iommu-lab/machine';
import type { DmaSegment, SgEntry } from './dma-ops.ts';

/** A piece of memory as device and CPU see it. */
export interface MappedPiece {
  readonly iova: Iova;
  readonly address: PhysAddr;
  readonly length: number;
}

/** What the device has been given. */
export interface PathMapping {
  /** As the device addresses it. */
  readonly segments: readonly DmaSegment[];
  /** One for each piece of memory that was mapped, in its order. */
  readonly pieces: readonly MappedPiece[];
  /** Whole IOVA range that was taken for it; `sizeBytes` is 0 when none was. */
  readonly range: { readonly start: Iova; readonly sizeBytes: number };
}

export interface DmaPath {
  readonly kind: string;
  /** Lowest mask that reaches anything. */
  readonly smallestMask: number;
  /**
   * Makes physically contiguous pieces reachable at addresses up to `mask`. Cache maintenance is the caller's.
   * @throws LabError EIO, ENOSPC, ENOMEM; nothing is reachable then.
   */
  map(entries: readonly SgEntry[], mask: number, protection: Protection, site: string): PathMapping;
  /** The device can reach it no longer when this returns. Must not fail. */
  unmap(mapping: PathMapping, site: string): void;
  /** Memory for a coherent buffer that `map` can then make contiguous for the device. @throws LabError ENOMEM */
  allocateMemory(sizeBytes: number, mask: number): readonly SgEntry[];
}
