/** A paging domain from allocation to free. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';

export const domainLife: readonly Check[] = defineAspect('domain-life', {
  'a new domain has nothing mapped'(bench) {
    const domain = bench.domain('new');
    demandEqual(domain.kind, 'paging', 'its kind');
    demandEqual(domain.mappings(), [], 'its mappings');
    demandEqual(domain.iovaToPhys(bench.iova(0)), undefined, 'where an IOVA leads');
    bench.iommu.attach(domain, bench.first.device);
    bench.demandNoAccess(bench.first, bench.iova(0), 'nothing is mapped');
  },

  'it can be filled before it is attached'(bench) {
    const page = bench.page();
    const domain = bench.domain('early');
    domain.map(bench.iova(1), page, bench.granule, READ_WRITE);
    demandEqual(domain.iovaToPhys(bench.iova(1) + 5), page + 5, 'where it leads before the attach');
    bench.iommu.attach(domain, bench.first.device);
    bench.demandReads(bench.first, bench.iova(1), page);
    bench.demandWrites(bench.first, bench.iova(1), page);
  },

  'it can be filled after it is attached'(bench) {
    const page = bench.page();
    const domain = bench.attached('late');
    bench.demandNoAccess(bench.first, bench.iova(1), 'not mapped yet');
    domain.map(bench.iova(1), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(1), page);
    bench.demandWrites(bench.first, bench.iova(1), page);
  },

  'it keeps its mappings while it is detached'(bench) {
    const [kept, added] = [bench.page(), bench.page()];
    const domain = bench.attached('kept');
    domain.map(bench.iova(0), kept, bench.granule, READ_WRITE);
    bench.iommu.detach(domain, bench.first.device);
    domain.map(bench.iova(1), added, bench.granule, READ_WRITE);
    bench.iommu.attach(domain, bench.first.device);
    bench.demandReads(bench.first, bench.iova(0), kept);
    bench.demandReads(bench.first, bench.iova(1), added);
  },

  'the memory of its tables is accounted for'(bench) {
    const before = bench.fixture.allocatedTableBytes();
    const domain = bench.domain('counted');
    domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE);
    const used = bench.fixture.allocatedTableBytes() - before;
    demandEqual(domain.tableBytes, used, 'bytes of its tables, by the domain and by the memory');
    domain.free();
    demandEqual(domain.tableBytes, 0, 'bytes of its tables once it is freed');
  },

  'freeing it gives all its table memory back'(bench) {
    const before = bench.fixture.allocatedTableBytes();
    const domain = bench.domain('freed');
    bench
      .scatteredPages(8)
      .forEach((page, i) => domain.map(bench.iova(2 * i), page, bench.granule, READ_WRITE));
    domain.map(bench.largeIova(), bench.page(bench.largest), bench.largest, READ_WRITE);
    domain.free();
    demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory in use');
    domain.free();
    demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory in use after a second free');
  },

  'it cannot be freed while it is in use'(bench) {
    const page = bench.page();
    const domain = bench.attached('busy');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    demandCode('EBUSY', 'freeing an attached domain', () => domain.free());
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.iommu.detach(domain, bench.first.device);
    domain.free();
  },

  'it is dead once it is freed'(bench) {
    const domain = bench.domain('dead');
    domain.free();
    const { granule, first } = bench;
    demandCode('EINVAL', 'a map', () => domain.map(bench.iova(0), bench.page(), granule, READ_WRITE));
    demandCode('EINVAL', 'an unmap', () => void domain.unmap(bench.iova(0), granule));
    demandCode('EINVAL', 'an attach', () => bench.iommu.attach(domain, first.device));
    demandEqual(domain.iovaToPhys(bench.iova(0)), undefined, 'where it leads');
  },

  'many domains live side by side and do not mix'(bench) {
    const pages = bench.scatteredPages(5);
    const domains = pages.map((page, i) => {
      const domain = bench.domain(`side-${i}`);
      domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
      return domain;
    });
    for (const [i, domain] of domains.entries()) {
      bench.iommu.replace(domain, bench.first.device);
      demand(bench.iommu.domainOf(bench.first.device) === domain, 'the current domain');
      bench.demandReads(bench.first, bench.iova(0), pages[i] ?? 0);
    }
  },
});
