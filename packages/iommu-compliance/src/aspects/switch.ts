/** A running master sees the old translation or the new one, at every step in between, and never a third thing. */
import { type IommuDomain, READ_WRITE } from '@iommu-lab/iommu-core';
import type { Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandEqual } from '../demand.ts';
import { type TwoPlaces, watchOrder } from '../watch-order.ts';
import { type Probe, watchSteps } from '../watch-steps.ts';

export const switching: readonly Check[] = defineAspect('switch', {
  'replace: old or new at every step, new once it returns'(bench) {
    const { old, next, oldPage, newPage } = twoDomains(bench);
    const { iommu, first } = bench;
    const probe = switched(bench, [oldPage, newPage]);
    for (let round = 0; round < 2; round++) {
      watchSteps(bench, [probe], () => iommu.replace(next, first.device));
      bench.demandReads(first, bench.iova(0), newPage);
      watchSteps(bench, [probe], () => iommu.replace(old, first.device));
      bench.demandReads(first, bench.iova(0), oldPage);
    }
  },

  'replace: over many pages, an atomic switch shows no access the old table once one has seen the new'(
    bench,
  ) {
    const pages = manyPages(bench);
    for (let round = 0; round < 2; round++) {
      for (const [from, to] of [
        [pages.old, pages.next],
        [pages.next, pages.old],
      ] as const) {
        // Some are in the TLB already, others not.
        for (const { iova } of from.places.slice(0, 3)) bench.demandReads(bench.first, iova, from.at(iova));
        const places = from.places.map(({ iova }): TwoPlaces => ({
          iova,
          oldAddress: from.at(iova),
          newAddress: to.at(iova),
        }));
        watchOrder(bench, bench.first, places, () => bench.iommu.replace(to.domain, bench.first.device));
        for (const { iova } of places) bench.demandReads(bench.first, iova, to.at(iova));
      }
    }
  },

  'replace: between tables of pages of other sizes'(bench) {
    const { granule, largest, iommu, first } = bench;
    const iova = bench.largeIova();
    const [large, small] = [bench.page(largest), bench.page(largest)];
    const [old, next] = [bench.attached('large'), bench.domain('small')];
    old.map(iova, large, largest, READ_WRITE);
    // Every other granule of the first eight, and the last: each a page of its own, around which the large one goes on.
    const offsets = [0, 2, 4, 6].map((i) => (i * granule) % largest).concat(largest - granule);
    for (const offset of new Set(offsets)) next.map(iova + offset, small + offset, granule, READ_WRITE);
    for (const [from, to, target] of [
      [large, small, next],
      [small, large, old],
      [large, small, next],
    ] as const) {
      const places = [...new Set(offsets)].map((offset): TwoPlaces => ({
        iova: iova + offset,
        oldAddress: from + offset,
        newAddress: to + offset,
      }));
      bench.demandReads(first, iova, from);
      watchOrder(bench, first, places, () => iommu.replace(target, first.device));
      for (const { iova: at, newAddress } of places) bench.demandReads(first, at, newAddress);
      if (largest > granule) {
        const [behind, address] = [iova + largest / 2 + granule, large + largest / 2 + granule];
        if (target === old) bench.demandReads(first, behind, address);
        else bench.demandNoAccess(first, behind, 'only the large page had it', address);
      }
    }
  },

  'replace: through three domains and back, by both devices in turn: never one of before'(bench) {
    const { iommu, granule } = bench;
    const domains = [0, 1, 2].map((n) => {
      const domain = bench.domain(`turn-${n}`);
      const pages = bench.scatteredPages(3);
      pages.forEach((page, i) => domain.map(bench.iova(2 * i), page, granule, READ_WRITE));
      return { domain, pages };
    });
    const isShared = bench.instanceOf(bench.first).tableKey === bench.instanceOf(bench.second).tableKey;
    const sides = isShared ? bench.sides : [bench.first];
    const current = sides.map((side) => {
      iommu.attach((domains[0] as (typeof domains)[number]).domain, side.device);
      return 0;
    });
    for (const turn of [1, 2, 0, 2, 1, 0]) {
      for (const [which, side] of sides.entries()) {
        const from = domains[current[which] ?? 0] as (typeof domains)[number];
        const to = domains[turn] as (typeof domains)[number];
        const probes = [0, 1, 2].map((i): Probe => ({
          side,
          iova: bench.iova(2 * i),
          mayReach: [from.pages[i] ?? 0, to.pages[i] ?? 0],
          mayFault: isDisruptive(bench),
        }));
        watchSteps(bench, probes, () => iommu.replace(to.domain, side.device));
        current[which] = turn;
        to.pages.forEach((page, i) => bench.demandReads(side, bench.iova(2 * i), page));
      }
    }
  },

  'replace: both devices on one table, one of them leaves it'(bench) {
    const { old, next, oldPage, newPage } = twoDomains(bench);
    const { iommu, first, second } = bench;
    if (bench.instanceOf(first).tableKey !== bench.instanceOf(second).tableKey) return;
    iommu.attach(old, second.device);
    const stays: Probe = { side: second, iova: bench.iova(0), mayReach: [oldPage], mayFault: false };
    watchSteps(bench, [switched(bench, [oldPage, newPage]), stays], () => iommu.replace(next, first.device));
    watchSteps(bench, [{ ...stays, mayReach: [oldPage, newPage], mayFault: isDisruptive(bench) }], () =>
      iommu.replace(next, second.device),
    );
    for (const side of bench.sides) bench.demandReads(side, bench.iova(0), newPage);
  },

  'replace: what only one of the two has is reached there or refused'(bench) {
    const { old, next } = twoDomains(bench);
    const { iommu, first } = bench;
    const [onlyOld, onlyNew] = bench.scatteredPages(2) as [number, number];
    old.map(bench.iova(5), onlyOld, bench.granule, READ_WRITE);
    next.map(bench.iova(6), onlyNew, bench.granule, READ_WRITE);
    const probes: Probe[] = [
      { side: first, iova: bench.iova(5), mayReach: [onlyOld], mayFault: true },
      { side: first, iova: bench.iova(6), mayReach: [onlyNew], mayFault: true },
      { side: first, iova: bench.iova(9), mayReach: [], mayFault: true },
    ];
    watchSteps(bench, probes, () => iommu.replace(next, first.device));
    bench.demandNoAccess(first, bench.iova(5), 'only in the old domain', onlyOld);
    bench.demandReads(first, bench.iova(6), onlyNew);
    bench.demandNoAccess(first, bench.iova(9), 'in neither');
  },

  'replace: the other device does not notice'(bench) {
    const { next } = twoDomains(bench);
    const page = bench.page();
    bench.attached('bystander', bench.second).map(bench.iova(0), page, bench.granule, READ_WRITE);
    const bystander: Probe = { side: bench.second, iova: bench.iova(0), mayReach: [page], mayFault: false };
    watchSteps(bench, [bystander], () => bench.iommu.replace(next, bench.first.device));
    watchSteps(bench, [bystander], () => bench.iommu.replace(bench.iommu.blockedDomain, bench.first.device));
  },

  'attach and detach: the domain or nothing'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.domain('coming');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const probes: Probe[] = [
      { side: first, iova: bench.iova(0), mayReach: [page], mayFault: true },
      { side: first, iova: bench.iova(3), mayReach: [], mayFault: true },
    ];
    watchSteps(bench, probes, () => iommu.attach(domain, first.device));
    bench.demandReads(first, bench.iova(0), page);
    watchSteps(bench, probes, () => iommu.detach(domain, first.device));
    bench.demandNoAccess(first, bench.iova(0), 'detached', page);
  },

  'to blocked and back: the domain or nothing'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('stopped');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const probe: Probe = { side: first, iova: bench.iova(0), mayReach: [page], mayFault: true };
    watchSteps(bench, [probe], () => iommu.replace(iommu.blockedDomain, first.device));
    bench.demandNoAccess(first, bench.iova(0), 'blocked', page);
    watchSteps(bench, [probe], () => iommu.attach(domain, first.device));
    bench.demandReads(first, bench.iova(0), page);
  },

  'a device that leaves: the domain or nothing'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('leaving');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const probes: Probe[] = [
      { side: first, iova: bench.iova(0), mayReach: [page], mayFault: true },
      { side: first, iova: bench.iova(3), mayReach: [], mayFault: true },
    ];
    watchSteps(bench, probes, () => iommu.cleanup(first.device));
    bench.demandNoAccess(first, bench.iova(0), 'gone', page);
    watchSteps(bench, [{ ...probes[0], mayReach: [] } as Probe], () => iommu.configure(first.device));
  },

  'map: its page or nothing, and its neighbours are never disturbed'(bench) {
    const { granule, first } = bench;
    const block = bench.page(8 * granule);
    const domain = bench.attached('growing');
    domain.map(bench.iova(0), block, granule, READ_WRITE);
    domain.map(bench.iova(7), block + 7 * granule, granule, READ_WRITE);
    const probes = [0, 3, 7].map((i): Probe => ({
      side: first,
      iova: bench.iova(i),
      mayReach: [block + i * granule],
      mayFault: i === 3,
    }));
    watchSteps(bench, probes, () => domain.map(bench.iova(1), block + granule, 6 * granule, READ_WRITE));
    for (let i = 0; i < 8; i++) bench.demandReads(first, bench.iova(i), block + i * granule);
  },

  'unmap: its page or nothing, and its neighbours are never disturbed'(bench) {
    const { granule, first } = bench;
    const block = bench.page(8 * granule);
    const domain = bench.attached('shrinking');
    for (let i = 0; i < 8; i++) domain.map(bench.iova(i), block + i * granule, granule, READ_WRITE);
    const probes = [0, 3, 7].map((i): Probe => ({
      side: first,
      iova: bench.iova(i),
      mayReach: [block + i * granule],
      mayFault: i === 3,
    }));
    watchSteps(bench, probes, () => void domain.unmap(bench.iova(1), 6 * granule));
    for (let i = 1; i < 7; i++) bench.demandNoAccess(first, bench.iova(i), 'unmapped', block + i * granule);
    for (const i of [0, 7]) bench.demandReads(first, bench.iova(i), block + i * granule);
  },

  'a large page comes and goes in one piece'(bench) {
    const { granule, largest, first } = bench;
    const block = bench.page(largest);
    const iova = bench.largeIova();
    const domain = bench.attached('large');
    const probes = [0, largest - granule].map((offset): Probe => ({
      side: first,
      iova: iova + offset,
      mayReach: [block + offset],
      mayFault: true,
    }));
    watchSteps(bench, probes, () => domain.map(iova, block, largest, READ_WRITE));
    bench.demandReads(first, iova + largest - 16, block + largest - 16);
    watchSteps(bench, probes, () => void domain.unmap(iova, largest));
    bench.demandNoAccess(first, iova + largest - granule, 'unmapped', block + largest - granule);
  },

  'identity and back: translated or passed through, or refused and nothing changes'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('through');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    if (!bench.instanceOf(first).capabilities.identity) {
      const still: Probe = { side: first, iova: bench.iova(0), mayReach: [page], mayFault: false };
      watchSteps(bench, [still], () => {
        try {
          iommu.replace(iommu.identityDomain, first.device);
        } catch {
          // Refused, as it must be: the aspect "attach" looks at the code.
        }
      });
      demandEqual(iommu.domainOf(first.device)?.name, 'through', 'the current domain');
      return;
    }
    const places = bench.isMirrored ? [page, bench.iova(0)] : [page];
    const probe = { ...switched(bench, places), mayFault: !bench.isMirrored || isDisruptive(bench) };
    watchSteps(bench, [probe], () => iommu.replace(iommu.identityDomain, first.device));
    if (bench.isMirrored) bench.demandReads(first, bench.iova(0), bench.iova(0));
    watchSteps(bench, [probe], () => iommu.replace(domain, first.device));
    bench.demandReads(first, bench.iova(0), page);
  },
});

