/** Every page size of the manifest, alone and beside the others. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demandCode, demandEqual } from '../demand.ts';

export const pageSizes: readonly Check[] = defineAspect('page-sizes', {
  'each size translates at its first, inner and last bytes'(bench) {
    const domain = bench.attached('sizes');
    const iova = bench.largeIova();
    const block = bench.page(bench.largest);
    for (const size of bench.capabilities.pageSizes) {
      domain.map(iova, block, size, READ_WRITE);
      for (const offset of [0, 0x40, size / 2, size - 16]) {
        demandEqual(domain.iovaToPhys(iova + offset), block + offset, `size ${size}: where +${offset} leads`);
        bench.demandReads(bench.first, iova + offset, block + offset);
        bench.demandWrites(bench.first, iova + offset, block + offset);
      }
      bench.demandNoAccess(bench.first, iova + size, `behind a page of ${size} bytes`);
      demandEqual(domain.unmap(iova, size), size, `bytes removed of a page of ${size} bytes`);
      for (const offset of [0, size / 2, size - 16]) {
        bench.demandNoAccess(bench.first, iova + offset, `a page of ${size} bytes unmapped`, block + offset);
      }
    }
  },

  'a range is right whatever sizes it is made of'(bench) {
    const { granule, largest } = bench;
    const domain = bench.attached('mixed');
    // From one granule before a large page to one granule behind it, where there is more than one size.
    const extra = largest === granule ? 0 : granule;
    const iova = bench.largeIova() + largest - extra;
    const block = bench.page(2 * largest, largest) + (extra === 0 ? 0 : largest - extra);
    const sizeBytes = extra + largest;
    domain.map(iova, block, sizeBytes, READ_WRITE);
    const offsets = [0, extra, extra + largest / 2, sizeBytes - granule, sizeBytes - 16];
    for (const offset of offsets) bench.demandReads(bench.first, iova + offset, block + offset);
    bench.demandNoAccess(bench.first, iova - granule, 'before the range');
    bench.demandNoAccess(bench.first, iova + sizeBytes, 'behind the range');
    demandEqual(domain.unmap(iova, sizeBytes), sizeBytes, 'bytes removed');
    for (const offset of offsets)
      bench.demandNoAccess(bench.first, iova + offset, 'unmapped', block + offset);
  },

  'addresses that are not congruent are mapped in pages that fit'(bench) {
    const { granule, capabilities } = bench;
    const size = capabilities.pageSizes[1] ?? 4 * granule;
    const domain = bench.attached('shifted');
    const block = bench.page(2 * size) + granule;
    domain.map(bench.largeIova(), block, size, READ_WRITE);
    for (const offset of [0, granule, size - granule, size - 16]) {
      bench.demandReads(bench.first, bench.largeIova() + offset, block + offset);
    }
    // Made of granules, so that one can go alone.
    demandEqual(domain.unmap(bench.largeIova() + granule, granule), granule, 'bytes removed');
    bench.demandNoAccess(bench.first, bench.largeIova() + granule, 'unmapped', block + granule);
    bench.demandReads(bench.first, bench.largeIova(), block);
    bench.demandReads(bench.first, bench.largeIova() + 2 * granule, block + 2 * granule);
  },

  'a part of a page goes as the whole page, or is refused'(bench) {
    const { granule, largest, capabilities } = bench;
    const domain = bench.attached('part');
    const iova = bench.largeIova();
    if (capabilities.pageSizes.length === 1) {
      domain.map(iova, bench.page(), granule, READ_WRITE);
      demandCode('EINVAL', 'a part of the only page size', () => void domain.unmap(iova, granule / 2));
      return;
    }
    const block = bench.page(largest);
    domain.map(iova, block, largest, READ_WRITE);
    for (const offset of [0, largest - 16]) bench.demandReads(bench.first, iova + offset, block + offset);
    demandCode('EINVAL', 'an unmap from inside a page', () => void domain.unmap(iova + granule, granule));
    bench.demandReads(bench.first, iova + granule, block + granule);
    demandEqual(domain.unmap(iova, granule), largest, 'bytes removed: the whole page');
    for (const offset of [0, granule, largest - 16]) {
      bench.demandNoAccess(bench.first, iova + offset, 'gone with its page', block + offset);
    }
  },

  'small pages take the place of a large one and the other way round'(bench) {
    const { granule, largest } = bench;
    const domain = bench.attached('turns');
    const iova = bench.largeIova();
    const [one, two] = [bench.page(largest), bench.page(largest)];
    for (let turn = 0; turn < 2; turn++) {
      domain.map(iova, one, largest, READ_WRITE);
      bench.demandReads(bench.first, iova + largest - 16, one + largest - 16);
      domain.unmap(iova, largest);
      domain.map(iova, two, granule, READ_WRITE);
      bench.demandReads(bench.first, iova, two);
      if (granule < largest)
        bench.demandNoAccess(bench.first, iova + granule, 'only the first granule is mapped');
      domain.unmap(iova, granule);
    }
  },
});
