/** DMA goes where the tables lead, byte for byte. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { ACCESS_PAGE_BYTES } from '@iommu-lab/machine';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandEqual } from '../demand.ts';

export const translation: readonly Check[] = defineAspect('translation', {
  'every byte of a page is reached at its own offset'(bench) {
    const page = bench.page();
    bench.attached('bytes').map(bench.iova(0), page, bench.granule, READ_WRITE);
    const pattern = Uint8Array.from({ length: bench.granule }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
    bench.store(page, pattern);
    demandEqual(
      bench.read(bench.first.master, bench.iova(0), bench.granule).data,
      pattern,
      'what a read returns',
    );
    const back = pattern.toReversed();
    bench.write(bench.first.master, bench.iova(0), back);
    demandEqual(bench.load(page, bench.granule), back, 'what a write leaves');
    for (const offset of [1, 3, 1023, bench.granule - 1]) {
      const { data } = bench.read(bench.first.master, bench.iova(0) + offset, 1);
      demandEqual(data[0], back[offset], `the byte at offset ${offset}`);
    }
  },

  'a transfer over scattered pages is put together in order'(bench) {
    const { granule } = bench;
    const pages = bench.scatteredPages(5);
    const domain = bench.attached('gather');
    domain.mapSg(
      bench.iova(0),
      pages.map((address) => ({ address, length: granule })),
      READ_WRITE,
    );
    const offset = granule / 2 + 3;
    const data = Uint8Array.from({ length: 4 * granule - 7 }, (_, i) => (i * 7 + (i >> 9)) & 0xff);
    const written = bench.write(bench.first.master, bench.iova(0) + offset, data);
    demandEqual([written.state, written.doneBytes], ['done', data.length], 'the write');
    const inMemory = pages.flatMap((page) => [...bench.load(page, granule)]);
    demandEqual(inMemory.slice(offset, offset + data.length), [...data], 'what stands in the pages');
    const read = bench.read(bench.first.master, bench.iova(0) + offset, data.length);
    demandEqual(read.data, data, 'what a read returns');
  },

  'a transfer that runs into a hole has moved what came before'(bench) {
    const { granule } = bench;
    const page = bench.page();
    bench.attached('short').map(bench.iova(0), page, granule, READ_WRITE);
    const head = 100;
    const mark = bench.markAt(page + granule - head);
    const { state, doneBytes, data } = bench.read(
      bench.first.master,
      bench.iova(1) - head,
      head + ACCESS_PAGE_BYTES,
    );
    demandEqual({ state, doneBytes }, { state: 'faulted', doneBytes: head }, 'the transfer');
    demandEqual(data.slice(0, mark.length), mark, 'what was read before the hole');
  },

  'mappings do not depend on the order in which they were made'(bench) {
    const pages = bench.scatteredPages(6);
    const domain = bench.attached('order');
    for (const i of [4, 0, 5, 2, 3, 1]) domain.map(bench.iova(i), pages[i] ?? 0, bench.granule, READ_WRITE);
    pages.forEach((page, i) => bench.demandReads(bench.first, bench.iova(i), page));
  },

  'more pages than any TLB holds are all reached, again and again'(bench) {
    const { granule } = bench;
    const count = 64;
    const block = bench.page(count * granule);
    const domain = bench.attached('many');
    // Backwards, so that no page can stand in for its neighbour.
    for (let i = 0; i < count; i++) {
      domain.map(bench.iova(i), block + (count - 1 - i) * granule, granule, READ_WRITE);
    }
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < count; i++) {
        bench.demandReads(bench.first, bench.iova(i), block + (count - 1 - i) * granule);
      }
    }
  },

  'iovaToPhys tells where DMA goes'(bench) {
    const pages = bench.scatteredPages(4);
    const domain = bench.attached('asked');
    pages.forEach((page, i) => domain.map(bench.iova(2 * i), page, bench.granule, READ_WRITE));
    for (let i = 0; i < 8; i++) {
      const address = domain.iovaToPhys(bench.iova(i) + 20);
      demandEqual(address, i % 2 === 0 ? (pages[i / 2] ?? 0) + 20 : undefined, `page ${i}`);
      if (address === undefined) bench.demandNoAccess(bench.first, bench.iova(i), 'iovaToPhys knows nothing');
      else bench.demandReads(bench.first, bench.iova(i) + 20, address);
    }
  },

  'a walk ends at a descriptor that says something'(bench) {
    const { first } = bench;
    const domain = bench.attached('walked');
    domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE);
    bench.demandReadFaults(first, bench.iova(1), 'not mapped');
    const fault = bench.faults.at(-1);
    demand(fault !== undefined, 'the fault was reported');
    const { walk } = bench.iommu.why(fault);
    demand(walk.length > 0, 'the explanation has a walk');
    for (const step of walk) demand(step.level !== '' && step.meaning !== '', 'each step says what it is');
  },
});
