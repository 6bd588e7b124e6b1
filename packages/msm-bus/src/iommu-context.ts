/** The wiring of the SoC: which IOMMU context stands behind which bus master. It is soldered; nothing chooses it. */

import type { ReservedRegion } from '@iommu-lab/driver-core';

/**
 * One hard-wired context of an IOMMU: a bus master's accesses with these machine ids are translated by this bank.
 * The `struct msm_iommu` that the 2010 thread proposed to hang on a device.
 */
export interface MsmIommuContext {
  /** Name of the IOMMU instance (`rot`). */
  readonly provider: string;
  /** Name of the context, unique in the SoC (`rot_src`). It tells the master's use, not its number. */
  readonly context: string;
  /** Index of the context bank in the instance. */
  readonly bank: number;
  /** Machine ids (MIDs), 0..31, that are routed to the bank. */
  readonly machineIds: readonly number[];
}

/** What stands behind one device. One device can sit behind several contexts, at several IOMMUs. */
export interface WiringRow {
  /** Name of the device on the bus. */
  readonly device: string;
  readonly contexts: readonly MsmIommuContext[];
  /** What firmware says about the device's IOVAs (a splash screen that is scanned out from the start); none unless given. */
  readonly reservedRegions?: readonly ReservedRegion[];
}
