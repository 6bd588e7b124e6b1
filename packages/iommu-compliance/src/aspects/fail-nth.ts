/**
 * Each operation with its 1st, 2nd, ... nth step failing: it either succeeds all the same or leaves everything as it
 * was; what takes things down never fails and never leaves a way open.
 */
import { Gather, type IommuDomain, READ_WRITE } from '@iommu-lab/iommu-core';
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

  'attach, by any of its other names'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'coming');
    const context = `${first.endpoint.provider}:${first.endpoint.context}`;
    const ways: Readonly<Record<string, () => void>> = {
      group: () => iommu.attachGroup(domain, first.device),
      endpoint: () => iommu.attachEndpoint(domain, first.device, context),
      'replace of an endpoint': () => iommu.replace(domain, first.device, context),
    };
    for (const act of Object.values(ways)) {
      sweep(bench, [domain], {
        act,
        undo() {
          iommu.detach(domain, first.device);
          iommu.detach(domain, first.device, context);
        },
        probes: [bench.iova(0)],
      });
    }
  },

  'allocating a domain by kind'(bench) {
    const { iommu, first } = bench;
    let domain: IommuDomain | undefined;
    for (const kind of ['paging', 'blocked'] as const) {
      sweep(bench, [], {
        act() {
          domain = iommu.allocDomain(first.device, kind);
        },
        undo: () => domain?.free(),
      });
    }
  },

  'configuring a device with direct regions'(bench) {
    const { iommu, first, granule } = bench;
    if (iommu.defaultDomainOf(first.device)?.kind === 'blocked') return;
    iommu.cleanup(first.device);
    first.device.reservedRegions = [2, 5].map((i) => ({
      name: `splash ${i}`,
      kind: 'direct' as const,
      iova: bench.iova(i),
      sizeBytes: granule,
    }));
    sweep(bench, [], {
      act: () => iommu.configure(first.device),
      undo: () => iommu.cleanup(first.device),
      probes: [2, 3, 5].map((i) => bench.iova(i)),
    });
  },

  'noting what is written'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const { domain } = bench.serving('noted');
    sweep(bench, [domain], {
      act: () => domain.setDirtyTracking(true),
      undo: () => domain.setDirtyTracking(false),
      probes: [bench.iova(0)],
    });
    domain.setDirtyTracking(true);
    neverFails(bench, {
      prepare: () => bench.demandWrites(bench.first, bench.iova(0), domain.iovaToPhys(bench.iova(0)) ?? 0),
      act: () =>
        demandEqual(domain.readDirty(0, 0, { clear: true }).length, 1, 'pages that were written and cleared'),
      verify: () => demandEqual(domain.readDirty(0, 0), [], 'pages that are dirty'),
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

  'unmap of a large page, of many, and gathered: it never fails'(bench) {
    const { granule, largest, first } = bench;
    const block = bench.page(largest);
    const domain = bench.attached('unmapped');
    const iova = bench.largeIova();
    const count = Math.min(40, bench.largest / granule);
    const ways: Readonly<Record<string, readonly [sizeBytes: number, act: () => number]>> = {
      large: [largest, () => domain.unmap(iova, largest)],
      many: [count * granule, () => domain.unmap(iova, count * granule)],
      gathered: [
        granule,
        () => {
          const gather = new Gather();
          const removed = domain.unmapFast(iova, granule, gather);
          domain.sync(gather);
          return removed;
        },
      ],
    };
    for (const [name, [sizeBytes, act]] of Object.entries(ways)) {
      neverFails(bench, {
        prepare() {
          // One by one, so that `many` is not one large page.
          const step = name === 'large' ? largest : granule;
          for (let at = 0; at < sizeBytes; at += step) domain.map(iova + at, block + at, step, READ_WRITE);
          for (const at of [0, sizeBytes - 16]) bench.demandReads(first, iova + at, block + at);
        },
        act: () => demandEqual(act(), sizeBytes, `bytes removed (${name})`),
        verify() {
          for (const at of [0, sizeBytes - 16]) bench.demandNoAccess(first, iova + at, name, block + at);
        },
      });
    }
  },

  'giving ownership back never fails'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'owned');
    const page = domain.iovaToPhys(bench.iova(0)) ?? 0;
    neverFails(bench, {
      prepare() {
        // Where it could not be put back last time it is blocked, until it is configured anew.
        iommu.cleanup(first.device);
        iommu.configure(first.device);
        iommu.claimOwnership(first.device, 'owner');
        iommu.attach(domain, first.device);
        bench.demandReads(first, bench.iova(0), page);
      },
      act: () => iommu.releaseOwnership(first.device, 'owner'),
      verify() {
        bench.demandNoAccess(first, bench.iova(0), 'given back', page);
        demandEqual(iommu.groupOf(first.device)?.owner, undefined, 'the owner');
      },
    });
  },

  'detach of an endpoint never fails'(bench) {
    const { iommu, first } = bench;
    const domain = filled(bench, 'detached');
    const page = domain.iovaToPhys(bench.iova(0)) ?? 0;
    const context = `${first.endpoint.provider}:${first.endpoint.context}`;
    neverFails(bench, {
      prepare() {
        iommu.attachEndpoint(domain, first.device, context);
        bench.demandReads(first, bench.iova(0), page);
      },
      act: () => iommu.detach(domain, first.device, context),
      verify: () => bench.demandNoAccess(first, bench.iova(0), 'detached', page),
    });
  },

  'an IOMMU that goes never fails to, and nothing passes'(bench) {
    const { iommu, first } = bench;
    const instance = bench.instanceOf(first);
    const domain = filled(bench, 'orphan');
    const page = domain.iovaToPhys(bench.iova(0)) ?? 0;
    neverFails(bench, {
      prepare() {
        if (!iommu.instances.includes(instance)) iommu.registerInstance(instance);
        for (const { device } of bench.sides) {
          iommu.cleanup(device);
          iommu.configure(device);
        }
        iommu.attach(domain, first.device);
        bench.demandReads(first, bench.iova(0), page);
      },
      act: () => iommu.removeInstance(instance.provider),
      verify: () => bench.demandNoAccess(first, bench.iova(0), 'the IOMMU has gone', page),
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
