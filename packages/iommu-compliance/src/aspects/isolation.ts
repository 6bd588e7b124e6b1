/** One device cannot reach what belongs to another. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';

export const isolation: readonly Check[] = defineAspect('isolation', {
  'a device does not reach another’s domain'(bench) {
    const page = bench.page();
    const domain = bench.attached('mine', bench.first);
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandNoAccess(bench.second, bench.iova(0), 'mapped for the other device', page);
    bench.attached('theirs', bench.second);
    bench.demandNoAccess(bench.second, bench.iova(0), 'mapped for the other device', page);
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'one IOVA leads two devices to two places'(bench) {
    const pages = bench.scatteredPages(2) as [number, number];
    bench.sides.forEach((side, i) => {
      bench.attached(`own-${i}`, side).map(bench.iova(0), pages[i] ?? 0, bench.granule, READ_WRITE);
    });
    for (let round = 0; round < 2; round++) {
      bench.sides.forEach((side, i) => {
        bench.demandReads(side, bench.iova(0), pages[i] ?? 0);
        bench.demandWrites(side, bench.iova(0), pages[i] ?? 0);
      });
    }
  },

  'an unmap for one device changes nothing for the other'(bench) {
    const pages = bench.scatteredPages(2) as [number, number];
    const domains = bench.sides.map((side, i) => {
      const domain = bench.attached(`own-${i}`, side);
      domain.map(bench.iova(0), pages[i] ?? 0, bench.granule, READ_WRITE);
      bench.demandReads(side, bench.iova(0), pages[i] ?? 0);
      return domain;
    });
    domains[0]?.unmap(bench.iova(0), bench.granule);
    bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', pages[0]);
    bench.demandReads(bench.second, bench.iova(0), pages[1]);
  },

  'what one device has cached does not serve the other after a switch'(bench) {
    const { iommu, first, second } = bench;
    const [secret, open] = bench.scatteredPages(2) as [number, number];
    const domain = bench.attached('secret', first);
    domain.map(bench.iova(0), secret, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), secret);
    iommu.detach(domain, first.device);
    const other = bench.attached('open', second);
    bench.demandNoAccess(second, bench.iova(0), 'never mapped for this device', secret);
    other.map(bench.iova(0), open, bench.granule, READ_WRITE);
    bench.demandReads(second, bench.iova(0), open);
  },

  'attach and detach of one device leave the other alone'(bench) {
    const { iommu, first, second } = bench;
    const page = bench.page();
    bench.attached('steady', second).map(bench.iova(0), page, bench.granule, READ_WRITE);
    const domain = bench.attached('restless', first);
    bench.demandReads(second, bench.iova(0), page);
    iommu.replace(iommu.blockedDomain, first.device);
    bench.demandReads(second, bench.iova(0), page);
    iommu.attach(domain, first.device);
    iommu.detach(domain, first.device);
    bench.demandReads(second, bench.iova(0), page);
    iommu.cleanup(first.device);
    bench.demandReads(second, bench.iova(0), page);
  },

  'a physical address is no way around the tables'(bench) {
    const page = bench.page();
    const domain = bench.attached('detour');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    for (const side of bench.sides) {
      const where = bench.isMirrored ? bench.iova(40) : page;
      bench.demandNoAccess(side, where, 'a physical address', where);
      bench.demandNoAccess(side, page, 'a physical address', page);
    }
  },

  'a device that has gone reaches nothing'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('gone');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), page);
    iommu.cleanup(first.device);
    bench.demandNoAccess(first, bench.iova(0), 'the device has left', page);
    const where = bench.isMirrored ? bench.iova(40) : page;
    bench.demandNoAccess(first, where, 'the device has left, at a physical address', where);
  },
});
