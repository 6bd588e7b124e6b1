/** After an unmap has returned, no access uses what was removed, whatever the hardware had cached. */
import { READ_ONLY, READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandEqual } from '../demand.ts';

export const invalidation: readonly Check[] = defineAspect('invalidation', {
  'a page that was used is unreachable once unmap returns'(bench) {
    const page = bench.page();
    const domain = bench.attached('used');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWrites(bench.first, bench.iova(0), page);
    domain.unmap(bench.iova(0), bench.granule);
    bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', page);
  },

  'a page that is mapped again leads to its new place'(bench) {
    const domain = bench.attached('moved');
    for (const page of bench.scatteredPages(3)) {
      domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
      bench.demandReads(bench.first, bench.iova(0), page);
      bench.demandWrites(bench.first, bench.iova(0), page);
      domain.unmap(bench.iova(0), bench.granule);
    }
  },

  'every page of a range is forgotten, the first and the last too'(bench) {
    const { granule } = bench;
    const count = 9;
    const block = bench.page(16 * granule) + granule;
    const domain = bench.attached('range');
    domain.map(bench.iova(0), block, count * granule, READ_WRITE);
    for (let i = 0; i < count; i++) bench.demandReads(bench.first, bench.iova(i), block + i * granule);
    domain.unmap(bench.iova(0), count * granule);
    for (let i = 0; i < count; i++) {
      bench.demandNoAccess(bench.first, bench.iova(i), `page ${i} of ${count} unmapped`, block + i * granule);
    }
  },

  'a long range is forgotten'(bench) {
    const { granule } = bench;
    const block = bench.page(128 * granule) + granule;
    const domain = bench.attached('long');
    const count = 100;
    const { last } = bench.capabilities.aperture;
    const from = last + 1 - 128 * granule;
    domain.map(from, block, count * granule, READ_WRITE);
    for (let i = 0; i < count; i += 3)
      bench.demandReads(bench.first, from + i * granule, block + i * granule);
    domain.unmap(from, count * granule);
    for (let i = 0; i < count; i++) {
      bench.demandNoAccess(bench.first, from + i * granule, 'unmapped', block + i * granule);
    }
  },

  'every page size is forgotten in all its parts'(bench) {
    const domain = bench.attached('sizes');
    const block = bench.page(bench.largest);
    const iova = bench.largeIova();
    for (const size of bench.capabilities.pageSizes) {
      domain.map(iova, block, size, READ_WRITE);
      const offsets = [0, size / 4, size / 2, size - 16];
      for (const offset of offsets) bench.demandReads(bench.first, iova + offset, block + offset);
      domain.unmap(iova, size);
      for (const offset of offsets) {
        bench.demandNoAccess(bench.first, iova + offset, `a page of ${size} bytes unmapped`, block + offset);
      }
    }
  },

  'a refused access leaves nothing behind that outlives a map'(bench) {
    const page = bench.page();
    const domain = bench.attached('refused-first');
    bench.demandNoAccess(bench.first, bench.iova(0), 'not mapped');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'rights that were taken away are forgotten'(bench) {
    const page = bench.page();
    const domain = bench.attached('rights');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandWrites(bench.first, bench.iova(0), page);
    domain.unmap(bench.iova(0), bench.granule);
    if (!bench.capabilities.permissions.readOnly) {
      bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', page);
      return;
    }
    domain.map(bench.iova(0), page, bench.granule, READ_ONLY);
    bench.demandWriteFaults(bench.first, bench.iova(0), 'read-only now', page);
  },

  'what a neighbour has cached is still right'(bench) {
    const [gone, kept] = bench.scatteredPages(2) as [number, number];
    const domain = bench.attached('neighbour');
    domain.map(bench.iova(0), gone, bench.granule, READ_WRITE);
    domain.map(bench.iova(1), kept, bench.granule, READ_WRITE);
    for (const [i, page] of [gone, kept].entries()) bench.demandReads(bench.first, bench.iova(i), page);
    domain.unmap(bench.iova(0), bench.granule);
    bench.demandReads(bench.first, bench.iova(1), kept);
    bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', gone);
  },

  'an unmap while the device is away counts when it comes back'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('away');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), page);
    iommu.detach(domain, first.device);
    domain.unmap(bench.iova(0), bench.granule);
    iommu.attach(domain, first.device);
    bench.demandNoAccess(first, bench.iova(0), 'unmapped meanwhile', page);
  },

  'a freed domain is forgotten by whatever gets its memory'(bench) {
    const { iommu, first } = bench;
    const pages = bench.scatteredPages(4);
    for (const page of pages) {
      const domain = bench.attached('reborn');
      demandEqual(domain.iovaToPhys(bench.iova(0)), undefined, 'a new domain');
      bench.demandNoAccess(first, bench.iova(0), 'a new domain, where an old one had a page');
      domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
      bench.demandReads(first, bench.iova(0), page);
      iommu.detach(domain, first.device);
      domain.free();
    }
    demand(
      iommu.domainOf(first.device) === iommu.defaultDomainOf(first.device),
      'the default domain is current',
    );
    bench.demandNoAccess(first, bench.iova(0), 'all domains are gone', pages[3]);
  },
});
