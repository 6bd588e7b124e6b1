/** IOVAs of a device that are not free to use (the kernel's struct iommu_resv_region). */

/**
 * `direct`: always in use by the device, and must lead to the same physical address (a boot frame buffer);
 * `direct-relaxable`: the same, but may be dropped for another owner; `reserved`: never reaches memory;
 * `msi`: the hardware's own doorbell window, untranslated; `sw-msi`: where software maps doorbells.
 */
export type ReservedRegionKind = 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi';

export interface ReservedRegion {
  /** For people: `splash screen`. */
  readonly name: string;
  readonly kind: ReservedRegionKind;
  /** First IOVA. */
  readonly iova: number;
  readonly sizeBytes: number;
}
