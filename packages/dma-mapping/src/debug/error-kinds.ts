/**
 * Every kind of mistake the checker knows: one table, which reports, documentation and tests are made from. The first 25
 * classes are those of the kernel's checker (kernel/dma/debug.c); the others need a model that sees CPU, bus and device.
 */

/** What is said about a kind, for people. */
export interface ErrorKind {
  /** The error class of the kernel's checker, by the order of ERRORS.md; undefined: the kernel cannot see it. */
  readonly kernelClass?: number;
  readonly title: string;
  /** Why it hurts on a real machine. */
  readonly harm: string;
  /** What to do. */
  readonly remedy: string;
}

/** Names a mistake; stable. */
export type DmaErrorKind =
  | 'unmap-of-error-value'
  | 'unmap-not-mapped'
  | 'unmap-wrong-size'
  | 'unmap-wrong-function'
  | 'free-wrong-handle'
  | 'unmap-wrong-count'
  | 'unmap-wrong-direction'
  | 'map-error-unchecked'
  | 'map-of-stack'
  | 'map-of-text'
  | 'map-of-no-memory'
  | 'map-of-vmalloc'
  | 'segment-too-long'
  | 'segment-crosses-boundary'
  | 'overlapping-line'
  | 'too-many-overlaps'
  | 'sync-not-mapped'
  | 'sync-too-long'
  | 'sync-wrong-direction'
  | 'sync-for-cpu-of-to-device'
  | 'sync-for-device-of-from-device'
  | 'sync-wrong-count'
  | 'left-at-release'
  | 'out-of-entries'
  | 'resource-is-memory'
  | 'page-is-device-private'
  | 'cpu-store-while-device-owns'
  | 'cpu-load-while-device-owns'
  | 'missing-sync-for-device'
  | 'neighbour-in-line'
  | 'cached-access-to-coherent'
  | 'cpu-use-of-freed-coherent'
  | 'device-use-of-freed-coherent'
  | 'device-use-after-unmap'
  | 'access-in-lazy-window'
  | 'device-wrote-to-device-only'
  | 'device-read-of-from-device'
  | 'device-access-never-mapped'
  | 'device-access-out-of-mapping'
  | 'iova-outside'
  | 'iova-link-over-linked'
  | 'iova-access-before-sync'
  | 'iova-unlink-not-linked'
  | 'iova-destroy-wrong-length'
  | 'iova-free-while-linked'
  | 'iova-use-after-destroy'
  | 'iova-left-at-release';

