/** A stretch of a bounce pool that stands for a buffer. */
import type { PhysAddr } from '@iommu-lab/machine';
import type { DmaDirection } from '../dma-ops.ts';

/**
 * Why a buffer is not given to the device itself: it lies above what the device can address; everything is (the pool is forced
 * on the device); or part of its granule belongs to somebody else and the device is not trusted.
 */
export type BounceReason = 'out-of-reach' | 'forced' | 'untrusted-edge';

/** What a mapping needs of the pool. */
export interface BounceRequest {
  /** The buffer it stands for. */
  readonly original: PhysAddr;
  /** At least 1. */
  readonly sizeBytes: number;
  readonly reason: BounceReason;
  /** Who maps, for reports. */
  readonly site: string;
  readonly deviceName: string;
  readonly direction: DmaDirection;
  /** Highest physical address the device reaches; the slot ends at or below it. */
  readonly limit: number;
  /** The slot starts at a multiple of this plus one, and owns all up to the next such multiple behind its end. 0: any. */
  readonly allocAlignMask: number;
  /** These address bits of the slot are those of the buffer. */
  readonly minAlignMask: number;
  /** The slot crosses no multiple of this plus one, as the device addresses it. */
  readonly segmentBoundaryMask: number;
  /** The device's address of a byte of the pool less the CPU's; 0 unless given. */
  readonly busOffset?: number;
}

/** What stands for the buffer until it is released. */
export interface BounceSlot {
  /** Where the buffer's first byte is in the pool; what the device is given (after translation). */
  readonly address: PhysAddr;
  readonly original: PhysAddr;
  readonly sizeBytes: number;
  readonly reason: BounceReason;
  readonly site: string;
  readonly deviceName: string;
}
