/**
 * What device drivers call. A driver asks `getDmaOps(device)` and never learns whether a mapping went through an IOMMU,
 * a bounce buffer or nothing at all.
 *
 * Buffers are named by physical address (the kernel's linear map is the identity here). Between map (or sync-for-device)
 * and unmap (or sync-for-CPU) a buffer belongs to the device.
 */
import type { Iova, PhysAddr } from '@iommu-lab/machine';

export type DmaDirection = 'to-device' | 'from-device' | 'bidirectional';

/** A physically contiguous piece of a buffer. */
export interface SgEntry {
  readonly address: PhysAddr;
  readonly length: number;
}

/** A contiguous piece of a buffer as the device addresses it. */
export interface DmaSegment {
  readonly address: Iova;
  readonly length: number;
}

export interface MapOptions {
  /** Who maps, for reports: `rot: source frame`. The device's name unless given. */
  readonly site?: string;
  /** No cache maintenance; the caller does its own (DMA_ATTR_SKIP_CPU_SYNC). */
  readonly skipCpuSync?: boolean;
}

/** Memory shared by CPU and device at all times, contiguous for both; uncached for the CPU unless the device snoops. */
export interface CoherentBuffer {
  readonly dmaAddress: Iova;
  readonly sizeBytes: number;
  /** CPU access at a byte offset. @throws LabError EINVAL outside the buffer. */
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  read32(offset: number): number;
  write32(offset: number, value: number): void;
}

/** One device's DMA operations. Every size is in bytes. */
export interface DmaOps {
  /** Which implementation it is; for reports only. */
  readonly kind: string;

  /**
   * Gives a physically contiguous buffer to the device.
   * @throws LabError EINVAL on size 0; EIO when the device cannot address the buffer (mask); ERANGE when its IOMMU cannot;
   * ENOSPC without IOVA space; ENOMEM without memory for tables.
   */
  mapSingle(buffer: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova;
  /**
   * Takes it back, with the size and direction it was mapped with.
   * @throws LabError EINVAL when nothing was mapped like that; nothing changes then.
   */
  unmapSingle(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void;
  /** `mapSingle` of `sizeBytes` at `offset` in the page frame `page`. */
  mapPage(
    page: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): Iova;
  unmapPage(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void;

  /**
   * Gives a scattered buffer to the device. Behind an IOMMU the segments may be fewer than the entries: one, when every
   * inner boundary lies on the granule.
   * @throws LabError as `mapSingle`; nothing stays mapped then.
   */
  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[];
  /** Takes it back: the segments that `mapSg` returned. @throws LabError EINVAL, as `unmapSingle`. */
  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection, options?: MapOptions): void;

  /** The CPU may look at (part of) a mapped buffer. @throws LabError EINVAL when the range is not mapped. */
  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection): void;
  /** The device may have it again. */
  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection): void;
  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection): void;
  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection): void;

  /** Zeroed memory for both. @throws LabError EINVAL, ENOMEM, ENOSPC */
  allocCoherent(sizeBytes: number, options?: MapOptions): CoherentBuffer;
  freeCoherent(buffer: CoherentBuffer): void;

  /**
   * Sets the highest address the device can drive, `2^n - 1`, for streaming and coherent mappings made from now on. What
   * is mapped above it stays mapped, and is taken back as usual. The mask outlives the driver, as in the kernel.
   * @throws LabError EINVAL when it is no such number; EIO when no memory can be reached with it.
   */
  setMask(mask: number): void;
  /** The same for coherent allocations alone. @throws LabError EINVAL, EIO as `setMask` */
  setCoherentMask(mask: number): void;

  /** Bytes mapped for the device now; 0 when a driver has cleaned up. */
  readonly mappedBytes: number;
}
