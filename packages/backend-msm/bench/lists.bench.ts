/** Scatter lists of 256 pages no two of which are neighbours. */
import { benchCase, type BenchCase, type PreparedCase } from '@iommu-lab/bench';
import { READ_WRITE, type ScatterEntry } from '@iommu-lab/iommu-core';
import { PAGE_BYTES, PageRig, SECTION_BYTES, SMALL, floorOf, type Pages } from './pages.ts';

const LIST = 256;
const LISTS: Pages = { ...SMALL, count: 64 * LIST };
const RAM_BASE = 0x80000000;

/** The cases. */
export default [
  benchCase({
    name: 'map a list of 256 entries, by entry',
    operations: LISTS.count,
    floor: floorOf('map lists', LISTS),
    prepare: (): PreparedCase => {
      const rig = new PageRig(LISTS);
      const lists = makeLists();
      return {
        run: () => mapLists(rig, lists),
        undo: () => void unmapLists(rig, lists),
        verify: () => {
          mapLists(rig, lists);
          check(rig, lists);
          unmapLists(rig, lists);
        },
      };
    },
  }),
  benchCase({
    name: 'unmap a list of 256 entries, by entry',
    operations: LISTS.count,
    floor: floorOf('unmap lists', LISTS),
    prepare: (): PreparedCase => {
      const rig = new PageRig(LISTS);
      const lists = makeLists();
      mapLists(rig, lists);
      return {
        run: () => unmapLists(rig, lists),
        undo: () => void mapLists(rig, lists),
        verify: () => check(rig, lists),
      };
    },
  }),
] as readonly BenchCase[];

type Lists = readonly (readonly ScatterEntry[])[];

function makeLists(): Lists {
  return Array.from({ length: LISTS.count / LIST }, (_, list) =>
    Array.from({ length: LIST }, (_entry, i) => ({
      address: RAM_BASE + (Math.imul(list * LIST + i, 40503) & 0xffff) * PAGE_BYTES,
      length: PAGE_BYTES,
    })),
  );
}

function mapLists(rig: PageRig, lists: Lists): number {
  for (let i = 0; i < lists.length; i++)
    rig.domain.mapSg(rig.iova + i * SECTION_BYTES, lists[i] as Lists[number], READ_WRITE);
  let sum = 0;
  for (let i = 0; i < lists.length; i++)
    sum = (sum + rig.leafAt(0, rig.iova + i * SECTION_BYTES + PAGE_BYTES)) | 0;
  return sum;
}

function unmapLists({ domain, iova }: PageRig, lists: Lists): number {
  let sum = 0;
  for (let i = 0; i < lists.length; i++)
    sum = (sum + domain.unmap(iova + i * SECTION_BYTES, LIST * PAGE_BYTES)) | 0;
  return sum;
}

function check(rig: PageRig, lists: Lists): void {
  lists.flat().forEach(({ address }, i) => {
    if (rig.domain.iovaToPhys(rig.iova + i * PAGE_BYTES) !== address) throw new Error(`entry ${i}`);
  });
}
