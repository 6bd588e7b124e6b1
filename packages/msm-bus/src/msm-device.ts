/** A bus master of the MSM SoC. */
import { Device } from '@iommu-lab/driver-core';
import type { MsmIommuContext } from './iommu-context.ts';

/**
 * A device with what the SoC wired to it: the thread's `struct msm_device { struct msm_iommu *iommu; }` around a
 * generic device. Only the bus and the MSM IOMMU driver look at `iommu`; everybody else sees `endpoints`.
 */
export class MsmDevice extends Device {
  /** The contexts behind the device; empty without IOMMU. Written by the bus when it configures the device. */
  iommu: readonly MsmIommuContext[] = [];
}
