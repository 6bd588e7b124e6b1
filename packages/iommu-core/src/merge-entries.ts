/** Scatter lists: physically consecutive entries are one run (drivers/iommu/iommu.c, iommu_map_sg). */
import { LabError } from '@iommu-lab/machine';

/** A physically contiguous piece of a buffer. */
export interface ScatterEntry {
  readonly address: number;
  readonly length: number;
}

/** Entries with consecutive ones merged. @throws LabError EINVAL on an entry without bytes */
export function mergeEntries(entries: readonly ScatterEntry[]): readonly ScatterEntry[] {
  const runs: ScatterEntry[] = [];
  for (const { address, length } of entries) {
    if (!(length > 0)) throw new LabError('EINVAL', 'an entry without bytes', { address, length });
    const last = runs.at(-1);
    if (last !== undefined && last.address + last.length === address) {
      runs[runs.length - 1] = { address: last.address, length: last.length + length };
    } else {
      runs.push({ address, length });
    }
  }
  return runs;
}
