/** A refused access is reported: whose it was, where, in which direction, why. */
import { type Fault, READ_ONLY, READ_WRITE, WRITE_ONLY } from '@iommu-lab/iommu-core';
import { MARK_BYTES, type Bench, type Side } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandEqual } from '../demand.ts';

export const faults: readonly Check[] = defineAspect('faults', {
  'a read of nothing is reported with all its fields'(bench) {
    const domain = bench.attached('empty');
    bench.demandReadFaults(bench.first, bench.iova(2) + 0x124, 'not mapped');
    const fault = onlyFault(bench);
    demandField(fault, 'device', bench.first.device.name);
    demandField(fault, 'provider', bench.first.endpoint.provider);
    demandField(fault, 'context', bench.first.endpoint.context);
    demandField(fault, 'streamId', bench.first.master.streamId);
    demandField(fault, 'iova', bench.iova(2) + 0x124);
    demandField(fault, 'direction', 'read');
    demandField(fault, 'cause', 'translation');
    demandField(fault, 'domain', domain.name);
    demandField(fault, 'isMultiple', false);
  },

  'a write to nothing is reported as a write'(bench) {
    bench.attached('empty');
    bench.demandWriteFaults(bench.first, bench.iova(3) + 8, 'not mapped');
    const fault = onlyFault(bench);
    demandField(fault, 'direction', 'write');
    demandField(fault, 'cause', 'translation');
    demandField(fault, 'iova', bench.iova(3) + 8);
  },

  'an access against its rights is reported as such'(bench) {
    const { readOnly, writeOnly } = bench.capabilities.permissions;
    const domain = bench.attached('rights');
    const page = bench.page();
    if (readOnly) {
      domain.map(bench.iova(0), page, bench.granule, READ_ONLY);
      bench.demandWriteFaults(bench.first, bench.iova(0) + 12, 'read-only', page);
      demandRefusal(bench, 'write', bench.iova(0) + 12);
    }
    if (writeOnly) {
      domain.map(bench.iova(1), page, bench.granule, WRITE_ONLY);
      bench.demandReadFaults(bench.first, bench.iova(1) + 4, 'write-only');
      demandRefusal(bench, 'read', bench.iova(1) + 4);
    }
    domain.map(bench.iova(2), page, bench.granule, READ_WRITE);
    const before = bench.faults.length;
    bench.demandReads(bench.first, bench.iova(2), page);
    bench.demandWrites(bench.first, bench.iova(2), page);
    demandEqual(bench.faults.length, before, 'faults of accesses that are allowed');
  },

  'each device has its own name and domain in its reports'(bench) {
    const domains = bench.sides.map((side, i) => bench.attached(`of-${i}`, side));
    for (const i of [1, 0, 1] as const) {
      const side = bench.sides[i];
      const before = bench.faults.length;
      bench.demandReadFaults(side, bench.iova(4 + i), 'not mapped');
      demandEqual(bench.faults.length, before + 1, 'reports of one fault');
      const fault = lastFault(bench);
      demandField(fault, 'device', side.device.name);
      demandField(fault, 'streamId', side.master.streamId);
      demandField(fault, 'domain', domains[i]?.name);
      demandField(fault, 'iova', bench.iova(4 + i));
    }
  },

  'one fault after the other is reported'(bench) {
    bench.attached('again');
    for (let i = 0; i < 5; i++) {
      if (i % 2 === 0) bench.demandReadFaults(bench.first, bench.iova(i), 'not mapped');
      else bench.demandWriteFaults(bench.first, bench.iova(i), 'not mapped');
      demandEqual(bench.faults.length, i + 1, 'reports so far');
      demandField(lastFault(bench), 'iova', bench.iova(i));
      demandField(lastFault(bench), 'direction', i % 2 === 0 ? 'read' : 'write');
    }
  },

  'of faults that come together the first is reported, and the others are told of or reported too'(bench) {
    bench.attached('burst');
    const transfers = [1, 2, 3].map((i) =>
      bench.first.master.read(bench.iova(i), new Uint8Array(MARK_BYTES)),
    );
    bench.fixture.settle();
    for (const transfer of transfers) demandEqual(transfer.state, 'faulted', 'each of the accesses');
    const [fault] = bench.faults;
    demand(fault !== undefined, 'a fault was reported');
    demandField(fault, 'iova', bench.iova(1));
    demand(
      bench.faults.length === 3 || bench.faults.some((f) => f.isMultiple),
      'no fault is lost without a word',
    );
    const before = bench.faults.length;
    bench.demandReadFaults(bench.first, bench.iova(7), 'not mapped');
    demandEqual(bench.faults.length, before + 1, 'reports of a fault after the burst');
    demandField(lastFault(bench), 'iova', bench.iova(7));
  },

  'an access that succeeds is not reported'(bench) {
    const page = bench.page();
    const domain = bench.attached('quiet');
    domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
    bench.demandReads(bench.first, bench.iova(0), page);
    bench.demandWrites(bench.first, bench.iova(0), page);
    domain.unmap(bench.iova(0), bench.granule);
    demandEqual(bench.faults, [], 'faults');
  },

  'a blocked access is reported with its device'(bench) {
    bench.iommu.replace(bench.iommu.blockedDomain, bench.first.device);
    bench.demandWriteFaults(bench.first, bench.iova(1), 'blocked');
    const fault = onlyFault(bench);
    demandField(fault, 'device', bench.first.device.name);
    demandField(fault, 'direction', 'write');
    demandField(fault, 'iova', bench.iova(1));
  },

  'the domain’s handler hears of its own faults and no others'(bench) {
    const heard: number[] = [];
    const mine = bench.attached('heard', bench.first);
    bench.attached('unheard', bench.second);
    mine.setFaultHandler((fault) => {
      heard.push(fault.iova);
      return undefined;
    });
    bench.demandReadFaults(bench.first, bench.iova(1), 'not mapped');
    bench.demandReadFaults(bench.second, bench.iova(2), 'not mapped');
    bench.demandReadFaults(bench.first, bench.iova(3), 'not mapped');
    demandEqual(heard, [bench.iova(1), bench.iova(3)], 'IOVAs the handler heard of');
  },

  'after an unmap the explanation knows what stood there'(bench) {
    const domain = bench.attached('explained');
    domain.map(bench.iova(0), bench.page(), bench.granule, READ_WRITE, 'compliance');
    domain.unmap(bench.iova(0), bench.granule);
    bench.demandReadFaults(bench.first, bench.iova(0), 'unmapped');
    demandEqual(bench.iommu.why(onlyFault(bench)).fault.iova, bench.iova(0), 'the fault that is explained');
  },

  'a stalled access waits for the verdict; without stall none waits'(bench) {
    const page = bench.page();
    const domain = bench.attached('verdict');
    let verdict: 'retry' | 'terminate' = 'retry';
    domain.setFaultHandler((fault) => {
      demandField(fault, 'isStalled', bench.instanceOf(bench.first).capabilities.stall);
      if (verdict === 'retry') domain.map(bench.iova(0), page, bench.granule, READ_WRITE);
      return verdict;
    });
    const mark = bench.markAt(page);
    const early = bench.read(bench.first.master, bench.iova(0));
    if (bench.instanceOf(bench.first).capabilities.stall) {
      demandEqual(early.state, 'done', 'an access that is retried once its page is there');
      demandEqual(early.data, mark, 'what it returns');
    } else {
      demandEqual(early.state, 'faulted', 'an access on hardware that cannot wait');
      bench.demandReads(bench.first, bench.iova(0), page);
    }
    verdict = 'terminate';
    bench.demandReadFaults(bench.first, bench.iova(5), 'the verdict is to terminate');
    bench.demandReads(bench.first, bench.iova(0), page);
  },

  'an access that is held when its device is moved ends: by the new domain, or as a fault'(bench) {
    const { iommu, first } = bench;
    const page = bench.page();
    const mark = bench.markAt(page);
    const next = bench.domain('next');
    next.map(bench.iova(0), page, bench.granule, READ_WRITE);
    const canPass = bench.instanceOf(first).capabilities.identity;
    // An access that was to be translated does not pass untranslated later.
    for (const target of [next, iommu.blockedDomain, ...(canPass ? [iommu.identityDomain] : [])]) {
      const domain = bench.domain('holding');
      domain.setFaultHandler(() => 'hold');
      iommu.replace(domain, first.device);
      const data = new Uint8Array(MARK_BYTES);
      const transfer = first.master.read(bench.iova(0), data);
      bench.fixture.settle();
      const isHeld = bench.instanceOf(first).capabilities.stall;
      demandEqual(transfer.state, isHeld ? 'pending' : 'faulted', 'an access whose verdict is to hold');
      iommu.replace(target, first.device);
      bench.fixture.settle();
      const { state } = transfer;
      demand(
        state === 'faulted' || (state === 'done' && target === next),
        `the access is ${state} after the move`,
      );
      if (state === 'done') demandEqual(data, mark, 'what it returns');
      if (target === next) bench.demandReads(first, bench.iova(0), page);
      demandEqual(iommu.respond(lastFault(bench), 'retry'), false, 'whether it still waits for an answer');
    }
  },

  'an access that waits, unreported yet, does not pass untranslated when its device is moved to identity'(
    bench,
  ) {
    const { iommu, first } = bench;
    if (!bench.instanceOf(first).capabilities.identity) return;
    bench.attached('waiting');
    const transfer = first.master.read(bench.iova(0), new Uint8Array(MARK_BYTES));
    iommu.replace(iommu.identityDomain, first.device);
    bench.fixture.settle();
    demandEqual(transfer.state, 'faulted', 'the access after the move');
  },

  'an access that is held ends by the answer, and the first one counts'(bench) {
    if (!bench.instanceOf(bench.first).capabilities.stall) return;
    const { iommu, first } = bench;
    const page = bench.page();
    const domain = bench.attached('answered');
    domain.setFaultHandler(() => 'hold');
    for (const [i, outcome] of (['retry', 'terminate'] as const).entries()) {
      const transfer = first.master.read(bench.iova(i), new Uint8Array(MARK_BYTES));
      bench.fixture.settle();
      demandEqual(transfer.state, 'pending', 'an access whose verdict is to hold');
      domain.map(bench.iova(i), page, bench.granule, READ_WRITE);
      const fault = lastFault(bench);
      demandEqual(iommu.respond(fault, outcome), true, 'whether it waited');
      bench.fixture.settle();
      demandEqual(transfer.state, outcome === 'retry' ? 'done' : 'faulted', `the access after ${outcome}`);
      demandEqual(iommu.respond(fault, 'retry'), false, 'whether it still waits');
      bench.demandReads(first, bench.iova(i), page);
    }
  },
});

function onlyFault(bench: Bench): Fault {
  demandEqual(bench.faults.length, 1, 'reported faults');
  return lastFault(bench);
}

function lastFault(bench: Bench): Fault {
  const fault = bench.faults.at(-1);
  demand(fault !== undefined, 'a fault was reported');
  return fault;
}

function demandRefusal(
  bench: Bench,
  direction: Fault['direction'],
  iova: number,
  side: Side = bench.first,
): void {
  const fault = lastFault(bench);
  demandField(fault, 'device', side.device.name);
  demandField(fault, 'iova', iova);
  demandField(fault, 'direction', direction);
  demandField(fault, 'cause', 'permission');
}

function demandField<K extends keyof Fault>(fault: Fault, field: K, expected: Fault[K]): void {
  demandEqual(fault[field], expected, `the fault's ${field}`);
}
