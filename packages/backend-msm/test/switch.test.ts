import { describe, expect, test } from '@jest/globals';
import type { IommuDomain } from '@iommu-lab/iommu-core';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import * as fc from 'fast-check';
import { System } from './fixture.ts';

/** IOVAs lie in RAM, so that identity has something to read too. */
const WINDOW = 0x40100000;
const PAGES = 8;
const LARGE = 0x10000;

/** What a domain maps: page numbers in the window, or all of it as one large page. */
type Layout = readonly number[] | 'large';
const layout: fc.Arbitrary<Layout> = fc.oneof(
  { weight: 4, arbitrary: fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES }) },
  { weight: 1, arbitrary: fc.constant('large' as const) },
);

type Kind = 'paging' | 'identity' | 'blocked';
const kind = fc.constantFrom<Kind>('paging', 'paging', 'paging', 'identity', 'blocked');

/** The independent oracle: a flat map from page to what a read of it gives. */
type Flat = readonly (number | 'faulted')[];

/**
 * What the hardware may be. Between banks, tables of different page size never meet under one ASID, so a spare bank does
 * with a TLB that faults on two hits; in place they can meet under the ASID of transit.
 */
const HARDWARE = [
  { name: 'in place', options: { contextBanks: 2 }, isAtomic: false },
  { name: 'through a spare bank', options: { contextBanks: 3 }, isAtomic: true },
  {
    name: 'through a spare bank, with a TLB that faults on two hits',
    options: { contextBanks: 3, readings: { multiHit: 'fault' } },
    isAtomic: true,
  },
  {
    name: 'through a spare bank, with a TLB that keeps failed walks',
    options: { contextBanks: 3, readings: { failedWalks: 'kept' } },
    isAtomic: true,
  },
] as const;

describe.each(HARDWARE)('a switch under a running master, $name,', ({ options, isAtomic }) => {
  test('each access sees the old or the new, never a third, and the neighbour bank only its own', () => {
    const outcomes = { old: 0, new: 0, both: 0 };
    fc.assert(
      fc.property(
        kind,
        kind,
        layout,
        layout,
        fc.constantFrom<'old' | 'new' | 'own'>('old', 'new', 'own'),
        fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES }),
        fc.infiniteStream(fc.nat(PAGES - 1)),
        (fromKind, toKind, oldLayout, newLayout, neighbour, warm, stream) => {
          const system = new System({ ...options, config: { stallFaults: false } });
          const { src, dst } = system.devices;
          for (let page = 0; page < PAGES; page++) system.fill(WINDOW + page * 0x1000, 0x1d0 + page);
          const [from, fromFlat] = make(system, fromKind, 'old', 0x40200000, 0xa00, oldLayout);
          const [to, toFlat] = make(system, toKind, 'new', 0x40300000, 0xb00, newLayout);
          const [own, ownFlat] = make(system, 'paging', 'own', 0x40400000, 0xc00, 'large');
          const [other, otherFlat] =
            neighbour === 'old' ? [from, fromFlat] : neighbour === 'new' ? [to, toFlat] : [own, ownFlat];
          system.iommu.replace(from, src);
          system.iommu.replace(other, dst);
          const read = (mid: number, page: number): number | string =>
            system.dmaRead(system.rot, mid, WINDOW + page * 0x1000);
          for (const page of warm) read(page % 2, page);

          const bypassesBefore = system.rot.statistics.bypasses;
          let isNewSeen = false;
          const stop = system.world.interposer.observe(() => {
            for (let i = 0; i < 3; i++) {
              const page = stream.next().value as number;
              const seen = read(0, page);
              check(seen === fromFlat[page] || seen === toFlat[page], `a third thing: ${seen} at ${page}`);
              const isBoth = fromFlat[page] === toFlat[page];
              const isNew = !isBoth && seen === toFlat[page];
              outcomes[isBoth ? 'both' : isNew ? 'new' : 'old']++;
              check(!isAtomic || isNew || isBoth || !isNewSeen, `the old table after the new one at ${page}`);
              isNewSeen ||= isNew;
              check(read(1, page) === otherFlat[page], `the neighbour sees a strange table at ${page}`);
            }
          });
          system.iommu.replace(to, src);
          stop();
          if (fromKind !== 'identity' && toKind !== 'identity') {
            check(system.rot.statistics.bypasses === bypassesBefore, 'an access passed untranslated');
          }
          for (let page = 0; page < PAGES; page++) {
            check(read(0, page) === toFlat[page], `the old table lives on at ${page}`);
            check(read(1, page) === otherFlat[page], `the neighbour lost its table at ${page}`);
          }
        },
      ),
      { numRuns: 60 },
    );
    // The property proves something only if both sides of the switch were seen.
    expect(Math.min(outcomes.old, outcomes.new)).toBeGreaterThan(100);
  }, 30_000);

  test('a table that was left is not in the TLB any more when its ASID is given away', () => {
    const system = new System({ ...options, config: { stallFaults: false } });
    const { src } = system.devices;
    const [first] = make(system, 'paging', 'first', 0x40200000, 0xa00, 'large');
    const [second, flat] = make(system, 'paging', 'second', 0x40300000, 0xb00, [2]);
    system.iommu.replace(first, src);
    system.dmaRead(system.rot, 0, WINDOW);
    system.iommu.replace(system.iommu.blockedDomain, src);
    expect(system.rot.tlbEntries()).toEqual([]);
    system.iommu.replace(second, src);
    expect(system.dmaRead(system.rot, 0, WINDOW)).toBe(flat[0]);
  });
});

