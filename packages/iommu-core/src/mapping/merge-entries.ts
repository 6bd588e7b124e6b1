/** Scatter lists: physically consecutive entries are one run (drivers/iommu/iommu.c, iommu_map_sg). */
import { LabError } from '@iommu-lab/machine';

/** A physically contiguous piece of a buffer. */
export interface ScatterEntry {
  readonly address: number;
  readonly length: number;
}

/** Entries with consecutive ones merged. @throws LabError EINVAL on an entry without bytes */
export function mergeEntries(entries: readonly ScatterEntry[]): readonly ScatterEntry[] {
  const runs: { readonly address: number; length: number }[] = [];
  let last: (typeof runs)[number] | undefined;
  for (const { address, length } of entries) {
    if (!(length > 0)) throw new LabError('EINVAL', 'an entry without bytes', { address, length });
    if (last !== undefined && last.address + last.length === address) {
      last.length += length;
    } else {
      last = { address, length };
      runs.push(last);
    }
  }
  return runs;
}