/** The table, in the order of ERRORS.md. */
export const DMA_ERROR_KINDS: Readonly<Record<DmaErrorKind, ErrorKind>> = {
  'unmap-of-error-value': {
    kernelClass: 1,
    title: 'The value of a failed map is unmapped',
    harm: 'The map failed, so nothing is there to take back. Where the value happens to look like an address, somebody else loses a mapping.',
    remedy: 'Ask mappingError() after the map, and neither use nor unmap the address when it says yes.',
  },
  'unmap-not-mapped': {
    kernelClass: 2,
    title: 'What is unmapped is not mapped',
    harm: 'A second unmap takes the IOVA away from whoever got it meanwhile; an address inside a mapping frees the wrong range.',
    remedy: 'Unmap once, with the very address that the map returned.',
  },
  'unmap-wrong-size': {
    kernelClass: 3,
    title: 'Unmapped or freed with another size',
    harm: 'Too little leaves pages in reach of the device and cache lines stale; too much takes away what a neighbour mapped.',
    remedy: 'Keep the size with the address, and pass the same to both calls.',
  },
  'unmap-wrong-function': {
    kernelClass: 4,
    title: 'Taken back by a function that does not belong to the map',
    harm: 'Each pair of calls does its own work: a list unmapped as a single buffer leaves all but its first segment mapped, coherent memory unmapped as a buffer is never freed.',
    remedy:
      'mapSingle/mapPage with unmapSingle/unmapPage, mapResource with unmapResource, mapSg with unmapSg, alloc with its own free, link with unlink or destroy.',
  },
  'free-wrong-handle': {
    kernelClass: 5,
    title: 'DMA memory is freed with another CPU handle',
    harm: 'The device address says one buffer and the CPU address another: pages that are still in use go back to the allocator.',
    remedy: 'Free with the buffer that the allocation returned.',
  },
  'unmap-wrong-count': {
    kernelClass: 6,
    title: 'A scatter list is unmapped with another number of segments',
    harm: 'The segments that are left out stay mapped for good. The usual cause is a list that was shortened to what the device had filled.',
    remedy: 'Unmap the list as it was mapped, whatever was used of it.',
  },
  'unmap-wrong-direction': {
    kernelClass: 7,
    title: 'Unmapped with another direction',
    harm: 'The direction chooses the cache maintenance: the wrong one leaves stale lines, or throws away what the CPU stored.',
    remedy: 'Pass the direction that was mapped.',
  },
  'map-error-unchecked': {
    kernelClass: 8,
    title: 'Nobody asked whether the map had failed',
    harm: 'It works until IOVA space or bounce buffers run out; then the device is sent to an address that is none.',
    remedy: 'Call mappingError() on the result of every map that returns its error as a value.',
  },
  'map-of-stack': {
    kernelClass: 9,
    title: 'A buffer on the stack is mapped',
    harm: 'The function returns and the device goes on writing into whoever calls next. A stack also shares its cache lines with local variables, and may not be physically contiguous.',
    remedy: 'Allocate the buffer.',
  },
  'map-of-text': {
    kernelClass: 10,
    title: 'Kernel text or read-only data is mapped',
    harm: 'A device that writes there changes code; one that reads shows it to the outside.',
    remedy: 'Copy into an allocated buffer and map that.',
  },
  'map-of-no-memory': {
    kernelClass: 11,
    title: 'An address that is no memory is mapped as a buffer',
    harm: "There is nothing to maintain in the cache and nothing to reach: the device gets bus errors, or somebody else's registers.",
    remedy: 'Map memory; registers go through mapResource.',
  },
  'map-of-vmalloc': {
    kernelClass: 12,
    title: 'A virtually mapped buffer is mapped as if it were contiguous',
    harm: 'Only its first page lies where the linear map says; the device gets the pages that happen to follow in memory.',
    remedy: 'Map its pages with mapPage or mapSg.',
  },
  'segment-too-long': {
    kernelClass: 13,
    title: 'A segment is longer than the device can take',
    harm: "The DMA engine's counter wraps: it moves the remainder only, or nothing.",
    remedy: 'Split the entries, or tell the real limit with setParameters({ maxSegmentBytes }).',
  },
  'segment-crosses-boundary': {
    kernelClass: 14,
    title: 'A segment crosses a boundary of the device',
    harm: "The engine's address counter wraps at the boundary and the rest of the transfer goes to its start.",
    remedy:
      'Split the entries at the boundary, or tell the real one with setParameters({ segmentBoundaryMask }).',
  },
  'overlapping-line': {
    kernelClass: 15,
    title: 'A cache line is mapped twice for writing by a device',
    harm: 'Maintenance for one mapping drops or overwrites what the other device wrote to the same line.',
    remedy: 'Give every buffer its own cache lines, and unmap before mapping again.',
  },
  'too-many-overlaps': {
    kernelClass: 16,
    title: 'A cache line is mapped more than eight times',
    harm: 'Nobody needs that many: most likely mappings are made and never taken back.',
    remedy: 'Look for the unmap that is missing.',
  },
  'sync-not-mapped': {
    kernelClass: 17,
    title: 'What is synced is not mapped, or not all of it',
    harm: 'No maintenance is done for bytes outside the mapping, or the maintenance is done to a neighbour.',
    remedy: 'Sync between map and unmap, within the mapping.',
  },
  'sync-too-long': {
    kernelClass: 18,
    title: 'A sync is longer than the mapping',
    harm: "The excess is somebody else's memory, whose cache lines are dropped.",
    remedy: 'Sync no more than was mapped.',
  },
  'sync-wrong-direction': {
    kernelClass: 19,
    title: 'Synced with another direction',
    harm: 'The direction chooses the cache maintenance; with the wrong one it may do nothing at all.',
    remedy: 'Pass the direction that was mapped.',
  },
  'sync-for-cpu-of-to-device': {
    kernelClass: 20,
    title: 'Memory the device only reads is synced for the CPU as if the device had written it',
    harm: "Lines are dropped that hold the CPU's own newest stores.",
    remedy: 'Sync with to-device, or map bidirectional if the device writes after all.',
  },
  'sync-for-device-of-from-device': {
    kernelClass: 21,
    title: 'Memory the device only writes is synced for the device as if it read it',
    harm: 'A line that is cleaned there is written over what the device has stored meanwhile.',
    remedy: 'Sync with from-device, or map bidirectional if the device reads after all.',
  },
  'sync-wrong-count': {
    kernelClass: 22,
    title: 'A scatter list is synced with another number of segments',
    harm: 'The segments that are left out are not maintained: their bytes are stale for one side.',
    remedy: 'Sync the list as it was mapped.',
  },
  'left-at-release': {
    kernelClass: 23,
    title: 'The driver is gone and its mappings are not',
    harm: 'The device still reaches memory that others will get. Each time the driver is bound again more is lost.',
    remedy: 'Stop the device in remove(), then take back every mapping and free every buffer.',
  },
  'out-of-entries': {
    kernelClass: 24,
    title: 'The checker has run out of entries and is off',
    harm: 'Nothing is reported from here on. So many live mappings are themselves a sign of a leak.',
    remedy: 'Look at liveMappings() for sites with many entries, or raise maxEntries.',
  },
  'resource-is-memory': {
    kernelClass: 25,
    title: 'Memory is mapped as registers',
    harm: 'mapResource does no cache maintenance: device and CPU see different bytes.',
    remedy: 'Map memory with mapSingle, mapPage or mapSg.',
  },
  'page-is-device-private': {
    kernelClass: 25,
    title: 'A page in the private memory of another device is mapped',
    harm: 'No bus address leads there; the page has to be migrated to memory first.',
    remedy: 'Migrate the page, or use the peer-to-peer calls.',
  },
  'cpu-store-while-device-owns': {
    title: 'The CPU stores to a buffer that the device has',
    harm: 'The device may read half of it. Or the dirty line is evicted later, over what the device wrote, or is dropped by the next sync.',
    remedy: 'Call syncForCpu before and syncForDevice after, or wait for the unmap.',
  },
  'cpu-load-while-device-owns': {
    title: 'The CPU looks at a buffer that the device has: a sync for the CPU is missing',
    harm: 'The load fills a cache line with what is there now. What the device writes later stays invisible, now or at the worst moment.',
    remedy: 'Call syncForCpu before looking, each time the device has written, or unmap first.',
  },
  'missing-sync-for-device': {
    title: 'The CPU stored to a mapped buffer, and a sync for the device is missing',
    harm: 'The stores sit in the cache: the device reads old bytes, or the next invalidation throws the new ones away.',
    remedy: 'Call syncForDevice after the last store and before the device may use the buffer.',
  },
  'neighbour-in-line': {
    title: 'The CPU stores next to a buffer that a device writes, in the same cache line',
    harm: "One of the two loses: evicting the line overwrites what the device wrote, invalidating it drops the CPU's store.",
    remedy: 'Align buffers that a device writes to cache lines at both ends, and keep variables out of them.',
  },
  'cached-access-to-coherent': {
    title: 'Coherent memory is touched through the cache',
    harm: 'The coherent view of a device that does not snoop is uncached. A cached copy beside it goes stale, and a dirty one is evicted over what the device wrote.',
    remedy: 'Use the view that the allocation returned.',
  },
  'cpu-use-of-freed-coherent': {
    title: 'The CPU uses coherent memory after it was freed',
    harm: 'The pages belong to somebody else by now.',
    remedy: 'Drop the handle where the buffer is freed.',
  },
  'device-use-of-freed-coherent': {
    title: 'The device uses coherent memory after it was freed',
    harm: 'The pages belong to somebody else by now; without an IOMMU nothing stops the device.',
    remedy: 'Stop the device, then free what it works on.',
  },
  'device-use-after-unmap': {
    title: 'The device uses a buffer after it was unmapped',
    harm: 'Blocked, it is a fault and a lost transfer. Not blocked, it is silent corruption of whatever the memory is used for now.',
    remedy: 'Wait until the device is done, or stop it, before unmapping.',
  },
  'access-in-lazy-window': {
    title: 'The device used a buffer after it was unmapped, and the IOMMU still let it',
    harm: "With deferred invalidation the old translation works until the flush: the access reached memory that is no longer the device's.",
    remedy: 'Stop the device before unmapping; use strict invalidation for devices that are not trusted.',
  },
  'device-wrote-to-device-only': {
    title: 'The device writes to a buffer that it was only to read',
    harm: 'An IOMMU may block it. Without one the bytes change in memory, and the CPU may never notice behind its cache.',
    remedy: 'Map bidirectional, or find out why the device writes there.',
  },
  'device-read-of-from-device': {
    title: 'The device reads a buffer that it was only to write',
    harm: 'What it reads was never cleaned from the cache: old bytes of whoever had the memory before.',
    remedy: 'Map bidirectional, or find out why the device reads there.',
  },
  'device-access-never-mapped': {
    title: 'The device uses an address that was never mapped for it',
    harm: 'Behind an IOMMU it is a fault; without one it hits whatever is at that address.',
    remedy:
      'Check how the address came to the device: a physical address, a truncated one, a descriptor never filled in.',
  },
  'device-access-out-of-mapping': {
    title: 'The device runs out of a mapping',
    harm: "The IOMMU protects whole pages only: up to the end of the page the neighbour's bytes are read or overwritten.",
    remedy: 'Give the device the length that was mapped, in its own units.',
  },
  'iova-outside': {
    title: 'A piece reaches out of its reservation',
    harm: 'It would be mapped over IOVAs that belong to another buffer.',
    remedy: 'Reserve the whole size; offset + size stays within it.',
  },
  'iova-link-over-linked': {
    title: 'A piece is linked over another one',
    harm: 'Two buffers claim one IOVA; the device gets the first or the second, depending on the TLB.',
    remedy: 'Unlink first, or advance the offset by what was linked.',
  },
  'iova-access-before-sync': {
    title: 'The device uses linked memory before syncIova',
    harm: 'The hardware may not have been told: it works on machines whose IOMMU caches nothing, and faults on others.',
    remedy: 'Call syncIova over all that was linked before the device starts.',
  },
  'iova-unlink-not-linked': {
    title: 'What is unlinked was not linked like that',
    harm: "Part of a piece cannot be taken back without the rest; what was never linked is nobody's.",
    remedy: 'Unlink whole pieces, with the offsets and sizes of the links.',
  },
  'iova-destroy-wrong-length': {
    title: 'A reservation is destroyed with a length that is not what is linked',
    harm: 'Too short leaves memory mapped under an IOVA that goes to the next caller; too long unmaps what is not there.',
    remedy: 'Keep count of what was linked and pass that.',
  },
  'iova-free-while-linked': {
    title: 'A reservation is freed while pieces are linked',
    harm: 'The IOVA goes to the next caller while the device still reaches the old memory through it.',
    remedy: 'Unlink first, or use destroyIova.',
  },
  'iova-use-after-destroy': {
    title: 'A reservation is used that is none, or none any more',
    harm: 'The IOVA belongs to another mapping by now.',
    remedy: 'Reserve again.',
  },
  'iova-left-at-release': {
    title: 'The driver is gone and its reservation is not',
    harm: 'IOVA space is lost for good, and what is linked there stays in reach of the device.',
    remedy: 'destroyIova in remove().',
  },
};
