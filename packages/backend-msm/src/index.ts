/** The MSM IOMMU driver: programs the hardware through its registers and keeps its tables. */
export {
  MSM_IOMMU_COMPATIBLE,
  MsmIommuDriver,
  type IommuCore,
  type MsmIommuDriverOptions,
} from './driver.ts';
export type { MsmIommuConfig } from './config.ts';
export type { MsmIommuInstance } from './instance.ts';
