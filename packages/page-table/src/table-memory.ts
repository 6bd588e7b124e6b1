import type { PhysAddr } from '@iommu-lab/machine';

/**
 * What a table writer needs of the memory its tables live in. Whoever owns the frames and the CPU's cache provides it;
 * stores go through the CPU's cache, so a walker that does not snoop sees them only after `clean`.
 */
export interface TableMemory {
  /** A table of `sizeBytes` (a power of two), aligned to its size, zeroed and cleaned. @throws LabError ENOMEM */
  allocate(sizeBytes: number): PhysAddr;
  free(table: PhysAddr, sizeBytes: number): void;
  read32(address: PhysAddr): number;
  write32(address: PhysAddr, word: number): void;
  /** Makes stores in the range visible to the walker. Does nothing where the walker snoops. */
  clean(start: PhysAddr, sizeBytes: number): void;
}
