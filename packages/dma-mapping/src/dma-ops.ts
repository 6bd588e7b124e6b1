/**
 * What device drivers call. A driver asks `getDmaOps(device)` and never learns whether a mapping went through an IOMMU,
 * a bounce buffer or nothing at all.
 *
 * Buffers are named by physical address (the kernel's linear map is the identity here). Between map (or sync-for-device)
 * and unmap (or sync-for-CPU) a buffer belongs to the device. (Documentation/core-api/dma-api.rst, kernel/dma/mapping.c.)
 */
import type { DmaParameters } from '@iommu-lab/driver-core';
import type { Process } from '@iommu-lab/kernel-mm';
import type { Iova, PhysAddr, VirtAddr } from '@iommu-lab/machine';

/** The kernel's fourth, DMA_NONE, is no direction to map with: EINVAL, as any other word. */
export type DmaDirection = 'to-device' | 'from-device' | 'bidirectional';

/** What a map call returns when it failed and was asked for `errorAsValue`: all ones. */
export const DMA_MAPPING_ERROR: Iova = Number.MAX_SAFE_INTEGER as Iova;

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

/** A scattered buffer together with its mapping (struct sg_table). */
export interface SgTable {
  readonly entries: readonly SgEntry[];
  /** As the device addresses it; empty while it is not mapped. Written by the DMA calls. */
  segments: readonly DmaSegment[];
}

/** The kernel's DMA_ATTR_* that mean something here, and who calls. */
export interface MapOptions {
  /** Who maps, for reports: `rot: source frame`. The device's name unless given. */
  readonly site?: string;
  /** No cache maintenance and no copy to or from a bounce buffer; the caller does its own (DMA_ATTR_SKIP_CPU_SYNC). */
  readonly skipCpuSync?: boolean;
  /** Only privileged accesses of the device reach it (DMA_ATTR_PRIVILEGED). */
  readonly privileged?: boolean;
  /** Fail rather than need a sync or a bounce buffer (DMA_ATTR_REQUIRE_COHERENT). */
  readonly requireCoherent?: boolean;
  /** A checker is silent about cache lines shared with other such mappings (DMA_ATTR_DEBUGGING_IGNORE_CACHELINES). */
  readonly ignoreSharedLines?: boolean;
  /**
   * Single, page and resource maps return DMA_MAPPING_ERROR instead of throwing, as the kernel's do; the caller then owes
   * `mappingError`. Misuse (EINVAL) throws all the same.
   */
  readonly errorAsValue?: boolean;
}

/** The DMA_ATTR_* of allocations. */
export interface AllocOptions {
  /** Who allocates, for reports. The device's name unless given. */
  readonly site?: string;
  /** Only privileged accesses of the device reach it. */
  readonly privileged?: boolean;
  /** Contiguous in memory too, also behind an IOMMU (DMA_ATTR_FORCE_CONTIGUOUS). */
  readonly forceContiguous?: boolean;
  /** The CPU gets no view: the buffer is a cookie, its read and write are EINVAL (DMA_ATTR_NO_KERNEL_MAPPING). */
  readonly noKernelMapping?: boolean;
}

/** Memory allocated for DMA, contiguous for the device. `mmap` and `getSgTable` take any of them. */
export interface DmaBuffer {
  readonly dmaAddress: Iova;
  readonly sizeBytes: number;
}

/** Memory shared by CPU and device at all times, contiguous for both; uncached for the CPU unless the device snoops. */
export interface CoherentBuffer extends DmaBuffer {
  /** CPU access at a byte offset. @throws LabError EINVAL outside the buffer, freed, or without kernel mapping. */
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  read32(offset: number): number;
  write32(offset: number, value: number): void;
}

/** Memory that is allocated mapped, and synced like a streaming mapping. */
export interface NoncoherentBuffer extends DmaBuffer {
  readonly direction: DmaDirection;
  /** Where it lies; contiguous in memory. */
  readonly address: PhysAddr;
}

