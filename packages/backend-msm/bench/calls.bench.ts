/** Many calls: what a call costs, and whether it matters how many mappings are there. */
import { Draws, benchCase, type BenchCase, type PreparedCase, type Target } from '@iommu-lab/bench';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { PAGE_BYTES, PageRig, SECTION_BYTES, SMALL, floorOf, type Pages } from './pages.ts';

const DRAWS = 8192;
/** Pages of a call that leaves the last of its MiB to another mapping. */
const BLOCK = 255;
const BLOCKS: Pages = { ...SMALL, count: 256 };
const BLOCKS_CHECKED = 64;
/** As many as the young generation holds what their calls allocate. */
const EACH: Pages = { ...SMALL, count: 16384 };

const LIVE: readonly (readonly [string, number])[] = [
  ['256', 256],
  ['4 K', 4096],
  ['64 K', 65536],
  ['1 M', 1048560],
];

/** The cases. */
export default [
  benchCase({
    name: 'map 4 KiB, 255 a call, tables present',
    operations: BLOCKS.count * BLOCK,
    floor: floorOf('map blocks', BLOCKS),
    prepare: (): PreparedCase => {
      const rig = blockRig();
      return {
        run: () => mapBlocks(rig),
        undo: () => void unmapBlocks(rig),
        verify: () => checkBlocks(rig),
      };
    },
  }),
  benchCase({
    name: 'unmap 4 KiB, 255 a call, tables present',
    operations: BLOCKS.count * BLOCK,
    floor: floorOf('unmap blocks', BLOCKS),
    prepare: (): PreparedCase => {
      const rig = blockRig();
      mapBlocks(rig);
      return {
        run: () => unmapBlocks(rig),
        undo: () => void mapBlocks(rig),
        verify: () => {
          unmapBlocks(rig);
          checkBlocks(rig);
          mapBlocks(rig);
        },
      };
    },
  }),
  benchCase({
    name: 'map 4 KiB, one a call',
    operations: EACH.count,
    floor: floorOf('map each', EACH),
    prepare: (): PreparedCase => {
      const rig = new PageRig(EACH);
      return {
        run: () => mapEach(rig),
        undo: () => void unmapEach(rig),
        verify: () => {
          mapEach(rig);
          rig.check(true);
          unmapEach(rig);
          rig.check(false);
        },
      };
    },
  }),
  benchCase({
    name: 'unmap 4 KiB, one a call',
    operations: EACH.count,
    floor: floorOf('unmap each', EACH),
    prepare: (): PreparedCase => {
      const rig = new PageRig(EACH);
      mapEach(rig);
      return {
        run: () => unmapEach(rig),
        undo: () => void mapEach(rig),
        verify: () => {
          rig.check(true);
          unmapEach(rig);
          rig.check(false);
          mapEach(rig);
        },
      };
    },
  }),
  ...LIVE.map(([name, count], i) => remapping(name, { ...SMALL, count }, i > 0)),
] as readonly BenchCase[];

/** An operation is an unmap call and a map call. */
function remapping(name: string, pages: Pages, isCompared: boolean): BenchCase {
  const flat: Target = { kind: 'case', name: caseName('256'), most: 2 };
  return benchCase({
    name: caseName(name),
    operations: DRAWS,
    floor: floorOf('remap drawn', pages),
    targets: isCompared ? [flat] : [],
    prepare: (): PreparedCase => {
      const rig = new PageRig(pages);
      mapEach(rig);
      const drawn = drawPages(pages.count);
      const { domain, iova, address } = rig;
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < DRAWS; i++) {
            const offset = (drawn[i] as number) * PAGE_BYTES;
            sum = (sum + domain.unmap(iova + offset, PAGE_BYTES)) | 0;
            domain.map(iova + offset, address + offset, PAGE_BYTES, READ_WRITE);
          }
          return sum;
        },
        verify: () => rig.check(true),
      };
    },
  });
}

function caseName(live: string): string {
  return `unmap and map a page, ${live} mappings live`;
}

function drawPages(count: number): Uint32Array {
  const draws = new Draws();
  const low = Math.min(count, 65536);
  const high = Math.floor(count / 65536);
  return Uint32Array.from({ length: DRAWS }, () => {
    const upper = count > 65536 ? draws.below(high) * 65536 : 0;
    return upper + draws.below(low);
  });
}

function mapEach(rig: PageRig): number {
  const { domain, iova, address, sizeBytes } = rig;
  for (let offset = 0; offset < sizeBytes; offset += PAGE_BYTES)
    domain.map(iova + offset, address + offset, PAGE_BYTES, READ_WRITE);
  return rig.samples();
}

function unmapEach({ domain, iova, sizeBytes }: PageRig): number {
  let sum = 0;
  for (let offset = 0; offset < sizeBytes; offset += PAGE_BYTES)
    sum = (sum + domain.unmap(iova + offset, PAGE_BYTES)) | 0;
  return sum;
}

/** The last page of each MiB stays mapped. */
function blockRig(): PageRig {
  const rig = new PageRig(BLOCKS);
  for (let block = 0; block < BLOCKS.count; block++) {
    const iova = rig.iova + block * SECTION_BYTES + BLOCK * PAGE_BYTES;
    rig.domain.map(iova, rig.address, PAGE_BYTES, READ_WRITE);
  }
  return rig;
}

function mapBlocks(rig: PageRig): number {
  const { domain, iova, address } = rig;
  for (let block = 0; block < BLOCKS.count; block++) {
    const offset = block * SECTION_BYTES;
    domain.map(iova + offset, address + offset, BLOCK * PAGE_BYTES, READ_WRITE);
  }
  let sum = 0;
  for (let block = 0; block < BLOCKS.count; block += BLOCKS_CHECKED)
    sum = (sum + rig.leafAt(0, iova + block * SECTION_BYTES)) | 0;
  return sum;
}

function unmapBlocks({ domain, iova }: PageRig): number {
  let sum = 0;
  for (let block = 0; block < BLOCKS.count; block++)
    sum = (sum + domain.unmap(iova + block * SECTION_BYTES, BLOCK * PAGE_BYTES)) | 0;
  return sum;
}

/** Maps, looks at each page, and unmaps. */
function checkBlocks(rig: PageRig): void {
  mapBlocks(rig);
  for (let page = 0; page < BLOCKS.count * 256; page++) {
    const offset = page * PAGE_BYTES;
    const expected = page % 256 === BLOCK ? rig.address : rig.address + offset;
    if (rig.domain.iovaToPhys(rig.iova + offset) !== expected) throw new Error(`page ${page}`);
  }
  unmapBlocks(rig);
  if (rig.domain.mappedBytes !== BLOCKS.count * PAGE_BYTES) throw new Error('a block is left');
}
