/** Which pages were written: noted by the hardware, read and cleared by whoever asks; or refused where it cannot. */
import { type IommuDomain, READ_ONLY, READ_WRITE } from '@iommu-lab/iommu-core';
import * as fc from 'fast-check';
import { type Bench, MARK_BYTES } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';

const PAGES = 12;
const DEFAULT_RUNS = 30;

export const dirty: readonly Check[] = defineAspect('dirty', {
  'hardware that does not note writes says so, and nothing changes'(bench) {
    const { domain, page } = bench.serving('plain');
    if (!bench.capabilities.dirtyTracking) {
      demandCode('EOPNOTSUPP', 'turning it on', () => domain.setDirtyTracking(true));
      demandCode('EOPNOTSUPP', 'turning it off', () => domain.setDirtyTracking(false));
      demandCode('EOPNOTSUPP', 'reading', () => void domain.readDirty(0, 0));
    }
    for (const fixed of [bench.iommu.blockedDomain, bench.iommu.identityDomain]) {
      demandCode('EINVAL', `noting writes in ${fixed.name}`, () => fixed.setDirtyTracking(true));
    }
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWrites(bench.first, bench.iova(0), page);
    bench.iommu.detach(domain, bench.first.device);
    domain.free();
    demandCode('EINVAL', 'noting writes in a freed domain', () => domain.setDirtyTracking(true));
  },

  'exactly the pages that were written are dirty'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const domain = granules(bench, 'written');
    demandCode('EINVAL', 'reading before it is on', () => void domain.readDirty(0, 0));
    write(bench, 1);
    domain.setDirtyTracking(true);
    demandDirty(bench, domain, [], 'written before it was on');
    for (const i of [2, 3, 7]) write(bench, i);
    for (const i of [4, 5]) bench.read(bench.first.master, bench.iova(i));
    bench.demandNoAccess(bench.first, bench.iova(PAGES), 'not mapped');
    demandDirty(bench, domain, [2, 3, 7], 'written since');
    demandDirty(bench, domain, [2, 3, 7], 'written since, read again');
    bench.write(bench.first.master, bench.iova(10) - 8, new Uint8Array(MARK_BYTES));
    demandDirty(bench, domain, [2, 3, 7, 9, 10], 'with a write over a boundary');
  },

  'what was cleared is clean until it is written again'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const domain = granules(bench, 'cleared');
    domain.setDirtyTracking(true);
    for (const i of [0, 4]) write(bench, i);
    demandDirty(bench, domain, [0, 4], 'written', { clear: true });
    demandDirty(bench, domain, [], 'cleared');
    // The TLB has the page, and has noted that it is dirty: it must have been told otherwise.
    write(bench, 4);
    demandDirty(bench, domain, [4], 'written again', { clear: true });
    for (let turn = 0; turn < 3; turn++) {
      write(bench, 4);
      demandDirty(bench, domain, [4], `written in turn ${turn}`, { clear: true });
    }
    demandDirty(bench, domain, [], 'cleared in the end');
  },

  'a range reads and clears what lies in it, and no more'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const { granule } = bench;
    const domain = granules(bench, 'ranges');
    domain.setDirtyTracking(true);
    for (const i of [1, 2, 5, 6]) write(bench, i);
    const read = (at: number, count: number, clear: boolean) =>
      domain.readDirty(bench.iova(at), count * granule, { clear }).map(({ iova }) => iova);
    demandEqual(read(2, 4, false), [bench.iova(2), bench.iova(5)], 'dirty pages of a range');
    demandEqual(read(3, 2, true), [], 'dirty pages of a range without any');
    demandEqual(read(2, 4, true), [bench.iova(2), bench.iova(5)], 'dirty pages of a range that is cleared');
    demandDirty(bench, domain, [1, 6], 'the others');
    demandCode('EINVAL', 'an unaligned range', () => void domain.readDirty(bench.iova(0) + 1, granule));
    demandCode('ERANGE', 'a range outside the aperture', () =>
      domain.readDirty(bench.capabilities.aperture.last + 1, granule),
    );
  },

  'off means off, and on again starts clean'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const domain = granules(bench, 'switched');
    for (let turn = 0; turn < 2; turn++) {
      domain.setDirtyTracking(true);
      domain.setDirtyTracking(true);
      demandDirty(bench, domain, [], `turned on, turn ${turn}`);
      write(bench, 3);
      demandDirty(bench, domain, [3], 'written');
      domain.setDirtyTracking(false);
      demandCode('EINVAL', 'reading while it is off', () => void domain.readDirty(0, 0));
      write(bench, 6);
    }
  },

  'pages that come are clean, pages that go are forgotten'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const { granule } = bench;
    const domain = granules(bench, 'moving');
    const page = bench.page();
    domain.setDirtyTracking(true);
    for (const i of [2, 3]) write(bench, i);
    domain.unmap(bench.iova(2), granule);
    demandDirty(bench, domain, [3], 'without the page that has gone');
    domain.map(bench.iova(2), page, granule, READ_WRITE);
    demandDirty(bench, domain, [3], 'with a new page');
    bench.demandReads(bench.first, bench.iova(2), page);
    demandDirty(bench, domain, [3], 'with a new page that was read');
    write(bench, 2);
    demandDirty(bench, domain, [2, 3], 'with a new page that was written');
  },

  'a write that is refused makes nothing dirty'(bench) {
    if (!bench.capabilities.dirtyTracking || !bench.capabilities.permissions.readOnly) return;
    const domain = bench.attached('refused');
    const page = bench.page();
    domain.map(bench.iova(0), page, bench.granule, READ_ONLY);
    domain.setDirtyTracking(true);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWriteFaults(bench.first, bench.iova(0), 'read-only', page);
    demandDirty(bench, domain, [], 'refused');
  },

  'a page of each size is dirty as a whole'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const domain = bench.attached('sizes');
    const iova = bench.largeIova();
    const block = bench.page(bench.largest);
    for (const size of bench.capabilities.pageSizes) {
      domain.map(iova, block, size, READ_WRITE);
      domain.setDirtyTracking(true);
      bench.demandWrites(bench.first, iova + size - MARK_BYTES, block + size - MARK_BYTES);
      demandEqual(domain.readDirty(0, 0), [{ iova, sizeBytes: size }], `a page of ${size} bytes`);
      domain.setDirtyTracking(false);
      domain.unmap(iova, size);
    }
  },

  'it is the domain’s: it goes where the domain goes, and stays when devices leave'(bench) {
    if (!bench.capabilities.dirtyTracking) return;
    const { iommu, first, second } = bench;
    const domain = granules(bench, 'wandering');
    const other = bench.serving('other', 0, second);
    domain.setDirtyTracking(true);
    write(bench, 1);
    bench.demandWrites(second, bench.iova(0), other.page);
    demandDirty(bench, domain, [1], 'of this domain');
    iommu.detach(domain, first.device);
    demandDirty(bench, domain, [1], 'without a device');
    iommu.attach(domain, first.device);
    write(bench, 2);
    demandDirty(bench, domain, [1, 2], 'with its device again');
    if (bench.instanceOf(first).tableKey !== bench.instanceOf(second).tableKey) return;
    iommu.replace(domain, second.device);
    bench.write(second.master, bench.iova(5), new Uint8Array(MARK_BYTES));
    demandDirty(bench, domain, [1, 2, 5], 'by either device');
    demandDirty(bench, domain, [1, 2, 5], 'by either device', { clear: true });
    for (const { master } of bench.sides) bench.write(master, bench.iova(5), new Uint8Array(MARK_BYTES));
    demandDirty(bench, domain, [5], 'by either device after it was cleared');
  },

  'random writes, reads and clears do what a set of pages says'(bench, { runs, seed }) {
    if (!bench.capabilities.dirtyTracking) return;
    const domain = granules(bench, 'random');
    const at = fc.nat({ max: PAGES - 1 });
    const step = fc.record({ kind: fc.constantFrom('write', 'write', 'read', 'look', 'clear'), at });
    const run = (steps: readonly { kind: string; at: number }[]): void => {
      domain.setDirtyTracking(true);
      const model = new Set<number>();
      for (const { kind, at: i } of steps) {
        if (kind === 'write') write(bench, i);
        else if (kind === 'read') bench.read(bench.first.master, bench.iova(i));
        else demandDirty(bench, domain, sorted(model), 'so far', { clear: kind === 'clear', isAll: false });
        if (kind === 'write') model.add(i);
        if (kind === 'clear') model.clear();
      }
      demandDirty(bench, domain, sorted(model), 'in the end');
      domain.setDirtyTracking(false);
    };
    fc.assert(fc.property(fc.array(step, { maxLength: 30, size: 'max' }), run), {
      numRuns: runs ?? DEFAULT_RUNS,
      ...(seed === undefined ? {} : { seed }),
    });
  },
});

