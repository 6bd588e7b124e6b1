/** What an MSM SMMU can do under this driver. */
import type { IommuCapabilities } from '@iommu-lab/iommu-core';
import { LEAF_SIZES } from '@iommu-lab/page-table/layout';
import type { ResolvedMsmIommuConfig } from './config.ts';
import { ARMV7_SHORT } from './msm-process-table.ts';

const LAST_32_BIT = 0xffffffff;

/**
 * The manifest; what differs with the configuration is the table format's rights, coherence and stalling.
 * @param hasSpareBank whether some bank serves no context: a switch is one routing write then
 */
export function capabilitiesOf(config: ResolvedMsmIommuConfig, hasSpareBank: boolean): IommuCapabilities {
  const { accessPermissions, writesExecuteNever } = config.format;
  const { readWrite, readOnly, privilegedReadWrite, privilegedReadOnly } = accessPermissions;
  return {
    pageSizes: LEAF_SIZES, // R63
    aperture: { start: 0, last: LAST_32_BIT },
    lastPhysAddr: LAST_32_BIT,
    permissions: {
      readOnly: readOnly !== readWrite,
      writeOnly: false, // no AP code refuses reads and allows writes
      noExec: writesExecuteNever,
      privileged: privilegedReadWrite !== readWrite && privilegedReadOnly !== readOnly,
    },
    identity: true,
    switchKind: hasSpareBank ? 'atomic' : 'old-or-new',
    coherentWalk: config.coherentWalk,
    stall: config.stallFaults,
    pasids: 0,
    dirtyTracking: false,
    nesting: false,
    processFormats: config.stallFaults ? [ARMV7_SHORT] : [],
  };
}

/** Instances of one configuration accept each other's tables: format and walk attributes are what counts. */
export function tableKeyOf(config: ResolvedMsmIommuConfig): string {
  return `msm-smmu/${config.format.name}/${config.coherentWalk ? 'coherent' : 'non-coherent'}`;
}
