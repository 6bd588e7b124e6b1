/** What the board tells the SMMU driver about one instance: the kernel's `struct msm_iommu_dev`, filled in. */
import { slot, type Slot } from '@iommu-lab/driver-core';
import type { MsmIommuContext } from './iommu-context.ts';

export interface MsmSmmuPlatformData {
  /** Key by which endpoints name this instance (`rot`). */
  readonly provider: string;
  /** Contexts in use, in table order; an instance may have more banks than contexts. */
  readonly contexts: readonly MsmIommuContext[];
  /** Context banks of the hardware. */
  readonly contextBanks: number;
  /** Clock of the registers; all instances share one (`smmu_pclk`). */
  readonly interfaceClock: string;
  /** Clock of the translation path, where there is one (`vfe_axi`). Switched on after the interface clock. */
  readonly coreClock?: string;
}

/** Where an SMMU instance's device carries its platform data. */
export const PLATFORM_DATA: Slot<MsmSmmuPlatformData> = slot('MSM SMMU platform data');