describe('two switches in a row', () => {
  test('the second finds nothing that the first one loaded on its way', () => {
    const system = new System({ config: { stallFaults: false } });
    const { src } = system.devices;
    const [first] = make(system, 'paging', 'first', 0x40200000, 0xa00, 'large');
    const [second] = make(system, 'paging', 'second', 0x40300000, 0xb00, 'large');
    const [third] = make(system, 'paging', 'third', 0x40400000, 0xc00, 'large');
    const seen = new Set<unknown>();
    const stop = system.world.interposer.observe(() => seen.add(system.dmaRead(system.rot, 0, WINDOW)));
    system.iommu.replace(first, src);
    system.iommu.replace(second, src);
    seen.clear();
    system.iommu.replace(third, src);
    stop();
    expect(seen).toEqual(new Set([0xb00, 0xc00]));
  });
});

describe('a map or unmap under a running master', () => {
  test('shows each page as before or as after, at every store, clean and register write', () => {
    fc.assert(
      fc.property(layout, fc.boolean(), fc.infiniteStream(fc.nat(PAGES - 1)), (pages, isMap, stream) => {
        const system = new System({ config: { stallFaults: false } });
        const { src } = system.devices;
        const domain = system.attached(src, 'd');
        fillAndMap(system, domain, 0x40200000, 0xa00, isMap ? [] : pages);
        const flat = flatOf(0xa00, pages);
        const stop = system.world.interposer.observe(() => {
          const page = stream.next().value as number;
          const seen = system.dmaRead(system.rot, 0, WINDOW + page * 0x1000);
          check(seen === 'faulted' || seen === flat[page], `neither before nor after: ${seen} at ${page}`);
        });
        if (isMap) fillAndMap(system, domain, 0x40200000, 0xa00, pages);
        else for (const { iova, sizeBytes } of domain.mappings()) domain.unmap(iova, sizeBytes);
        stop();
        for (let page = 0; page < PAGES; page++) {
          const expected = isMap ? flat[page] : 'faulted';
          check(
            system.dmaRead(system.rot, 0, WINDOW + page * 0x1000) === expected,
            `wrong after all at ${page}`,
          );
        }
      }),
      { numRuns: 40 },
    );
  }, 30_000);
});

/** As `expect`, without its price: it stands in a loop of thousands. */
function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

function make(
  system: System,
  kind: Kind,
  name: string,
  target: number,
  mark: number,
  pages: Layout,
): readonly [IommuDomain, Flat] {
  if (kind === 'blocked') return [system.iommu.blockedDomain, Array(PAGES).fill('faulted')];
  if (kind === 'identity') {
    return [system.iommu.identityDomain, [...Array(PAGES).keys()].map((page) => 0x1d0 + page)];
  }
  const domain = system.iommu.allocPagingDomain(system.devices.src, name);
  return [domain, fillAndMap(system, domain, target, mark, pages)];
}

function flatOf(mark: number, pages: Layout): Flat {
  const isMapped = (page: number): boolean => pages === 'large' || pages.includes(page);
  return [...Array(PAGES).keys()].map((page) => (isMapped(page) ? mark + page : 'faulted'));
}

function fillAndMap(system: System, domain: IommuDomain, target: number, mark: number, pages: Layout): Flat {
  for (let page = 0; page < PAGES; page++) system.fill(target + page * 0x1000, mark + page);
  if (pages === 'large') domain.map(WINDOW, target, LARGE, READ_WRITE);
  else
    for (const page of pages) domain.map(WINDOW + page * 0x1000, target + page * 0x1000, 0x1000, READ_WRITE);
  return flatOf(mark, pages);
}
