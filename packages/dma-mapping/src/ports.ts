/**
 * What this layer asks of its neighbours, as narrow ports. `Iommu` and `IommuDomain` of iommu-core and `FrameAllocator`
 * of kernel-mm satisfy them as they are; a test can plug something smaller.
 */
import type { Device, ReservedRegion } from '@iommu-lab/driver-core';
import type { IommuCapabilities, Protection } from '@iommu-lab/iommu-core';
import type { CacheMaintenance, Iova, MemoryPort, PhysAddr } from '@iommu-lab/machine';
import type { SgEntry } from './dma-ops.ts';

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
  /** @throws LabError ENOMEM */
  allocateContiguous(sizeBytes: number, alignBytes: number): PhysAddr;
  free(address: PhysAddr, sizeBytes?: number): void;
}

/** The CPU's two ways to memory. */
export interface CpuMemory {
  readonly cached: MemoryPort;
  readonly uncached: MemoryPort;
}

/** Everything the layer is plugged to. */
export interface DmaWiring {
  /** Without it every device is mapped directly. */
  readonly iommu?: DmaIommu;
  readonly frames: FrameSource;
  readonly memory: CpuMemory;
  /** Absent on a machine whose CPU has no cache, or all of whose devices snoop it. */
  readonly maintenance?: CacheMaintenance;
  /** Lowest address of RAM; a mask below it reaches nothing. 0 unless given. */
  readonly firstRamAddress?: number;
}
