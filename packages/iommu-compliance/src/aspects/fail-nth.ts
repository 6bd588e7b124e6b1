/**
 * Each operation with its 1st, 2nd, ... nth step failing: it either succeeds all the same or leaves everything as it
 * was; what takes things down never fails and never leaves a way open.
 */
import { type IommuDomain, READ_WRITE } from '@iommu-lab/iommu-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandEqual } from '../demand.ts';
import { neverFails, sweep } from '../fail-steps.ts';

export const failNth: readonly Check[] = defineAspect('fail-nth', {
  'allocating a domain'(bench) {
    let domain: IommuDomain | undefined;
    sweep(bench, [], {
      act() {
        domain = bench.domain('maybe');
      },
      undo: () => domain?.free(),
    });
  },

  map(bench) {
    const { granule, largest } = bench;
    const domain = bench.attached('mapped');
    // Up to a boundary of the largest pages and beyond it: the pieces need different tables where there are levels.
    const iova = bench.largeIova() + largest - 2 * granule;
    const sizeBytes = 4 * granule;
    const block = bench.page(8 * granule);
    sweep(bench, [domain], {
      act: () => domain.map(iova, block, sizeBytes, READ_WRITE),
      undo: () => void domain.unmap(iova, sizeBytes),
      probes: [iova, iova + 3 * granule],
    });
  },

  'map beside what is mapped'(bench) {
    const { granule } = bench;
    const block = bench.page(8 * granule);
    const domain = bench.attached('beside');
    domain.map(bench.iova(1), block, granule, READ_WRITE);
    domain.map(bench.iova(4), block + 4 * granule, granule, READ_WRITE);
    sweep(bench, [domain], {
      act: () => domain.map(bench.iova(2), block + 2 * granule, 2 * granule, READ_WRITE),
      undo: () => void domain.unmap(bench.iova(2), 2 * granule),
      probes: [1, 2, 3, 4].map((i) => bench.iova(i)),
    });
  },

  'map of a scattered buffer'(bench) {
    const { granule } = bench;
    const domain = bench.attached('scattered');
    const entries = bench.scatteredPages(5).map((address) => ({ address, length: granule }));
    const iova = bench.largeIova() + bench.largest - 2 * granule;
    sweep(bench, [domain], {
      act: () => void domain.mapSg(iova, entries, READ_WRITE),
      undo: () => void domain.unmap(iova, 5 * granule),
      probes: [0, 2, 4].map((i) => iova + i * granule),
    });
  },

  attach(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'coming');
    sweep(bench, [domain], {
      act: () => iommu.attach(domain, first.device),
      undo: () => iommu.detach(domain, first.device),
      probes: [bench.iova(0)],
    });
  },

  replace(bench) {
    const { iommu, first } = bench;
    const [old, next] = [filled(bench, 'old'), filled(bench, 'next')];
    iommu.attach(old, first.device);
    sweep(bench, [old, next], {
      act: () => iommu.replace(next, first.device),
      undo: () => iommu.replace(old, first.device),
      probes: [bench.iova(0)],
    });
  },

  'replace by the blocked domain'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'stopped');
    iommu.attach(domain, first.device);
    sweep(bench, [domain], {
      act: () => iommu.replace(iommu.blockedDomain, first.device),
      undo: () => iommu.attach(domain, first.device),
      probes: [bench.iova(0)],
    });
  },

  'configuring a device'(bench) {
    const { iommu, first } = bench;
    iommu.cleanup(first.device);
    sweep(bench, [], {
      act: () => iommu.configure(first.device),
      undo: () => iommu.cleanup(first.device),
      probes: [bench.iova(0)],
    });
  },

  'claiming ownership'(bench) {
    const { iommu, first } = bench;
    sweep(bench, [], {
      act: () => iommu.claimOwnership(first.device, 'owner'),
      undo: () => iommu.releaseOwnership(first.device, 'owner'),
      probes: [bench.iova(0)],
    });
  },

  'unmap never fails'(bench) {
    const page = bench.page();
    const domain = bench.attached('unmapped');
    neverFails(bench, {
      prepare() {
        if (domain.iovaToPhys(bench.iova(0)) === undefined) {
          domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
        }
        bench.demandReads(bench.first, bench.iova(0), page);
      },
      act: () => demandEqual(domain.unmap(bench.iova(0), bench.granule), bench.granule, 'bytes removed'),
      verify: () => bench.demandNoAccess(bench.first, bench.iova(0), 'unmapped', page),
    });
  },

  'detach never fails, and leaves no way to the domain'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'detached');
    const page = domain.iovaToPhys(bench.iova(0)) ?? 0;
    neverFails(bench, {
      prepare() {
        iommu.attach(domain, first.device);
        bench.demandReads(first, bench.iova(0), page);
      },
      act: () => iommu.detach(domain, first.device),
      verify: () => bench.demandNoAccess(first, bench.iova(0), 'detached', page),
    });
  },

  'cleanup never fails, and leaves no way to the domain'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'cleaned');
    const page = domain.iovaToPhys(bench.iova(0)) ?? 0;
    neverFails(bench, {
      prepare() {
        iommu.configure(first.device);
        iommu.replace(domain, first.device);
        bench.demandReads(first, bench.iova(0), page);
      },
      act: () => iommu.cleanup(first.device),
      verify: () => bench.demandNoAccess(first, bench.iova(0), 'the device has left', page),
    });
  },

  'freeing a domain never fails, and gives all memory back'(bench) {
    const before = bench.fixture.allocatedTableBytes();
    let domain: IommuDomain | undefined;
    neverFails(bench, {
      prepare() {
        domain = filled(bench, 'freed');
      },
      act: () => domain?.free(),
      verify: () => demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory'),
    });
  },
});

function filled(bench: Bench, name: string): IommuDomain {
  const page = bench.page();
  bench.markAt(page);
  const domain = bench.domain(name);
  domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
  return domain;
}
