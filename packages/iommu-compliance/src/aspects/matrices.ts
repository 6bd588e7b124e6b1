/**
 * Ranges, sizes and offsets against each other: the cases of the kernel's own suites (io-pgtable's self test, iommufd's
 * all_aligns, the page table tests of generic_pt), written anew.
 * Long because each suite's cases stand together, in the order of the original.
 */
import { type IommuDomain, type Protection, READ_WRITE } from '@iommu-lab/iommu-core';
import { isLabError, Random } from '@iommu-lab/machine';
import { MARK_BYTES, type Bench } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { caught, demand, demandCode, demandEqual, describe } from '../demand.ts';
import { OVERLAPS } from './address-space.ts';

/** Small pages that a check fills a larger one with, at most. */
const MOST_SMALL = 256;

export const matrices: readonly Check[] = defineAspect('page-sizes', {
  'self test: every size at a slot of its own, refused a second time, unmapped and mapped anew'(bench) {
    const { capabilities, largest, granule } = bench;
    const { noExec } = capabilities.permissions;
    const domain = bench.domain('slots');
    const base = Math.ceil(capabilities.aperture.start / largest) * largest;
    // As many slots as fit; each leads to itself, as far as the hardware can.
    const slots = capabilities.pageSizes
      .map((size, i) => ({ size, iova: base + i * largest }))
      .filter(
        ({ size, iova }) =>
          iova + size - 1 <= Math.min(capabilities.aperture.last, capabilities.lastPhysAddr),
      );
    const rights: Protection = { read: true, write: true, cacheable: true, ...(noExec && { noExec }) };
    for (const { iova } of slots) demandEqual(domain.iovaToPhys(iova + 42), undefined, 'an empty table');
    for (const { size, iova } of slots) {
      domain.map(iova, iova, size, rights);
      demandCode('EEXIST', `a second page of ${size} bytes`, () => domain.map(iova, iova, size, READ_WRITE));
      demandEqual(domain.iovaToPhys(iova + 42), iova + 42, `where a page of ${size} bytes leads`);
      demandEqual(domain.iovaToPhys(iova + size - 1), iova + size - 1, `where its last byte leads`);
    }
    for (const { size, iova } of slots) {
      demandEqual(domain.unmap(iova, size), size, `bytes removed of a page of ${size} bytes`);
      demandEqual(domain.iovaToPhys(iova + 42), undefined, 'what was unmapped');
      domain.map(iova, iova, size, READ_WRITE);
      demandEqual(domain.iovaToPhys(iova + 42), iova + 42, 'what was mapped anew');
    }
    demandEqual(
      domain.mappedBytes,
      slots.reduce((sum, s) => sum + s.size, 0),
      'bytes mapped',
    );
    demand(granule > 0 && slots.length > 0, 'there is a slot');
    domain.free();
  },

  'every start and end in eight granules: that much, no more and no less'(bench) {
    const { granule, first } = bench;
    const block = bench.page(8 * granule);
    const marks = granules(8).map((i) => bench.markAt(block + i * granule));
    const domain = bench.attached('aligns');
    for (const start of granules(8)) {
      for (let end = start + 1; end <= 8; end++) {
        const what = `granules ${start} to ${end - 1}`;
        const sizeBytes = (end - start) * granule;
        domain.map(bench.iova(8 + start), block + start * granule, sizeBytes, READ_WRITE);
        for (const i of [start, Math.floor((start + end) / 2), end - 1]) {
          if (i >= end) continue;
          const { data } = bench.read(first.master, bench.iova(8 + i));
          demandEqual(data, marks[i], `${what}: what granule ${i} returns`);
        }
        const whole = bench.read(first.master, bench.iova(8 + start), sizeBytes);
        demandEqual([whole.state, whole.doneBytes], ['done', sizeBytes], `${what}: a read of all`);
        demandEqual(whole.data, bench.load(block + start * granule, sizeBytes), `${what}: its content`);
        for (const i of [start - 1, end]) {
          bench.demandReadFaults(first, bench.iova(8 + i), `${what}: granule ${i} is outside`);
        }
        demandEqual(domain.unmap(bench.iova(8 + start), sizeBytes), sizeBytes, `${what}: bytes removed`);
        bench.demandReadFaults(first, bench.iova(8 + start), `${what}: unmapped`);
      }
    }
  },

  'every size, at each offset from its alignment, to each offset: in the pages a brute force finds'(bench) {
    const { capabilities, granule } = bench;
    const domain = bench.attached('offsets');
    for (const size of capabilities.pageSizes.slice(0, 3)) {
      const block = bench.page(2 * size, size);
      const offsets = [...new Set([0, granule, size / 2, size - granule])].filter(
        (o) => o % granule === 0 && o < size,
      );
      for (const atOffset of offsets) {
        for (const toOffset of offsets) {
          const at = bench.largeIova() + atOffset;
          const to = block + toOffset;
          demandPages(bench, domain, at, to, size, atOffset === toOffset);
        }
      }
    }
  },

  'fixed vectors: the pages are the largest that can be, up to every boundary'(bench) {
    const { capabilities, granule, largest } = bench;
    const domain = bench.domain('vectors');
    const [second = granule, third = second] = capabilities.pageSizes.slice(1);
    const base = bench.largeIova();
    const vectors: readonly (readonly [iova: number, address: number, sizeBytes: number])[] = [
      [base, 0, granule],
      [base, 0, largest],
      [base, 0, largest + granule],
      [base + largest - granule, largest - granule, 2 * granule],
      [base + largest - second, largest - second, second + granule],
      // Congruent modulo the second size, not the third.
      [base, second, 3 * second],
      [base + granule, second + granule, 2 * second],
      // Never congruent with any larger size.
      [base, granule, 2 * second],
      [base + granule, 0, 2 * second],
      // Up to the third size in steps of the second, one of the third, and on in steps of the second.
      [base + third - 2 * second, third - 2 * second, third + 4 * second],
      // Reported on AMD: 0x20000 bytes at 0xfef80000 that lead to 0x208b95d000.
      regressionOnAmd(bench),
    ];
    for (const [iova, address, sizeBytes] of vectors) {
      const { start, last } = capabilities.aperture;
      const isInside = iova >= start && iova + sizeBytes - 1 <= last;
      if (isInside && address >= 0 && address + sizeBytes - 1 <= capabilities.lastPhysAddr) {
        demandLeaves(bench, domain, iova, address, sizeBytes);
      }
    }
    domain.free();
  },

  'a range of many sizes is right at every boundary of a page'(bench) {
    const { capabilities, granule } = bench;
    const sizes = capabilities.pageSizes;
    // Of the two sizes in the middle: 14 small ones, 3 large ones, 3 small ones.
    const small = sizes[1] ?? granule;
    const large = sizes.find((size) => size > small && size <= 256 * small) ?? small;
    const before = large === small ? 14 * small : (14 * small) % large;
    const iova = bench.largeIova() + (large === small ? 0 : large - before);
    const block = bench.page(6 * large + 20 * small, large) + (large === small ? 0 : large - before);
    const sizeBytes = before + 3 * large + 3 * small;
    if (iova + sizeBytes - 1 > capabilities.aperture.last) return;
    const domain = bench.attached('many sizes');
    domain.map(iova, block, sizeBytes, READ_WRITE);
    for (const { at, pageSize } of bruteForce(sizes, iova, block, sizeBytes)) {
      for (const offset of [at - iova, at - iova + pageSize - MARK_BYTES]) {
        bench.demandReads(bench.first, iova + offset, block + offset);
      }
    }
    bench.demandReadFaults(bench.first, iova + sizeBytes, 'behind the range');
    demandEqual(domain.unmap(iova, sizeBytes), sizeBytes, 'bytes removed');
    bench.demandReadFaults(bench.first, iova, 'unmapped');
    bench.demandReadFaults(bench.first, iova + before + large, 'unmapped');
  },

  'five kinds of overlap at each size, by pages of each size'(bench) {
    const { capabilities, first } = bench;
    const domain = bench.attached('overlaps');
    for (const size of capabilities.pageSizes.slice(0, 3)) {
      const iova = bench.largeIova();
      const block = bench.page(2 * size, size);
      const other = bench.page(size);
      // Two pages of the size, then the same with the unit of each smaller size at both ends.
      domain.map(iova, block, 2 * size, READ_WRITE);
      const tables = bench.fixture.allocatedTableBytes();
      for (const unit of capabilities.pageSizes) {
        if (unit > size) continue;
        for (const [at, count] of OVERLAPS) {
          const start = iova + (at - 4) * unit + (at === 5 ? 2 * size - 2 * unit : 0);
          if (start < capabilities.aperture.start) continue;
          demandCode('EEXIST', `${count} pages of ${unit} bytes at ${at} over two of ${size}`, () =>
            domain.map(start, other, count * unit, READ_WRITE),
          );
        }
      }
      demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory after refusals');
      for (const offset of [0, 2 * size - MARK_BYTES])
        bench.demandReads(first, iova + offset, block + offset);
      bench.demandReadFaults(first, iova + 2 * size, 'never mapped');
      demandEqual(domain.unmap(iova, 2 * size), 2 * size, 'bytes removed');
    }
  },

  'the head of a large page takes all of it, and not its neighbour'(bench) {
    const { capabilities, granule, first } = bench;
    const domain = bench.attached('heads');
    for (const size of capabilities.pageSizes.slice(1)) {
      const iova = bench.largeIova();
      if (iova + size + granule - 1 > capabilities.aperture.last) continue;
      const block = bench.page(size);
      const neighbour = bench.page();
      domain.map(iova, block, size, READ_WRITE);
      domain.map(iova + size, neighbour, granule, READ_WRITE);
      if (iova > granule) domain.map(iova - granule, neighbour, granule, READ_WRITE);
      for (const offset of [0, size - MARK_BYTES]) bench.demandReads(first, iova + offset, block + offset);
      bench.demandReads(first, iova + size, neighbour);
      demandEqual(domain.unmap(iova, granule), size, `bytes removed by the head of a page of ${size} bytes`);
      for (const offset of [0, granule, size - granule]) {
        bench.demandNoAccess(first, iova + offset, 'gone with its head', block + offset);
      }
      bench.demandReads(first, iova + size, neighbour);
      demandEqual(domain.unmap(iova + size, granule), granule, 'bytes removed of the neighbour');
      if (iova > granule) demandEqual(domain.unmap(iova - granule, granule), granule, 'of the other one');
    }
  },

  'an unmap that ends inside a large page takes that page, and nothing behind it'(bench) {
    const { capabilities, granule, first } = bench;
    const [size] = capabilities.pageSizes.slice(1);
    if (size === undefined) return;
    const domain = bench.attached('tails');
    const iova = bench.largeIova() + (bench.largest === size ? 0 : size);
    const block = bench.page(2 * size, size);
    const neighbour = bench.page();
    if (iova < granule) return;
    domain.map(iova - granule, neighbour, granule, READ_WRITE);
    domain.map(iova, block, 2 * size, READ_WRITE);
    demandEqual(domain.unmap(iova - granule, 2 * granule), granule + size, 'bytes removed');
    bench.demandNoAccess(first, iova + size - granule, 'gone with its page', block + size - granule);
    bench.demandReads(first, iova + size, block + size);
  },

  'small pages fill what a large one takes: while one lives it is refused, then it fits'(bench) {
    const { capabilities, first } = bench;
    const { pageSizes } = capabilities;
    const domain = bench.attached('filled');
    for (const [index, size] of pageSizes.entries()) {
      const small = pageSizes.slice(0, index).find((s) => size / s <= MOST_SMALL);
      if (small === undefined) continue;
      const iova = bench.largeIova();
      const empty = bench.fixture.allocatedTableBytes();
      const [block, large] = [bench.page(small), bench.page(size)];
      const count = size / small;
      // All to one page: each on its own, so that none of them is part of a larger one.
      for (let i = 0; i < count; i++) domain.map(iova + i * small, block, small, READ_WRITE);
      for (const i of [0, count / 2, count - 1]) bench.demandReads(first, iova + i * small, block);
      demandEqual(domain.unmap(iova, size / 2), size / 2, 'bytes removed of the first half at once');
      for (let i = count / 2; i < count - 1; i++) {
        demandEqual(domain.unmap(iova + i * small, small), small, `bytes removed of page ${i}`);
      }
      demandCode('EEXIST', 'a large page over the last small one', () =>
        domain.map(iova, large, size, READ_WRITE),
      );
      bench.demandReads(first, iova + (count - 1) * small, block);
      bench.demandReadFaults(first, iova, 'unmapped, and the large page was refused');
      demandEqual(domain.unmap(iova + (count - 1) * small, small), small, 'bytes removed of the last one');
      domain.map(iova, large, size, READ_WRITE);
      for (const offset of [0, size / 2, size - MARK_BYTES]) {
        bench.demandReads(first, iova + offset, large + offset);
        bench.demandWrites(first, iova + offset, large + offset);
      }
      demandEqual(domain.unmap(iova, size), size, 'bytes removed of the large page');
      demand(
        bench.fixture.allocatedTableBytes() <= empty + size,
        'tables do not grow with each size that was tried',
      );
    }
  },

  'a thousand random maps over each other: EEXIST or mapped, as a list of intervals says'(
    bench,
    { runs, seed = 1 },
  ) {
    const { granule } = bench;
    const random = new Random(seed);
    const domain = bench.attached('random maps');
    const pages = 512;
    const block = bench.page(64 * granule, granule);
    /** By granule of the IOVA window, what it leads to. */
    const model = new Map<number, number>();
    const iovaOf = (at: number): number => bench.base + at * granule;
    const total = Math.min(pages, Math.floor((bench.capabilities.aperture.last - bench.base) / granule));
    for (let n = 0; n < (runs === undefined ? 1000 : Math.max(200, runs * 10)); n++) {
      const at = random.integer(0, total - 17);
      const count = 1 + random.integer(0, 15);
      const to = block + random.integer(0, 47) * granule;
      const isFree = granules(count).every((i) => !model.has(at + i));
      if (random.oneIn(4)) {
        const step = random.oneIn(3) ? 16 : 1;
        for (let i = at; i < at + count; i += step)
          unmapGranules(bench, domain, model, i, Math.min(step, at + count - i));
        continue;
      }
      const error = caught(() => domain.map(iovaOf(at), to, count * granule, READ_WRITE));
      const isRight = isFree ? error === undefined : isLabError(error, 'EEXIST');
      demand(
        isRight,
        `seed ${seed}, map ${n}, ${count} granules at ${at}, ${isFree ? 'free' : 'taken'}: ${describe(error)}`,
      );
      if (isFree) granules(count).forEach((i) => model.set(at + i, to + i * granule));
    }
    for (const at of granules(total)) {
      demandEqual(domain.iovaToPhys(iovaOf(at)), model.get(at), `where granule ${at} leads`);
    }
    for (const at of granules(40).map(() => random.integer(0, total - 1))) {
      const to = model.get(at);
      if (to === undefined) bench.demandReadFaults(bench.first, iovaOf(at), `granule ${at} is not mapped`);
      else bench.demandReads(bench.first, iovaOf(at), to);
    }
  },
});

