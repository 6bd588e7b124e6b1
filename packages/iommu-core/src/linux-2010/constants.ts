/** The flags of include/linux/iommu.h, 2.6.35, with their names and values. */

/** Protection of a mapping. */
export const IOMMU_READ = 1;
export const IOMMU_WRITE = 2;
/** The device's accesses may be cached and snooped. */
export const IOMMU_CACHE = 4;

/** What `iommu_domain_has_cap` is asked: does the domain keep DMA coherent with the CPU's caches, whatever the device says? */
export const IOMMU_CAP_CACHE_COHERENCY = 1;
/** Are interrupts of its devices remapped? */
export const IOMMU_CAP_INTR_REMAP = 2;

/** The smallest page; `gfp_order` counts in powers of two of it. */
export const PAGE_SIZE = 4096;
