/** Rights: what a mapping refuses, and rights that the hardware cannot express. */
import { type Protection, READ_ONLY, READ_WRITE, WRITE_ONLY } from '@iommu-lab/iommu-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandCode, demandEqual } from '../demand.ts';

export const permissions: readonly Check[] = defineAspect('permissions', {
  'read-write allows both'(bench) {
    const page = bench.page();
    bench.attached('rw').map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWrites(bench.first, bench.iova(0), page);
  },

  'read-only refuses writes, or is refused with EOPNOTSUPP'(bench) {
    if (!bench.capabilities.permissions.readOnly) return demandRefused(bench, READ_ONLY);
    const page = bench.page();
    bench.attached('ro').map(bench.iova(0), page, bench.granule, READ_ONLY);
    bench.demandWriteFaults(bench.first, bench.iova(0), 'read-only, before a read', page);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWriteFaults(bench.first, bench.iova(0), 'read-only, after a read', page);
  },

  'read-only refuses writes in pages of every size'(bench) {
    if (!bench.capabilities.permissions.readOnly) return demandRefused(bench, READ_ONLY);
    const domain = bench.attached('ro-sizes');
    const block = bench.page(bench.largest);
    for (const size of bench.capabilities.pageSizes) {
      domain.map(bench.largeIova(), block, size, READ_ONLY);
      bench.demandReads(bench.first, bench.largeIova() + size - 16, block + size - 16);
      bench.demandWriteFaults(bench.first, bench.largeIova(), `read-only page of ${size} bytes`, block);
      domain.unmap(bench.largeIova(), size);
    }
  },

  'write-only refuses reads, or becomes read-write'(bench) {
    const page = bench.page();
    const domain = bench.attached('wo');
    domain.map(bench.iova(0), page, bench.granule, WRITE_ONLY);
    bench.demandWrites(bench.first, bench.iova(0), page);
    const canRefuse = bench.capabilities.permissions.writeOnly;
    if (canRefuse) bench.demandReadFaults(bench.first, bench.iova(0), 'write-only');
    else bench.demandReads(bench.first, bench.iova(0), page);
    demandEqual(domain.mappings()[0]?.protection.read, !canRefuse, 'the right to read that was granted');
  },

  'no-exec refuses instruction fetches, or is refused with EOPNOTSUPP'(bench) {
    const noExec = { ...READ_WRITE, noExec: true };
    if (!bench.capabilities.permissions.noExec) return demandRefused(bench, noExec);
    const [data, code] = [bench.page(), bench.page()];
    const domain = bench.attached('xn');
    domain.map(bench.iova(0), data, bench.granule, noExec);
    domain.map(bench.iova(1), code, bench.granule, READ_WRITE);
    const fetcher = bench.masterWith(bench.first, { isInstruction: true });
    bench.demandReadFaults(fetcher, bench.iova(0), 'an instruction fetch from a no-exec page');
    bench.demandReads(fetcher, bench.iova(1), code);
    bench.demandReads(bench.first, bench.iova(0), data);
  },

  'privileged refuses unprivileged accesses, or is refused with EOPNOTSUPP'(bench) {
    const privileged = { ...READ_WRITE, privileged: true };
    if (!bench.capabilities.permissions.privileged) return demandRefused(bench, privileged);
    const page = bench.page();
    bench.attached('priv').map(bench.iova(0), page, bench.granule, privileged);
    const kernel = bench.masterWith(bench.first, { isPrivileged: true });
    bench.demandNoAccess(bench.first, bench.iova(0), 'unprivileged', page);
    bench.demandReads(kernel, bench.iova(0), page);
    bench.demandWrites(kernel, bench.iova(0), page);
    bench.demandNoAccess(bench.first, bench.iova(0), 'unprivileged, after a privileged access', page);
  },

  'rights hold page by page'(bench) {
    if (!bench.capabilities.permissions.readOnly) return demandRefused(bench, READ_ONLY);
    const block = bench.page(4 * bench.granule);
    const domain = bench.attached('neighbours');
    [READ_WRITE, READ_ONLY, READ_WRITE, READ_ONLY].forEach((protection, i) => {
      domain.map(bench.iova(i), block + i * bench.granule, bench.granule, protection);
    });
    for (let i = 0; i < 4; i++) {
      const address = block + i * bench.granule;
      bench.demandReads(bench.first, bench.iova(i), address);
      if (i % 2 === 0) bench.demandWrites(bench.first, bench.iova(i), address);
      else bench.demandWriteFaults(bench.first, bench.iova(i), 'read-only', address);
    }
  },

  'a page that is mapped again has its new rights'(bench) {
    if (!bench.capabilities.permissions.readOnly) return demandRefused(bench, READ_ONLY);
    const page = bench.page();
    const domain = bench.attached('again');
    for (const protection of [READ_WRITE, READ_ONLY, READ_WRITE]) {
      domain.map(bench.iova(0), page, bench.granule, protection);
      bench.demandReads(bench.first, bench.iova(0), page);
      if (protection.write) bench.demandWrites(bench.first, bench.iova(0), page);
      else bench.demandWriteFaults(bench.first, bench.iova(0), 'read-only now', page);
      domain.unmap(bench.iova(0), bench.granule);
    }
  },

  'a mapping without rights is refused with EINVAL'(bench) {
    const domain = bench.attached('none');
    demandCode('EINVAL', 'neither read nor write', () =>
      domain.map(bench.iova(0), bench.page(), bench.granule, { read: false, write: false }),
    );
    bench.demandNoAccess(bench.first, bench.iova(0), 'not mapped');
  },

  'what asks for cached or register memory translates all the same'(bench) {
    const [cached, registers] = [bench.page(), bench.page()];
    const domain = bench.attached('memory-types');
    domain.map(bench.iova(0), cached, bench.granule, { ...READ_WRITE, cacheable: true });
    domain.map(bench.iova(1), registers, bench.granule, { ...READ_WRITE, mmio: true });
    demandEqual(domain.iovaToPhys(bench.iova(0)), cached, 'where the cached page leads');
    demandEqual(domain.iovaToPhys(bench.iova(1)), registers, 'where the register page leads');
    bench.demandReads(bench.first, bench.iova(1), registers);
  },
});

/** Demands that rights the hardware cannot express are refused and leave nothing behind. */
function demandRefused(bench: Bench, protection: Protection): void {
  const page = bench.page();
  const domain = bench.attached('refused');
  const tables = bench.fixture.allocatedTableBytes();
  demandCode('EOPNOTSUPP', 'rights that are not in the manifest', () =>
    domain.map(bench.iova(0), page, bench.granule, protection),
  );
  demandEqual(domain.mappings(), [], 'what is mapped');
  demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
  bench.demandNoAccess(bench.first, bench.iova(0), 'refused', page);
}