/** Unmaps, and lets the model follow where a larger page went whole or its middle was refused. */
function unmapGranules(
  bench: Bench,
  domain: IommuDomain,
  model: Map<number, number>,
  at: number,
  count: number,
): void {
  const { granule } = bench;
  let removed: number;
  try {
    removed = domain.unmap(bench.base + at * granule, count * granule) / granule;
  } catch (error) {
    if (isLabError(error, 'EINVAL') && model.has(at) && bench.largest > granule) return;
    throw error;
  }
  let expected = 0;
  while (expected < count && model.has(at + expected)) expected++;
  demand(
    removed === expected || (removed > expected && bench.largest > granule),
    `unmap of ${count} granules at ${at}: expected ${expected}, got ${removed}`,
  );
  for (let i = 0; i < removed; i++) demand(model.delete(at + i), `granule ${at + i} was mapped`);
}

/** The pages of a range, by trying every size at every position. */
function bruteForce(
  pageSizes: readonly number[],
  iova: number,
  address: number,
  sizeBytes: number,
): readonly { readonly at: number; readonly pageSize: number }[] {
  const pages: { at: number; pageSize: number }[] = [];
  for (let done = 0; done < sizeBytes;) {
    const [at, to] = [iova + done, address + done];
    const fitting = pageSizes.filter((s) => at % s === 0 && to % s === 0 && s <= sizeBytes - done);
    const pageSize = Math.max(...fitting);
    pages.push({ at, pageSize });
    done += pageSize;
  }
  return pages;
}

