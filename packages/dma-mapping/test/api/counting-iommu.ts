/** The flat IOMMU under a name of its own, with other geometry, and a count of the invalidations that it was told. */
import type { MemoryPort, World } from '@iommu-lab/machine';
import { FlatIommu } from '../support/flat-iommu.ts';

export interface CountingIommu {
  readonly flat: FlatIommu;
  /** So far. */
  invalidations: number;
}

export function countingIommu(
  world: World,
  seen: MemoryPort,
  name: string,
  geometry: {
    readonly granule: number | undefined;
    readonly aperture: { readonly start: number; readonly last: number } | undefined;
  },
): CountingIommu {
  // All its devices are one group.
  const flat = new FlatIommu(world, seen, { isolation: 'shared' });
  const counting: CountingIommu = { flat, invalidations: 0 };
  const createPagingTable = flat.createPagingTable.bind(flat);
  const { pageSizes, aperture } = flat.capabilities;
  Object.assign(flat, {
    name,
    provider: name,
    capabilities: {
      ...flat.capabilities,
      pageSizes: geometry.granule === undefined ? pageSizes : [geometry.granule],
      aperture: geometry.aperture ?? aperture,
    },
    createPagingTable: () => {
      const table = createPagingTable();
      const sync = table.sync.bind(table);
      table.sync = (gather) => {
        counting.invalidations++;
        sync(gather);
      };
      return table;
    },
  });
  return counting;
}
