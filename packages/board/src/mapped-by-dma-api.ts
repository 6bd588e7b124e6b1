/** Which accesses the checker of the DMA API may judge. */
import type { Device } from '@iommu-lab/driver-core';
import type { Iommu } from '@iommu-lab/iommu-core';

/**
 * Whether a device's addresses are those of the DMA API: not while it is attached to a domain of somebody else, whose accesses
 * the checker knows nothing of.
 */
export function isMappedByDmaApi(iommu: Iommu, device: Device): boolean {
  return iommu.domainOf(device) === iommu.defaultDomainOf(device);
}
