/** A device and its domain: attach, replace, detach, ownership, and what each refuses. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode } from '../demand.ts';
import { foreignSide } from '../foreign-side.ts';

export const attach: readonly Check[] = defineAspect('attach', {
  'attach makes the domain current'(bench) {
    const page = bench.page();
    const domain = bench.domain('current');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandNoAccess(bench.first, bench.iova(0), 'not attached yet', page);
    bench.iommu.attach(domain, bench.first.device);
    demand(bench.iommu.domainOf(bench.first.device) === domain, 'domainOf tells the attached domain');
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'detach returns to the default domain'(bench) {
    const page = bench.page();
    const domain = bench.attached('left');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.iommu.detach(domain, bench.first.device);
    const { device } = bench.first;
    demand(
      bench.iommu.domainOf(device) === bench.iommu.defaultDomainOf(device),
      'the default domain is current',
    );
    bench.demandNoAccess(bench.first, bench.iova(0), 'detached', page);
  },

  'a device that is attached refuses another attach with EBUSY, and stays'(bench) {
    const page = bench.page();
    const domain = bench.attached('held');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const other = bench.domain('other');
    demandCode('EBUSY', 'attaching another', () => bench.iommu.attach(other, bench.first.device));
    demandCode('EBUSY', 'attaching the same again', () => bench.iommu.attach(domain, bench.first.device));
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'a domain for other hardware is refused with EINVAL, and nothing changes'(bench) {
    const page = bench.page();
    const domain = bench.attached('own');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const foreign = bench.iommu.allocPagingDomain(foreignSide(bench).device, 'foreign');
    demandCode('EINVAL', 'a foreign domain', () => bench.iommu.replace(foreign, bench.first.device));
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'replace moves a device from domain to domain'(bench) {
    const [oldPage, newPage] = [bench.page(), bench.page()];
    const old = bench.attached('old');
    old.map(bench.iova(0), oldPage, bench.granule, READ_WRITE);
    const next = bench.domain('new');
    next.map(bench.iova(0), newPage, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), oldPage);
    bench.iommu.replace(next, bench.first.device);
    bench.demandReads(bench.first, bench.iova(0), newPage);
    bench.demandWrites(bench.first, bench.iova(0), newPage);
    bench.iommu.replace(old, bench.first.device);
    bench.demandReads(bench.first, bench.iova(0), oldPage);
  },

  'the blocked domain stops everything'(bench) {
    const page = bench.page();
    const domain = bench.attached('open');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.iommu.replace(bench.iommu.blockedDomain, bench.first.device);
    bench.demandNoAccess(bench.first, bench.iova(0), 'blocked', page);
    bench.demandNoAccess(bench.first, page, 'blocked, at a physical address', page);
    bench.iommu.attach(domain, bench.first.device);
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'identity passes through, or is refused with EOPNOTSUPP and changes nothing'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    if (bench.instanceOf(first).capabilities.identity) {
      iommu.attach(iommu.allocDomain(first.device, 'identity'), first.device);
      bench.demandReads(first, page, page);
      bench.demandWrites(first, page, page);
      iommu.detach(iommu.identityDomain, first.device);
      bench.demandNoAccess(first, page, 'identity has been left', page);
      return;
    }
    const domain = bench.attached('stays');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    demandCode('EOPNOTSUPP', 'an identity domain', () => void iommu.allocDomain(first.device, 'identity'));
    demandCode('EOPNOTSUPP', 'a switch to identity', () => iommu.replace(iommu.identityDomain, first.device));
    bench.demandReads(first, bench.iova(0), page);
  },

  'one domain serves two devices where their IOMMUs share a table key, and is refused where not'(bench) {
    const { iommu, first, second } = bench;
    const page = bench.page();
    const domain = bench.attached('shared');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    if (bench.instanceOf(first).tableKey !== bench.instanceOf(second).tableKey) {
      demandCode('EINVAL', 'sharing across table keys', () => iommu.attach(domain, second.device));
      return;
    }
    iommu.attach(domain, second.device);
    for (const side of bench.sides) bench.demandReads(side, bench.iova(0), page);
    domain.unmap(bench.iova(0), bench.granule);
    for (const side of bench.sides) bench.demandNoAccess(side, bench.iova(0), 'unmapped for both', page);
    iommu.detach(domain, first.device);
    domain.map(bench.iova(1), page, bench.granule, READ_WRITE);
    bench.demandReads(second, bench.iova(1), page);
    bench.demandNoAccess(first, bench.iova(1), 'detached', page);
    domain.unmap(bench.iova(1), bench.granule);
    bench.demandNoAccess(second, bench.iova(1), 'unmapped after the other device left', page);
  },

  'an endpoint can be moved by the name of its context'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.domain('single');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const context = `${first.endpoint.provider}:${first.endpoint.context}`;
    iommu.attachEndpoint(domain, first.device, context);
    demand(iommu.domainOf(first.device, context) === domain, 'domainOf the endpoint');
    bench.demandReads(first, bench.iova(0), page);
    iommu.detach(domain, first.device, context);
    bench.demandNoAccess(first, bench.iova(0), 'detached', page);
  },

  'an owner has the device blocked until it attaches something'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.domain('owned');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    iommu.claimOwnership(first.device, 'owner');
    bench.demandNoAccess(first, bench.iova(0), 'owned', page);
    demandCode('EPERM', 'a second owner', () => iommu.claimOwnership(first.device, 'other'));
    iommu.attach(domain, first.device);
    bench.demandReads(first, bench.iova(0), page);
    iommu.releaseOwnership(first.device, 'owner');
    bench.demandNoAccess(first, bench.iova(0), 'given back', page);
  },
});
