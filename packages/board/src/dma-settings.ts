/** How a system's kernel does DMA, as its boot options would say. */
import type { Invalidation } from '@iommu-lab/dma-mapping';

/** All of it has a default. */
export interface DmaSettings {
  /**
   * Behind an IOMMU: `strict`, an unmap returns when the hardware has forgotten the mapping; `deferred`, one invalidation serves
   * many, and until then the device reaches what was unmapped (`iommu.strict=0`). `strict` unless given.
   */
  readonly invalidation?: Invalidation;
  /**
   * Bounce buffers: `none`; `available` where a device does not reach a buffer; `forced` for all buffers of devices without
   * IOMMU (`swiotlb=force`). `none` unless given.
   */
  readonly bounce?: 'none' | 'available' | 'forced';
  /** Bytes of the pool of bounce buffers; 4 MiB unless given. */
  readonly bounceBytes?: number;
  /**
   * Every call of the DMA API is checked (CONFIG_DMA_API_DEBUG), every access of a device, and what the CPU does in
   * `System.kernelMemory`; false unless given.
   */
  readonly debug?: boolean;
}
