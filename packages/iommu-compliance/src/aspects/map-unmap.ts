/** Ranges: what may be mapped, what an unmap takes away and tells. */
import { Gather, READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';

export const mapUnmap: readonly Check[] = defineAspect('map-unmap', {
  'a range is mapped to its last byte and no further'(bench) {
    const { granule } = bench;
    const block = bench.page(4 * granule);
    const domain = bench.attached('range');
    domain.map(bench.iova(1), block, 3 * granule, READ_WRITE);
    for (const page of [0, 1, 2])
      bench.demandReads(bench.first, bench.iova(1 + page), block + page * granule);
    bench.demandNoAccess(bench.first, bench.iova(0), 'before the range');
    bench.demandNoAccess(bench.first, bench.iova(4), 'behind the range', block + 3 * granule);
    for (const page of [0, 4])
      demandEqual(domain.iovaToPhys(bench.iova(page)), undefined, `iovaToPhys of page ${page}`);
    demandEqual(domain.iovaToPhys(bench.iova(4) - 1), block + 3 * granule - 1, 'iovaToPhys of the last byte');
  },

  'unmap returns the bytes it removed, and takes no more and no less'(bench) {
    const { granule } = bench;
    const block = bench.page(8 * granule);
    const domain = bench.attached('middle');
    // Not congruent with larger pages: every page is a granule.
    for (let i = 0; i < 6; i++) domain.map(bench.iova(i), block + i * granule, granule, READ_WRITE);
    demandEqual(domain.unmap(bench.iova(2), 2 * granule), 2 * granule, 'bytes removed');
    for (const i of [0, 1, 4, 5]) {
      demandEqual(domain.iovaToPhys(bench.iova(i)), block + i * granule, `where page ${i} leads`);
      bench.demandReads(bench.first, bench.iova(i), block + i * granule);
    }
    for (const i of [2, 3]) {
      demandEqual(domain.iovaToPhys(bench.iova(i)), undefined, `where page ${i} leads`);
      bench.demandNoAccess(bench.first, bench.iova(i), 'unmapped', block + i * granule);
    }
  },

  'unmap stops at the first hole'(bench) {
    const { granule } = bench;
    const [a, , c] = bench.scatteredPages(3) as [number, number, number];
    const domain = bench.attached('hole');
    domain.map(bench.iova(0), a, granule, READ_WRITE);
    domain.map(bench.iova(2), c, granule, READ_WRITE);
    demandEqual(domain.unmap(bench.iova(0), 3 * granule), granule, 'bytes removed');
    bench.demandNoAccess(bench.first, bench.iova(0), 'before the hole: unmapped', a);
    bench.demandReads(bench.first, bench.iova(2), c);
  },

  'unmap of nothing removes nothing'(bench) {
    const domain = bench.attached('nothing');
    demandEqual(domain.unmap(bench.iova(0), bench.granule), 0, 'bytes removed');
    domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE);
    demandEqual(domain.unmap(bench.iova(0), bench.granule), bench.granule, 'bytes removed the first time');
    demandEqual(domain.unmap(bench.iova(0), bench.granule), 0, 'bytes removed the second time');
  },

  'an unaligned or empty range is refused with EINVAL'(bench) {
    const { granule } = bench;
    const page = bench.page();
    const domain = bench.attached('crooked');
    const half = granule / 2;
    const map = (iova: number, address: number, sizeBytes: number) => () =>
      domain.map(iova, address, sizeBytes, READ_WRITE);
    demandCode('EINVAL', 'an unaligned IOVA', map(bench.iova(0) + half, page, granule));
    demandCode('EINVAL', 'an unaligned physical address', map(bench.iova(0), page + half, granule));
    demandCode(
      'EINVAL',
      'a size that is no multiple of the granule',
      map(bench.iova(0), page, granule + half),
    );
    demandCode('EINVAL', 'an empty map', map(bench.iova(0), page, 0));
    demandCode('EINVAL', 'an empty unmap', () => void domain.unmap(bench.iova(0), 0));
    demandCode('EINVAL', 'an unaligned unmap', () => void domain.unmap(bench.iova(0) + half, granule));
    demandCode('EINVAL', 'an unmap of half a granule', () => void domain.unmap(bench.iova(0), half));
    bench.demandNoAccess(bench.first, bench.iova(0), 'nothing was mapped', page);
  },

  'outside the aperture is refused with ERANGE'(bench) {
    const { granule } = bench;
    const { start, last } = bench.capabilities.aperture;
    const page = bench.page(2 * granule);
    const domain = bench.attached('beyond');
    const map = (iova: number, sizeBytes: number) => () => domain.map(iova, page, sizeBytes, READ_WRITE);
    demandCode('ERANGE', 'a map behind the aperture', map(last + 1, granule));
    demandCode('ERANGE', 'a map that sticks out', map(last + 1 - granule, 2 * granule));
    demandCode('ERANGE', 'an unmap behind it', () => void domain.unmap(last + 1, granule));
    if (start > 0) demandCode('ERANGE', 'a map before the aperture', map(start - granule, granule));
    demandEqual(domain.mappings(), [], 'what is mapped');
  },

  'both ends of the aperture can be used'(bench) {
    const { granule } = bench;
    const { start, last } = bench.capabilities.aperture;
    const [first, second] = bench.scatteredPages(2) as [number, number];
    const domain = bench.attached('ends');
    domain.map(start, first, granule, READ_WRITE);
    domain.map(last + 1 - granule, second, granule, READ_WRITE);
    bench.demandReads(bench.first, start, first);
    bench.demandReads(bench.first, last + 1 - 16, second + granule - 16);
    demandEqual(domain.unmap(last + 1 - granule, granule), granule, 'bytes removed at the end');
    bench.demandNoAccess(bench.first, last + 1 - granule, 'unmapped', second);
    bench.demandReads(bench.first, start, first);
  },

  'a physical address that does not exist for the hardware is refused with ERANGE'(bench) {
    const domain = bench.attached('far');
    const beyond = bench.capabilities.lastPhysAddr + 1;
    demandCode('ERANGE', 'a map to it', () => domain.map(bench.iova(0), beyond, bench.granule, READ_WRITE));
    demandEqual(domain.mappings(), [], 'what is mapped');
  },

  'over a mapping is refused with EEXIST, and both stay as they are'(bench) {
    const { granule } = bench;
    const block = bench.page(4 * granule);
    const other = bench.page(4 * granule);
    const domain = bench.attached('over');
    domain.map(bench.iova(4), block, 2 * granule, READ_WRITE);
    for (const [from, pages] of [
      [4, 2],
      [3, 2],
      [5, 2],
      [3, 4],
      [4, 1],
    ] as const) {
      demandCode('EEXIST', `pages ${from} to ${from + pages - 1} over pages 4 and 5`, () =>
        domain.map(bench.iova(from), other, pages * granule, READ_WRITE),
      );
    }
    for (const i of [0, 1]) bench.demandReads(bench.first, bench.iova(4 + i), block + i * granule);
    for (const i of [3, 6]) bench.demandNoAccess(bench.first, bench.iova(i), 'never mapped', other);
  },

  'a scattered buffer is mapped piece by piece at consecutive IOVAs'(bench) {
    const { granule } = bench;
    const pages = bench.scatteredPages(6);
    const domain = bench.attached('scattered');
    const entries = pages.map((address) => ({ address, length: granule }));
    demandEqual(domain.mapSg(bench.iova(0), entries, READ_WRITE), 6 * granule, 'bytes mapped');
    pages.forEach((page, i) => bench.demandReads(bench.first, bench.iova(i), page));
    pages.forEach((page, i) => bench.demandWrites(bench.first, bench.iova(i), page));
    demandEqual(domain.unmap(bench.iova(0), 6 * granule), 6 * granule, 'bytes removed');
    pages.forEach((page, i) => bench.demandNoAccess(bench.first, bench.iova(i), 'unmapped', page));
  },

  'a scattered buffer with one bad piece is not mapped at all'(bench) {
    const { granule } = bench;
    const before = bench.fixture.allocatedTableBytes();
    const pages = bench.scatteredPages(3) as [number, number, number];
    const domain = bench.attached('bad-piece');
    const tables = domain.tableBytes;
    const entries = pages.map((address) => ({ address, length: granule }));
    entries[2] = { address: pages[2] + granule / 2, length: granule };
    demandCode('EINVAL', 'an unaligned piece', () => void domain.mapSg(bench.iova(0), entries, READ_WRITE));
    demandEqual(domain.tableBytes, tables, 'bytes of tables');
    demand(bench.fixture.allocatedTableBytes() >= before, 'no table memory was given back twice');
    for (const i of [0, 1, 2]) bench.demandNoAccess(bench.first, bench.iova(i), 'not mapped', pages[i]);
  },

  'one physical page can be mapped at two IOVAs'(bench) {
    const page = bench.page();
    const domain = bench.attached('twice');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    domain.map(bench.iova(9), page, bench.granule, READ_WRITE);
    for (const i of [0, 9]) bench.demandReads(bench.first, bench.iova(i), page);
    domain.unmap(bench.iova(0), bench.granule);
    bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', page);
    bench.demandReads(bench.first, bench.iova(9), page);
  },

  'gathered unmaps are gone once they are synced'(bench) {
    const { granule } = bench;
    const pages = bench.scatteredPages(4);
    const domain = bench.attached('gathered');
    pages.forEach((page, i) => domain.map(bench.iova(3 * i), page, granule, READ_WRITE));
    pages.forEach((page, i) => bench.demandReads(bench.first, bench.iova(3 * i), page));
    const gather = new Gather();
    let removed = 0;
    for (const i of [0, 1, 3]) removed += domain.unmapFast(bench.iova(3 * i), granule, gather);
    demandEqual(removed, 3 * granule, 'bytes removed');
    domain.sync(gather);
    demand(gather.isEmpty, 'the gather is empty after the sync');
    for (const i of [0, 1, 3]) bench.demandNoAccess(bench.first, bench.iova(3 * i), 'synced', pages[i]);
    bench.demandReads(bench.first, bench.iova(6), pages[2] ?? 0);
  },
});
