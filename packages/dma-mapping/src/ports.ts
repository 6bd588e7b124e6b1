/**
 * What this layer asks of its neighbours, as narrow ports. `Iommu` and `IommuDomain` of iommu-core and `FrameAllocator`
 * of kernel-mm satisfy them as they are; a test can plug something smaller.
 */
import type { Device, ReservedRegion } from '@iommu-lab/driver-core';
import type { Gather, IommuCapabilities, Protection } from '@iommu-lab/iommu-core';
import type { CacheMaintenance, Iova, MemoryPort, PhysAddr } from '@iommu-lab/machine';
import type { BouncePool } from './bounce/bounce-pool.ts';
import type { DmaOps, SgEntry } from './dma-ops.ts';
import type { FlushQueueOptions } from './paths/flush-queue.ts';
import type { DmaPath } from './paths/path.ts';

/** Page sizes and aperture: what the IOVA space of a domain is made from. */
export type IovaGeometry = Pick<IommuCapabilities, 'pageSizes' | 'aperture'>;

/** The domain that a device's mappings go to. Ranges given to it are whole granules. */
export interface DmaDomain {
  readonly kind: 'paging' | 'identity' | 'blocked' | 'sva';
  readonly capabilities: IovaGeometry;
  /** @throws LabError ENOMEM, EEXIST, EINVAL; nothing is mapped then. */
  map(iova: Iova, address: PhysAddr, sizeBytes: number, protection: Protection, by?: string): void;
  /** Maps the entries one behind the other. @returns bytes mapped. @throws LabError as `map` */
  mapSg(iova: Iova, entries: readonly SgEntry[], protection: Protection, by?: string): number;
  /** Unmaps, and returns when no access can be translated by what is gone. @returns bytes unmapped */
  unmap(iova: Iova, sizeBytes: number, by?: string): number;
  /** Unmaps without the wait: hardware may go on using what is gone until `sync(gather)`. @returns bytes unmapped */
  unmapFast(iova: Iova, sizeBytes: number, gather: Gather, by?: string): number;
  /** Returns when no access can be translated by what `gather` holds; empties it. */
  sync(gather: Gather): void;
}

/** Who knows where a device is mapped while nobody has asked for another domain. */
export interface DmaIommu {
  dmaMappingsOf(device: Device): DmaDomain | undefined;
  /** IOVAs that must not be handed out to the device; none unless given. */
  reservedRegionsOf?(device: Device): readonly ReservedRegion[];
}

/** Where coherent memory comes from. */
export interface FrameSource {
  /** One frame of 4096 bytes. @throws LabError ENOMEM */
  allocate(): PhysAddr;
  /** The lowest run at or above `lowest`, 0 unless given. @throws LabError ENOMEM */
  allocateContiguous(sizeBytes: number, alignBytes: number, lowest?: number): PhysAddr;
  free(address: PhysAddr, sizeBytes?: number): void;
}

/** The CPU's two ways to memory. */
export interface CpuMemory {
  readonly cached: MemoryPort;
  readonly uncached: MemoryPort;
}

/**
 * `strict`: an unmap returns when the hardware has forgotten the mapping. `deferred`: invalidations are queued and done
 * together, and until then the device reaches what was unmapped. Devices that are not trusted are always strict.
 */
export type Invalidation = 'strict' | 'deferred';

/** Everything the layer is plugged to. */
export interface DmaWiring {
  /** Without it every device is mapped directly. */
  readonly iommu?: DmaIommu;
  readonly frames: FrameSource;
  readonly memory: CpuMemory;
  /** Absent on a machine whose CPU has no cache, or all of whose devices snoop it. */
  readonly maintenance?: CacheMaintenance;
  /** Lowest and highest address of RAM; a mask below the first reaches nothing. All below 4 GiB unless given. */
  readonly firstRamAddress?: number;
  readonly lastRamAddress?: number;
  /** `strict` unless given. */
  readonly invalidation?: Invalidation;
  /** Of deferred invalidation. */
  readonly flushQueue?: Partial<FlushQueueOptions>;
  /** CPUs with IOVA magazines and flush queues of their own; 1 unless given. `World.currentCpu` counts from 0. */
  readonly cpus?: number;
  /** Without it what a device cannot address is refused, and unaligned buffers of devices that are not trusted are too. */
  readonly bounce?: BouncePool;
  /** Devices all of whose direct mappings are bounced (`swiotlb=force`, a restricted pool); none unless given. */
  readonly forceBounce?: (device: Device) => boolean;
  /** A bus's own way to memory for a device; undefined: the layer chooses. */
  readonly pathOf?: (device: Device) => DmaPath | undefined;
  /** Checks every call of every device. */
  readonly debug?: DmaChecker;
}

/** What the layer asks of a checker (`DmaDebug`). */
export interface DmaChecker {
  /** The operations a driver gets instead of `ops`. */
  wrap(device: Device, ops: DmaOps): DmaOps;
  /** The device's driver has gone. */
  released(device: Device): void;
}
