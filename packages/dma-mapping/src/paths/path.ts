/**
 * How a device reaches memory: the part of mapping in which direct, IOMMU and a bus's own mapping differ (the kernel's
 * dma_map_ops). Argument checks, book-keeping, cache maintenance, copies and events are the same for all and stand in `DeviceDmaOps`.
 */
import type { Protection } from '@iommu-lab/iommu-core';
import type { Iova, PhysAddr } from '@iommu-lab/machine';
import type { BounceSlot } from '../bounce/bounce-slot.ts';
import type { DmaDirection, DmaSegment, SgEntry } from '../dma-ops.ts';

/** A piece of memory as device and CPU see it. */
export interface MappedPiece {
  readonly iova: Iova;
  /** The memory the device reaches: the caller's, or what stands for it. */
  readonly address: PhysAddr;
  readonly length: number;
  /** What stands for the caller's memory. Its bytes are copied when the mapping changes hands. */
  readonly bounce?: BounceSlot;
}

/** What the device has been given. */
export interface PathMapping {
  /** As the device addresses it. */
  readonly segments: readonly DmaSegment[];
  /** One or more for each piece of memory that was mapped, in its order. */
  readonly pieces: readonly MappedPiece[];
  /** Whole IOVA range that was taken for it; `sizeBytes` is 0 when none was. */
  readonly range: IovaRange;
  /** What is mapped of the range, call by call, where it has holes; all of it otherwise. */
  readonly runs?: readonly IovaRange[];
}

/** A stretch of IOVA space, in whole granules. */
export interface IovaRange {
  readonly start: Iova;
  readonly sizeBytes: number;
}

/** What a mapping is for. */
export interface PathRequest {
  readonly direction: DmaDirection;
  readonly protection: Protection;
  /** Highest address the device can drive for it. */
  readonly mask: number;
  /** Registers: never bounced. */
  readonly isResource: boolean;
  /** Memory that was allocated for the device (`allocateMemory`): never bounced. */
  readonly isAllocation: boolean;
  /** Otherwise fails where it would have to bounce. */
  readonly mayBounce: boolean;
  /** Who maps, for reports. */
  readonly site: string;
}

export interface DmaPath {
  readonly kind: string;
  /** Lowest mask that reaches anything. */
  readonly smallestMask: number;
  /** See the members of the same name of `DmaOps`. */
  readonly requiredMask: number;
  readonly isAddressingLimited: boolean;
  readonly maxMappingSize: number;
  readonly optMappingSize: number;
  readonly mergeBoundary: number;
  /**
   * Makes physically contiguous pieces reachable. Cache maintenance and copies are the caller's.
   * @throws LabError EIO, ENOSPC, ENOMEM, ERANGE; nothing is reachable then.
   */
  map(entries: readonly SgEntry[], request: PathRequest): PathMapping;
  /** The device can reach it no longer when this returns, or as soon as what was deferred is flushed. Must not fail. */
  unmap(mapping: PathMapping, site: string): void;
  /** Memory for an allocated buffer that `map` can then make contiguous for the device. @throws LabError ENOMEM */
  allocateMemory(sizeBytes: number, mask: number, isContiguous: boolean): readonly SgEntry[];
  /** Takes back what `allocateMemory` gave. Must not fail. */
  freeMemory(pieces: readonly SgEntry[]): void;
  /** Whether `address` was unmapped and may still be reached. */
  isStale(address: Iova): boolean;
  /** The two-step calls, where there is IOVA space to reserve. */
  readonly reservations?: IovaReservations;
}

/** The mechanism under the two-step calls: IOVA space, and pieces that are put into it. Checks are the caller's. */
export interface IovaReservations {
  readonly granule: number;
  /** Whole granules. @throws LabError ENOSPC */
  reserve(sizeBytes: number, mask: number, site: string): Iova;
  /** Maps the buffer at `iova`, whose offset in the granule is the buffer's. @throws LabError as `DmaPath.map`; nothing is mapped then */
  link(iova: Iova, entry: SgEntry, request: PathRequest): PathMapping;
  /** @returns false when part of it had gone already: what is left may still be reached, and must not be released */
  unlink(mapping: PathMapping, site: string): boolean;
  release(iova: Iova, sizeBytes: number): void;
}