/** An attached domain with pages at the first granules of the window, none of them part of a larger page. */
function granules(bench: Bench, name: string): IommuDomain {
  const domain = bench.attached(name);
  bench
    .scatteredPages(PAGES)
    .forEach((page, i) => domain.map(bench.iova(i), page, bench.granule, READ_WRITE));
  return domain;
}

function write(bench: Bench, index: number): void {
  const { state } = bench.write(bench.first.master, bench.iova(index) + 0x40, new Uint8Array(MARK_BYTES));
  demand(state === 'done', `a write to page ${index} ends`);
}

function demandDirty(
  bench: Bench,
  domain: IommuDomain,
  indices: readonly number[],
  what: string,
  /** All of the domain is asked for, unless not. */
  options: { readonly clear?: boolean; readonly isAll?: boolean } = {},
): void {
  const expected = indices.map((i) => ({ iova: bench.iova(i), sizeBytes: bench.granule }));
  const { isAll = true } = options;
  const range = isAll ? ([0, 0] as const) : ([bench.iova(0), PAGES * bench.granule] as const);
  demandEqual(domain.readDirty(...range, options), expected, `dirty pages, ${what}`);
}

function sorted(set: ReadonlySet<number>): readonly number[] {
  return [...set].sort((a, b) => a - b);
}