/** Maps a range to memory that is there, looks at it by DMA, and finds its pages. */
function demandPages(
  bench: Bench,
  domain: IommuDomain,
  at: number,
  to: number,
  sizeBytes: number,
  isThorough: boolean,
): void {
  const { granule, first } = bench;
  domain.map(at, to, sizeBytes, READ_WRITE);
  for (const offset of new Set([0, sizeBytes / 2, sizeBytes - granule])) {
    if (offset % granule !== 0) continue;
    bench.demandReads(first, at + offset, to + offset);
    if (isThorough) bench.demandWrites(first, at + offset, to + offset);
  }
  bench.demandReadFaults(first, at + sizeBytes, 'behind the range');
  demandGoesByPages(bench, domain, at, to, sizeBytes);
  bench.demandReadFaults(first, at + sizeBytes - granule, 'unmapped');
}

/** Maps a range, and finds its pages. */
function demandLeaves(
  bench: Bench,
  domain: IommuDomain,
  iova: number,
  address: number,
  sizeBytes: number,
): void {
  domain.map(iova, address, sizeBytes, READ_WRITE);
  for (let done = 0; done < sizeBytes; done += bench.granule) {
    if (done > 40 * bench.granule && done < sizeBytes - 40 * bench.granule) continue;
    demandEqual(domain.iovaToPhys(iova + done), address + done, `where +${done} of ${iova} leads`);
  }
  demandGoesByPages(bench, domain, iova, address, sizeBytes);
}

