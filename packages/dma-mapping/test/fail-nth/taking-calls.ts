/**
 * Every place in the sources that takes a resource or says that there is none, and the failpoint that stands on the way to it. A
 * place that is not in the table is one that no test can make fail.
 */

export interface TakingCall {
  readonly file: string;
  /** As it is found in the file, without spaces. */
  readonly call: string;
  readonly times: number;
  /** Failpoints, here or in the layer that is called. None: `because` says why it needs none. */
  readonly failpoints: readonly string[];
  readonly because?: string;
}

const DOMAIN_MAP = ['iommu-core.map', 'iommu-core.journal', 'flat-iommu.table'];
const ANY_PATH = ['dma-mapping.iova', 'dma-mapping.bounce', ...DOMAIN_MAP];
const ENOMEM = "newLabError('ENOMEM'";

export const TAKING_CALLS: readonly TakingCall[] = [
  {
    file: 'bounce/bounce-memories.ts',
    call: 'newBounceMemory(',
    times: 2,
    failpoints: ['dma-mapping.bounce-memory'],
  },
  {
    file: 'bounce/bounce-memory.ts',
    call: '.allocateContiguous(',
    times: 1,
    failpoints: ['dma-mapping.bounce-memory', 'kernel-mm.contiguous'],
  },
  { file: 'bounce/bounce-memory.ts', call: ENOMEM, times: 1, failpoints: ['dma-mapping.bounce-memory'] },
  { file: 'bounce/bounce-pool.ts', call: 'memories.take(', times: 1, failpoints: ['dma-mapping.bounce'] },
  { file: 'bounce/bounce-pool.ts', call: ENOMEM, times: 1, failpoints: ['dma-mapping.bounce'] },
  {
    file: 'calls/allocations.ts',
    call: '.allocateMemory(',
    times: 1,
    failpoints: ['dma-mapping.allocation', 'kernel-mm.frame', 'kernel-mm.contiguous'],
  },
  { file: 'calls/allocations.ts', call: 'path.map(', times: 1, failpoints: ANY_PATH },
  {
    file: 'calls/allocations.ts',
    call: '.mmapFrames(',
    times: 1,
    failpoints: ['kernel-mm.mmap-frames', 'kernel-mm.table', 'page-table.table'],
  },
  { file: 'calls/allocations.ts', call: ENOMEM, times: 1, failpoints: ['dma-mapping.allocation'] },
  { file: 'calls/device-mappings.ts', call: 'path.map(', times: 1, failpoints: ANY_PATH },
  { file: 'calls/reservations.ts', call: '.reserve(', times: 1, failpoints: ['dma-mapping.iova'] },
  {
    file: 'calls/reservations.ts',
    call: '#port.link(',
    times: 1,
    failpoints: ['dma-mapping.bounce', ...DOMAIN_MAP],
  },
  {
    file: 'iova/iova-allocator.ts',
    call: "newLabError('ENOSPC'",
    times: 1,
    failpoints: ['dma-mapping.iova'],
  },
  {
    file: 'paths/direct-path.ts',
    call: '.allocateContiguous(',
    times: 1,
    failpoints: ['kernel-mm.contiguous'],
  },
  {
    file: 'paths/direct-path.ts',
    call: ENOMEM,
    times: 1,
    failpoints: [],
    because: 'memory that was found lies out of reach: a question of masks, and it is freed again',
  },
  { file: 'paths/direct-path.ts', call: 'bounce.map(', times: 1, failpoints: ['dma-mapping.bounce'] },
  {
    file: 'paths/iommu-path.ts',
    call: '.allocateContiguous(',
    times: 2,
    failpoints: ['kernel-mm.contiguous'],
  },
  { file: 'paths/iommu-path.ts', call: 'frames.allocate(', times: 1, failpoints: ['kernel-mm.frame'] },
  { file: 'paths/iommu-path.ts', call: 'domain.map(', times: 1, failpoints: DOMAIN_MAP },
  { file: 'paths/iommu-path.ts', call: 'domain.mapSg(', times: 1, failpoints: DOMAIN_MAP },
  { file: 'paths/iommu-path.ts', call: 'space.allocate(', times: 1, failpoints: ['dma-mapping.iova'] },
  {
    file: 'paths/iommu-path.ts',
    call: ENOMEM,
    times: 1,
    failpoints: [],
    because: 'a domain that maps less than it was asked for; those of iommu-core throw',
  },
  { file: 'paths/iova-space.ts', call: 'allocator.allocate(', times: 1, failpoints: ['dma-mapping.iova'] },
  { file: 'paths/iova-space.ts', call: 'allocator.tryAllocate(', times: 1, failpoints: ['dma-mapping.iova'] },
  {
    file: 'paths/iova-space.ts',
    call: '.reserve(',
    times: 3,
    failpoints: [],
    because: 'takes IOVAs out of the space for good, and cannot want for any',
  },
  {
    file: 'paths/iova-space.ts',
    call: 'newFlushQueue(',
    times: 1,
    failpoints: ['dma-mapping.flush-queue'],
  },
  { file: 'paths/iova-space.ts', call: "newLabError('ENOSPC'", times: 1, failpoints: ['dma-mapping.iova'] },
  { file: 'paths/untrusted-edges.ts', call: 'pool.map(', times: 1, failpoints: ['dma-mapping.bounce'] },
  {
    file: 'pool/dma-pool.ts',
    call: '.allocCoherent(',
    times: 1,
    failpoints: ['dma-mapping.pool', 'dma-mapping.allocation'],
  },
  { file: 'pool/dma-pool.ts', call: ENOMEM, times: 2, failpoints: ['dma-mapping.pool'] },
];

/** What takes something, in sources without spaces. The checker passes calls on: what is taken is taken below it. */
export const TAKING: readonly RegExp[] = [
  /frames\.allocate\(/g,
  /\.allocateContiguous\(/g,
  /(allocator|space)\.(allocate|tryAllocate)\(/g,
  /(pool|bounce)\.map\(/g,
  /memories\.take\(/g,
  /domain\.map(Sg)?\(/g,
  /path\.map\(/g,
  /\.allocateMemory\(/g,
  /\.mmapFrames\(/g,
  /\.allocCoherent\(/g,
  /\.reserve\(/g,
  /#port\.link\(/g,
  /new(BounceMemory|FlushQueue)\(/g,
  /newLabError\('(ENOMEM|ENOSPC)'/g,
];
