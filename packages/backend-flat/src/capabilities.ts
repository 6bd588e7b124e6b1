/** What this backend tells the core about its hardware: the manifest. The core refuses whatever is not in it. */
import type { IommuCapabilities } from '@iommu-lab/iommu-core';
import { FIRST_IOVA, LAST_IOVA, PAGE_BYTES } from './table-format.ts';

/** One page size that is not 4 KiB, a small window, reads and writes refused one by one, writes noted. No more. */
export const FLAT_CAPABILITIES: IommuCapabilities = {
  pageSizes: [PAGE_BYTES],
  aperture: { start: FIRST_IOVA, last: LAST_IOVA },
  lastPhysAddr: 0xffffffff,
  permissions: { readOnly: true, writeOnly: true, noExec: false, privileged: false },
  identity: false,
  switchKind: 'atomic',
  coherentWalk: true,
  stall: false,
  pasids: 0,
  dirtyTracking: true,
  nesting: false,
  processFormats: [],
};

/** Instances of this key take each other's tables: every flat IOMMU reads the one format there is. */
export const FLAT_TABLE_KEY = 'flat';
