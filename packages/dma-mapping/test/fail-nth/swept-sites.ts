/** Which steps can fail under each call, on each way: what the sweep has found, and must find again. */
import type { CallGroup } from './calls.ts';

const MAP = ['flat-iommu.table', 'iommu-core.journal', 'iommu-core.map'] as const;
const IOVA_MAP = ['dma-mapping.iova', ...MAP] as const;
const MMAP = [
  'kernel-mm.contiguous',
  'kernel-mm.mmap-frames',
  'kernel-mm.table',
  'page-table.table',
] as const;
const RUN = ['dma-mapping.allocation', 'kernel-mm.contiguous'] as const;
const CONFIGURE = ['iommu-core.attach', 'iommu-core.domain', 'iommu-core.group'] as const;
const POOL = ['dma-mapping.bounce-memory', 'kernel-mm.contiguous'] as const;

type Sites = Readonly<Partial<Record<CallGroup, readonly string[]>>>;

const DIRECT: Sites = {
  streaming: [],
  resource: [],
  'scattered memory': RUN,
  'contiguous memory': RUN,
  block: [...RUN, 'dma-mapping.pool'],
  mmap: MMAP,
};
const IOMMU: Sites = {
  streaming: IOVA_MAP,
  resource: IOVA_MAP,
  'scattered memory': [...IOVA_MAP, 'dma-mapping.allocation', 'kernel-mm.frame'],
  'contiguous memory': [...IOVA_MAP, ...RUN],
  block: [...IOVA_MAP, 'dma-mapping.allocation', 'kernel-mm.frame', 'dma-mapping.pool'],
  mmap: MMAP,
  reserve: ['dma-mapping.iova'],
  link: MAP,
  configure: CONFIGURE,
};
const ENTRY = 'dma-mapping.debug-entry';
const BOUNCE = 'dma-mapping.bounce';

export const SWEPT_SITES: Readonly<Record<string, Sites>> = {
  direct: DIRECT,
  'IOMMU, strict': IOMMU,
  'IOMMU, deferred': { ...IOMMU, configure: [...CONFIGURE, 'dma-mapping.flush-queue'] },
  'IOMMU, checked': {
    streaming: [...IOVA_MAP, ENTRY],
    resource: [...IOVA_MAP, ENTRY],
    'scattered memory': [...(IOMMU['scattered memory'] ?? []), ENTRY],
    'contiguous memory': [...(IOMMU['contiguous memory'] ?? []), ENTRY],
    block: [...(IOMMU.block ?? []), ENTRY],
    mmap: MMAP,
    reserve: ['dma-mapping.iova'],
    link: [...MAP, ENTRY],
  },
  'bounced, forced': { ...DIRECT, streaming: [BOUNCE], 'bounce pool': POOL },
  'bounced, forced, pool grows': { ...DIRECT, streaming: [BOUNCE, ...POOL] },
  'bounced, out of reach': { ...DIRECT, streaming: [BOUNCE], 'bounce pool': POOL },
  'not trusted': {
    ...IOMMU,
    streaming: [...IOVA_MAP, BOUNCE],
    link: [...MAP, BOUNCE],
    'bounce pool': POOL,
  },
};

/** All of them. */
export const ALL_SWEPT_SITES: ReadonlySet<string> = new Set(
  Object.values(SWEPT_SITES).flatMap((sites) => Object.values(sites).flat()),
);
