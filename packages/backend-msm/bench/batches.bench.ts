/** One call, many pages: what a page costs. */
import { benchCase, type BenchCase, type PreparedCase, type Target } from '@iommu-lab/bench';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { LARGE, PageRig, SECTIONS, SMALL, SUPERSECTIONS, floorOf, type Pages } from './pages.ts';

/** Less than the smallest object there is: nothing is allocated for each page. (A table is, and the call's own record.) */
const NOTHING_PER_PAGE: Target = { kind: 'bytes', most: 4 };

/** From 1 MiB to all there is but its last 64 KiB. */
const EXTENTS: readonly (readonly [string, Pages])[] = [
  ['1 MiB', { ...SMALL, count: 256, tables: 16 }],
  ['16 MiB', { ...SMALL, count: 4096, tables: 4 }],
  ['256 MiB', { ...SMALL, count: 65536 }],
  ['4 GiB', { ...SMALL, count: 1048560 }],
];

/** The cases. */
export default [
  ...mapAndUnmap('4 KiB', SMALL, [{ kind: 'ns', most: 30 }, NOTHING_PER_PAGE]),
  ...mapAndUnmap('64 KiB', LARGE, []),
  ...mapAndUnmap('1 MiB', SECTIONS, [NOTHING_PER_PAGE]),
  ...mapAndUnmap('16 MiB', SUPERSECTIONS, []),
  ...EXTENTS.map(([name, pages], i) => both(`map and unmap ${name} of 4 KiB pages`, pages, i > 1)),
  ...mapAndUnmap('4 KiB, non-coherent walker', { ...SMALL, count: 16384, storage: 'cached' }, []),
  ...mapAndUnmap('4 KiB, walker snoops the cache', { ...SMALL, count: 16384, storage: 'snooped' }, []),
] as readonly BenchCase[];

function mapAndUnmap(name: string, pages: Pages, targets: readonly Target[]): BenchCase[] {
  const operations = pages.count * pages.tables;
  return [
    benchCase({
      name: `map ${name}`,
      operations,
      floor: floorOf('map', pages),
      targets,
      prepare: (): PreparedCase => {
        const rig = new PageRig(pages);
        return {
          run: () => {
            mapAll(rig);
            return rig.samples();
          },
          undo: () => void unmapAll(rig),
          verify: () => {
            mapAll(rig);
            rig.check(true);
            unmapAll(rig);
            rig.check(false);
          },
        };
      },
    }),
    benchCase({
      name: `unmap ${name}`,
      operations,
      floor: floorOf('unmap', pages),
      targets,
      prepare: (): PreparedCase => {
        const rig = new PageRig(pages);
        mapAll(rig);
        return {
          run: () => (unmapAll(rig) + rig.samples()) | 0,
          undo: () => mapAll(rig),
          verify: () => {
            rig.check(true);
            unmapAll(rig);
            rig.check(false);
            mapAll(rig);
          },
        };
      },
    }),
  ];
}

/** An operation is a page that comes and goes. */
function both(name: string, pages: Pages, isCompared: boolean): BenchCase {
  const flat: Target = { kind: 'case', name: 'map and unmap 16 MiB of 4 KiB pages', most: 1.25 };
  return benchCase({
    name,
    operations: pages.count * pages.tables,
    floor: floorOf('map and unmap', pages),
    targets: isCompared ? [flat] : [],
    prepare: (): PreparedCase => {
      const rig = new PageRig(pages);
      const { iova, address, sizeBytes, domains } = rig;
      return {
        run: () => {
          let sum = 0;
          for (let bank = 0; bank < domains.length; bank++) {
            const domain = domains[bank] as (typeof domains)[number];
            domain.map(iova, address, sizeBytes, READ_WRITE);
            sum = (sum + rig.leafAt(bank, iova)) | 0;
            sum = (sum + domain.unmap(iova, sizeBytes)) | 0;
          }
          return sum;
        },
        verify: () => {
          mapAll(rig);
          rig.check(true);
          unmapAll(rig);
          rig.check(false);
        },
      };
    },
  });
}

function mapAll({ domains, iova, address, sizeBytes }: PageRig): void {
  for (const domain of domains) domain.map(iova, address, sizeBytes, READ_WRITE);
}

function unmapAll({ domains, iova, sizeBytes }: PageRig): number {
  let sum = 0;
  for (const domain of domains) sum = (sum + domain.unmap(iova, sizeBytes)) | 0;
  return sum;
}
