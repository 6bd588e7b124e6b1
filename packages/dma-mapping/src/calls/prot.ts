/** What a device may do with a mapping (the kernel's dma_info_to_prot, drivers/iommu/dma-iommu.c). */
import type { Protection } from '@iommu-lab/iommu-core';
import type { DmaDirection } from '../dma-ops.ts';

/**
 * Rights for a direction: to the device it reads, from the device it writes, both ways it may do both. Accesses of a
 * device that snoops are cacheable, but not to registers.
 */
export function protectionFor(
  direction: DmaDirection,
  kind: { readonly isCoherent: boolean; readonly isResource?: boolean; readonly isPrivileged?: boolean },
): Protection {
  return {
    read: direction !== 'from-device',
    write: direction !== 'to-device',
    ...(kind.isResource === true ? { mmio: true } : kind.isCoherent && { cacheable: true }),
    ...(kind.isPrivileged === true && { privileged: true }),
  };
}
