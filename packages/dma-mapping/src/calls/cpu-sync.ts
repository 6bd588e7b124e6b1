/**
 * Cache maintenance at the two hand-overs of a streaming buffer. Only for devices that do not snoop the CPU's cache.
 *
 * | direction     | to the device | back to the CPU |
 * |---------------|---------------|-----------------|
 * | to-device     | clean         | nothing         |
 * | from-device   | invalidate    | invalidate      |
 * | bidirectional | clean         | invalidate      |
 *
 * Why each of them: *clean*, or the device reads what memory held before the CPU's stores. *Invalidate before*, or a dirty
 * line is evicted later, over what the device wrote. *Invalidate after*, or the CPU hits a line that was filled
 * speculatively while the device was writing. (The kernel's arch_sync_dma_for_device and arch_sync_dma_for_cpu as on
 * ARMv7: v7_dma_clean_range, v7_dma_inv_range in arch/arm/mm/cache-v7.S.)
 */
import { alignDown, alignUp, type CacheMaintenance, offsetBy, type PhysAddr } from '@iommu-lab/machine';
import type { DmaDirection, SgEntry } from '../dma-ops.ts';

/** The CPU is done with these pieces; the device is next. */
export function syncForDevice(
  maintenance: CacheMaintenance,
  pieces: readonly SgEntry[],
  direction: DmaDirection,
): void {
  for (const { address, length } of pieces) {
    if (direction === 'from-device') invalidate(maintenance, address, length);
    else maintenance.clean(address, length);
  }
}

/** The device is done with these pieces; the CPU is next. */
export function syncForCpu(
  maintenance: CacheMaintenance,
  pieces: readonly SgEntry[],
  direction: DmaDirection,
): void {
  if (direction === 'to-device') return;
  for (const { address, length } of pieces) invalidate(maintenance, address, length);
}

/**
 * Drops the lines of a range. A first or last line that is not all inside belongs to somebody else too: it is written back
 * before it is dropped, so that the neighbour's stores are not lost. (If the neighbour stores *while* the device owns the
 * buffer, one of the two loses: buffers that a device writes should not share lines.)
 */
function invalidate(maintenance: CacheMaintenance, start: PhysAddr, sizeBytes: number): void {
  const { lineBytes } = maintenance;
  const end = offsetBy(start, sizeBytes);
  const firstWhole = alignUp(start, lineBytes);
  const endWhole = alignDown(end, lineBytes);
  if (firstWhole !== start) maintenance.cleanInvalidate(alignDown(start, lineBytes), lineBytes);
  if (endWhole !== end && endWhole >= firstWhole) maintenance.cleanInvalidate(endWhole, lineBytes);
  if (endWhole > firstWhole) maintenance.invalidate(firstWhole, endWhole - firstWhole);
}