interface TwoDomains {
  readonly old: IommuDomain;
  readonly next: IommuDomain;
  readonly oldPage: number;
  readonly newPage: number;
}

/** An attached domain and another, each with a page of its own at the window's first IOVA. */
function twoDomains(bench: Bench): TwoDomains {
  const [oldPage, newPage] = bench.scatteredPages(2) as [number, number];
  const old = bench.attached('old');
  const next = bench.domain('new');
  old.map(bench.iova(0), oldPage, bench.granule, READ_WRITE);
  next.map(bench.iova(0), newPage, bench.granule, READ_WRITE);
  return { old, next, oldPage, newPage };
}

interface ManyPages {
  readonly domain: IommuDomain;
  readonly places: readonly { readonly iova: number }[];
  readonly at: (iova: number) => number;
}

/** Two domains, the first attached, with other pages at the same IOVAs, some of them in other tables. */
function manyPages(bench: Bench): { readonly old: ManyPages; readonly next: ManyPages } {
  const { granule, largest, base } = bench;
  const far = base % largest === 0 && base + largest <= bench.capabilities.aperture.last ? largest : 0;
  const iovas = [0, 1, 2, 9, 40].map((i) => bench.iova(i));
  if (far > 64 * granule) iovas.push(base + far);
  const make = (domain: IommuDomain): ManyPages => {
    const block = bench.page(iovas.length * granule, granule);
    const at = (iova: number): number => block + iovas.indexOf(iova) * granule;
    for (const iova of iovas) domain.map(iova, at(iova), granule, READ_WRITE);
    return { domain, places: iovas.map((iova) => ({ iova })), at };
  };
  return { old: make(bench.attached('old')), next: make(bench.domain('new')) };
}

/** The window's first IOVA of the first device while it is moved: refused only where the manifest says so. */
function switched(bench: Bench, mayReach: readonly number[]): Probe {
  return { side: bench.first, iova: bench.iova(0), mayReach, mayFault: isDisruptive(bench) };
}

function isDisruptive(bench: Bench): boolean {
  return bench.instanceOf(bench.first).capabilities.switchKind === 'disruptive';
}