/** Scattered memory that is allocated mapped, and synced by `syncSgTableForCpu` and `ForDevice`. */
export interface NoncontiguousBuffer extends DmaBuffer {
  readonly direction: DmaDirection;
  /** Its pieces in memory, and one segment for the device. */
  readonly table: SgTable;
}

/** A range of IOVA space that its owner fills piece by piece (struct dma_iova_state). */
export interface IovaReservation {
  readonly address: Iova;
  readonly sizeBytes: number;
}

/** One device's DMA operations. Every size is in bytes. */
export interface DmaOps {
  /** Which implementation it is (`direct`, `iommu`, `bounce`, a bus's own); for reports only. */
  readonly kind: string;

  // Streaming mappings

  /**
   * Gives a physically contiguous buffer to the device.
   * @throws LabError EINVAL on size 0 or another direction; EOPNOTSUPP when coherence is required and not there; EIO when
   * the device cannot address the buffer and it cannot be bounced; ERANGE when its IOMMU cannot; ENOSPC without IOVA space;
   * EFAULT when what has to be bounced is no memory; ENOMEM without memory for tables or without a free bounce buffer.
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
  /** Gives registers to the device (another device's FIFO): no cache maintenance, never bounced. @throws LabError as `mapSingle` */
  mapResource(registers: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova;
  unmapResource(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void;

  /**
   * Gives a scattered buffer to the device. Behind an IOMMU the segments may be fewer than the entries: pieces that meet on
   * the granule become one, within `dmaParameters` of the device. Entries are not split: one that is longer than a segment may
   * be makes a segment that is too long, as in the kernel.
   * @throws LabError as `mapSingle`; nothing stays mapped then.
   */
  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[];
  /** Takes it back: all the segments that `mapSg` returned. @throws LabError EINVAL, as `unmapSingle`. */
  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection, options?: MapOptions): void;
  /**
   * `mapSg` of a table, which keeps the segments.
   * @throws LabError with one of the codes a driver has to know: EINVAL misuse, or never works; ENOMEM try again;
   * EOPNOTSUPP coherence is required; EIO anything else.
   */
  mapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void;
  unmapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void;

  /** The CPU may look at (part of) a mapped buffer. @throws LabError EINVAL when the range is not mapped. */
  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection, site?: string): void;
  /** The device may have it again. */
  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection, site?: string): void;
  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection, site?: string): void;
  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection, site?: string): void;
  syncSgTableForCpu(table: SgTable, direction: DmaDirection, site?: string): void;
  syncSgTableForDevice(table: SgTable, direction: DmaDirection, site?: string): void;

  /** Whether an address returned by a map call says that it failed. */
  mappingError(address: Iova): boolean;
  /** Whether syncs of this mapping do anything: no for a device that snoops, unless the mapping is bounced. */
  needSync(address: Iova): boolean;

  // Memory

  /** Zeroed memory for both. @throws LabError EINVAL, ENOMEM, ENOSPC */
  allocCoherent(sizeBytes: number, options?: AllocOptions): CoherentBuffer;
  /** @throws LabError EINVAL unless it is a live one of this device; EBUSY while a process has it mapped */
  freeCoherent(buffer: CoherentBuffer, options?: AllocOptions): void;
  /**
   * Zeroed cached memory, mapped for the device. It belongs to the CPU until the first sync-for-device.
   * @throws LabError as `allocCoherent`
   */
  allocNoncoherent(sizeBytes: number, direction: DmaDirection, options?: AllocOptions): NoncoherentBuffer;
  freeNoncoherent(buffer: NoncoherentBuffer, options?: AllocOptions): void;
  /** The same without being contiguous in memory, where there is an IOMMU. @throws LabError as `allocCoherent` */
  allocNoncontiguous(sizeBytes: number, direction: DmaDirection, options?: AllocOptions): NoncontiguousBuffer;
  freeNoncontiguous(buffer: NoncontiguousBuffer, options?: AllocOptions): void;
  /**
   * Maps (part of) an allocated buffer into a process: one area in memory, mapped for the device and for the user. The
   * process reads and writes a coherent buffer past the cache unless the device snoops.
   * @param offset and `sizeBytes`: the part; whole pages, all of it unless given
   * @throws LabError ENXIO when the part leaves the buffer; EINVAL when it is no live buffer of this device; ENOMEM
   */
  mmap(process: Process, buffer: DmaBuffer, offset?: number, sizeBytes?: number): VirtAddr;
  /** The pieces of memory of an allocated buffer, as a table that is not mapped. @throws LabError EINVAL as `mmap` */
  getSgTable(buffer: DmaBuffer): SgTable;

  // Masks and limits

  /**
   * Sets the highest address the device can drive, `2^n - 1`, for streaming and coherent mappings made from now on. What
   * is mapped above it stays mapped, and is taken back as usual. The mask outlives the driver, as in the kernel.
   * @throws LabError EINVAL when it is no such number; EIO when no memory can be reached with it.
   */
  setMask(mask: number): void;
  /** The same for streaming mappings alone. */
  setStreamingMask(mask: number): void;
  /** The same for coherent allocations alone. */
  setCoherentMask(mask: number): void;
  /** Smallest mask that reaches all that can be asked for: all RAM directly, 32 bits behind an IOMMU. */
  readonly requiredMask: number;
  /** Whether some memory is out of the device's reach, so that maps of it are bounced or fail. */
  readonly isAddressingLimited: boolean;
  /** Most bytes that one map can be sure to get; MAX_SAFE_INTEGER when there is no limit. */
  readonly maxMappingSize: number;
  /** Up to this many bytes a map is at its cheapest; never above `maxMappingSize`. */
  readonly optMappingSize: number;
  /** Pieces that meet on a multiple of this plus one may become one segment; 0: none do. */
  readonly mergeBoundary: number;
  /** Changes what the device's DMA engine asks of its buffers. @throws LabError EINVAL on a size below 1 or a mask that is none */
  setParameters(changes: Partial<DmaParameters>): void;

  // Two steps: IOVA space first, its memory piece by piece

  /** Takes IOVA space for `sizeBytes` from `buffer` on; undefined: use the ordinary calls (no IOMMU, or no space). */
  tryAllocIova(buffer: PhysAddr, sizeBytes: number, site?: string): IovaReservation | undefined;
  /**
   * Fills `sizeBytes` at `offset` of the reservation. The device may use it after `syncIova`.
   * @throws LabError EIO unless `buffer` lies on the granule where `offset` is not 0; EINVAL out of the reservation or on a reservation
   * that is none; EEXIST over a piece; EPERM when it would have to be bounced and may not; ENOMEM
   */
  linkIova(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void;
  /** What was linked in the range becomes usable for the device. @throws LabError EINVAL out of the reservation */
  syncIova(reservation: IovaReservation, offset: number, sizeBytes: number, site?: string): void;
  /** Takes pieces back, whole; the IOVA space stays. @throws LabError EINVAL unless the range was linked like that */
  unlinkIova(
    reservation: IovaReservation,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void;
  /**
   * Takes back what was linked in `[0, linkedBytes)` and then the IOVA space.
   * @throws LabError EINVAL unless that is all that is linked
   */
  destroyIova(
    reservation: IovaReservation,
    linkedBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void;
  /** Gives unused IOVA space back. @throws LabError EINVAL while something is linked */
  freeIova(reservation: IovaReservation, site?: string): void;

  // To look at

  /** Bytes mapped for the device now; 0 when a driver has cleaned up. */
  readonly mappedBytes: number;
  /** Bytes of IOVA space reserved by `tryAllocIova`; 0 when a driver has cleaned up. */
  readonly reservedBytes: number;
  /**
   * Whether `address` was unmapped and the hardware may still translate it: with deferred invalidation, until the flush.
   * False in strict mode.
   */
  isStale(address: Iova): boolean;
}