/** What one granule at the head of each page takes with it is that page: so the pages are seen from outside. */
function demandGoesByPages(
  bench: Bench,
  domain: IommuDomain,
  iova: number,
  address: number,
  sizeBytes: number,
): void {
  const pages = bruteForce(bench.capabilities.pageSizes, iova, address, sizeBytes);
  const what = `${sizeBytes} bytes at ${iova} that lead to ${address}`;
  // Of many small pages the first and the last are enough.
  const isLong = pages.length > 2 * MOST_SMALL;
  if (isLong) {
    demandEqual(domain.unmap(iova, sizeBytes), sizeBytes, `${what}: bytes removed`);
    return;
  }
  for (const { at, pageSize } of pages) {
    demandEqual(domain.unmap(at, bench.granule), pageSize, `${what}: the page at ${at}`);
  }
  demandEqual(domain.mappedBytes, 0, `${what}: bytes left`);
}

/** The vector as it was reported, in granules of 4 KiB there, moved to where it fits here. */
function regressionOnAmd(bench: Bench): readonly [iova: number, address: number, sizeBytes: number] {
  const { granule, capabilities } = bench;
  const { start, last } = capabilities.aperture;
  const scale = granule / 0x1000;
  const span = 2 ** Math.floor(Math.log2(last + 1 - start));
  const base = Math.ceil(start / span) * span;
  const iova = (base + span - 1 > last ? start : base) + ((0xfef80000 * scale) % span);
  const room = 2 ** Math.floor(Math.log2(capabilities.lastPhysAddr + 1));
  return [iova, (0x208b95d000 * scale) % room, 0x20000 * scale];
}

function granules(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i);
}
