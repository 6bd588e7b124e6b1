/** Leaving is always possible, leaves nothing behind, and lets nothing through. */
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { MARK_BYTES } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demandEqual } from '../demand.ts';

export const teardown: readonly Check[] = defineAspect('teardown', {
  'a domain is freed with all that is mapped in it'(bench) {
    const before = bench.fixture.allocatedTableBytes();
    const domain = bench.attached('full');
    bench
      .scatteredPages(4)
      .forEach((page, i) => domain.map(bench.iova(2 * i), page, bench.granule, READ_WRITE));
    bench.iommu.detach(domain, bench.first.device);
    domain.free();
    demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory');
    demandEqual(domain.mappings(), [], 'mappings');
  },

  'mapping and unmapping over and over takes no more memory'(bench) {
    const { granule, largest } = bench;
    const domain = bench.attached('busy');
    const block = bench.page(largest);
    const round = (): number => {
      domain.map(bench.largeIova(), block, largest, READ_WRITE);
      domain.map(bench.largeIova() + largest, block, granule, READ_WRITE);
      domain.unmap(bench.largeIova(), largest);
      domain.unmap(bench.largeIova() + largest, granule);
      return bench.fixture.allocatedTableBytes();
    };
    const after = round();
    for (let i = 0; i < 10; i++) demandEqual(round(), after, 'table memory after the same again');
  },

  'a device leaves while it is attached, and its domain can be freed then'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('left-behind');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), page);
    iommu.cleanup(first.device);
    demandEqual(iommu.groupOf(first.device), undefined, 'its group');
    bench.demandNoAccess(first, bench.iova(0), 'the device has left', page);
    domain.free();
    bench.demandNoAccess(first, bench.iova(0), 'the domain is gone', page);
  },

  'an access that is held ends as a fault when its device leaves'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('holding');
    domain.setFaultHandler(() => 'hold');
    const transfer = first.master.read(bench.iova(0), new Uint8Array(MARK_BYTES));
    bench.fixture.settle();
    const isHeld = bench.instanceOf(first).capabilities.stall;
    demandEqual(transfer.state, isHeld ? 'pending' : 'faulted', 'an access whose verdict is to hold');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    iommu.cleanup(first.device);
    bench.fixture.settle();
    demandEqual(transfer.state, 'faulted', 'the access after its device has left');
  },

  'an access that is held in the default or the blocked domain ends as a fault when its device leaves'(
    bench,
  ) {
    const { iommu, first } = bench;
    const release = iommu.onFault(() => 'hold');
    for (const isBlocked of [false, true]) {
      if (isBlocked) iommu.replace(iommu.blockedDomain, first.device);
      const transfer = first.master.read(bench.iova(0), new Uint8Array(MARK_BYTES));
      bench.fixture.settle();
      iommu.cleanup(first.device);
      bench.fixture.settle();
      demandEqual(transfer.state, 'faulted', 'the access after its device has left');
      iommu.configure(first.device);
    }
    release();
    bench.demandNoAccess(first, bench.iova(0), 'nothing is mapped');
  },

  'a device that comes back starts anew'(bench) {
    const { iommu, first } = bench;
    const [before, after] = bench.scatteredPages(2) as [number, number];
    const domain = bench.attached('before');
    domain.map(bench.iova(0), before, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), before);
    iommu.cleanup(first.device);
    domain.free();
    iommu.configure(first.device);
    bench.demandNoAccess(first, bench.iova(0), 'a new beginning', before);
    bench.attached('after').map(bench.iova(0), after, bench.granule, READ_WRITE);
    bench.demandReads(first, bench.iova(0), after);
  },

  'coming and going leaves no table memory behind'(bench) {
    const { iommu } = bench;
    const before = bench.fixture.allocatedTableBytes();
    for (let i = 0; i < 5; i++) {
      for (const { device } of bench.sides) iommu.cleanup(device);
      for (const { device } of bench.sides) iommu.configure(device);
    }
    demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory');
  },

  'without devices the instances can be taken away and brought back'(bench) {
    const { iommu } = bench;
    const instances = [...new Set(bench.sides.map((side) => bench.instanceOf(side)))];
    for (const { device } of bench.sides) iommu.cleanup(device);
    demandEqual(bench.fixture.allocatedTableBytes(), 0, 'table memory without devices and domains');
    for (const { provider } of instances) iommu.unregisterInstance(provider);
    for (const side of bench.sides) bench.demandNoAccess(side, bench.iova(0), 'nobody drives the IOMMU');
    for (const instance of instances) iommu.registerInstance(instance);
    for (const { device } of bench.sides) iommu.configure(device);
    const page = bench.page();
    bench.attached('after').map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'hundreds of domains come and go: whatever names them to the hardware is given back'(bench) {
    const { iommu, first, second } = bench;
    const kept = bench.serving('kept', 0, second);
    const before = bench.fixture.allocatedTableBytes();
    const page = bench.page();
    for (let n = 0; n < 300; n++) {
      const domain = bench.domain(`number-${n}`);
      domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
      if (n % 2 === 0) iommu.attach(domain, first.device);
      else iommu.replace(domain, first.device);
      if (n % 50 === 0) bench.demandReads(first, bench.iova(0), page);
      iommu.detach(domain, first.device);
      domain.free();
    }
    demandEqual(bench.fixture.allocatedTableBytes(), before, 'table memory');
    bench.demandNoAccess(first, bench.iova(0), 'all of them have gone', page);
    bench.demandReads(second, bench.iova(0), kept.page);
  },

  'detach, cleanup and free are harmless a second time'(bench) {
    const { iommu, first } = bench;
    const domain = bench.attached('twice');
    for (let i = 0; i < 2; i++) iommu.detach(domain, first.device);
    for (let i = 0; i < 2; i++) domain.free();
    for (let i = 0; i < 2; i++) iommu.cleanup(first.device);
    iommu.configure(first.device);
    bench.demandNoAccess(first, bench.iova(0), 'nothing is mapped');
  },
});
