/** Where an IOVA leads, by the tables. */
import { Draws, benchCase, type BenchCase, type PreparedCase } from '@iommu-lab/bench';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { PageRig, SECTIONS, SMALL, floorOf, type Pages } from './pages.ts';

const LOOKUPS = 65536;

/** The cases. */
export default [
  lookups('iova-to-phys, random small pages of 64 K', SMALL),
  lookups('iova-to-phys, random sections of 2 K', { ...SECTIONS, tables: 1 }),
] as readonly BenchCase[];

function lookups(name: string, pages: Pages): BenchCase {
  return benchCase({
    name,
    operations: LOOKUPS,
    floor: floorOf('look up', pages),
    prepare: (): PreparedCase => {
      const rig = new PageRig(pages);
      const { domain, iova, address, sizeBytes } = rig;
      domain.map(iova, address, sizeBytes, READ_WRITE);
      const draws = new Draws();
      const addresses = Float64Array.from({ length: LOOKUPS }, () => {
        const page = draws.below(pages.count);
        return iova + page * pages.pageBytes + draws.below(1024) * 4;
      });
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < LOOKUPS; i++) {
            const found = domain.iovaToPhys(addresses[i] as number);
            if (found === undefined) throw new Error('nothing is mapped there');
            sum = (sum + found) | 0;
          }
          return sum;
        },
        verify: () => {
          for (const at of addresses)
            if (domain.iovaToPhys(at) !== address + (at - iova)) throw new Error(at.toString(16));
        },
      };
    },
  });
}
