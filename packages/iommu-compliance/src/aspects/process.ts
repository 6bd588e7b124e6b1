/** A device in the address space of a process, or the refusal where the hardware cannot walk a process's tables. */
import type { ProcessBond } from '@iommu-lab/iommu-core';
import { type Bench, MARK_BYTES, type Side } from '../bench.ts';
import { type Check, defineAspect } from '../check.ts';
import { demand, demandCode, demandEqual } from '../demand.ts';
import type { ComplianceProcess } from '../fixture.ts';
import { ReferenceProcess } from '../reference/reference-process.ts';

/** The size of a page of every process there is. */
const PAGE = 0x1000;

export const process: readonly Check[] = defineAspect('process', {
  'hardware that cannot walk a process’s tables refuses it and leaves nothing behind'(bench) {
    const { iommu, first } = bench;
    const stranger = strangeProcess(bench);
    const tables = bench.fixture.allocatedTableBytes();
    const before = iommu.domainOf(first.device)?.name;
    demandCode('EOPNOTSUPP', 'a process in a format it does not know', () =>
      iommu.bindProcess(first.device, stranger),
    );
    demandEqual(stranger.listeners, 0, 'who listens to the process');
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    demandEqual(iommu.domainOf(first.device)?.name, before, 'the current domain');
    const { page } = bench.serving('afterwards');
    bench.demandReads(first, bench.iova(0), page);
  },

  'its addresses lead where its own tables lead'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'app');
    const at = space.mmap(2 * PAGE);
    const bond = iommu.bindProcess(first.device, space);
    demandEqual(iommu.domainOf(first.device)?.kind, 'sva', 'the kind of the current domain');
    for (const offset of [0, 0x40, PAGE - MARK_BYTES, PAGE, 2 * PAGE - MARK_BYTES]) {
      demandShares(bench, first, space, at + offset);
    }
    demandEqual([bond.pagedIn, bond.refused], [0, 0], 'faults of pages that were there');
    demandEqual(bench.faults, [], 'faults');
  },

  'a page that is not there is brought in while the access waits'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'lazy');
    const at = space.mmap(4 * PAGE, { lazy: true });
    const bond = iommu.bindProcess(first.device, space);
    const { state, data } = bench.read(first.master, at);
    demandEqual([state, data], ['done', new Uint8Array(MARK_BYTES)], 'the first read of a lazy page');
    demandEqual([bond.pagedIn, bond.refused], [1, 0], 'faults after one page');
    const sent = Uint8Array.from({ length: 2 * PAGE }, (_, i) => i * 7 + (i >> 8));
    demandEqual(bench.write(first.master, at + PAGE, sent).state, 'done', 'a write over two lazy pages');
    demandEqual([bond.pagedIn, bond.refused], [3, 0], 'faults after three pages');
    for (const offset of [0, PAGE]) {
      const there = new Uint8Array(PAGE);
      space.read(at + PAGE + offset, there);
      demandEqual(there, sent.slice(offset, offset + PAGE), `what was written at +${offset}`);
    }
    demandShares(bench, first, space, at);
  },

  'an access that the process has nothing for is refused'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'strict');
    const fixed = space.mmap(PAGE, { readOnly: true });
    const lazy = space.mmap(PAGE, { readOnly: true, lazy: true });
    const bond = iommu.bindProcess(first.device, space);
    bench.demandReadFaults(first, fixed + 0x100 * PAGE, 'no area');
    bench.demandWriteFaults(first, fixed + 0x100 * PAGE, 'no area');
    demandEqual([bond.pagedIn, bond.refused], [0, 2], 'faults without an area');
    bench.demandWriteFaults(first, fixed, 'read-only', space.lookup(fixed));
    demandEqual(bond.refused, 3, 'faults with a write to a read-only page');
    demandEqual(bench.read(first.master, lazy).state, 'done', 'a read of a lazy read-only page');
    bench.demandWriteFaults(first, lazy, 'read-only', space.lookup(lazy));
    demandEqual([bond.pagedIn, bond.refused], [1, 4], 'all faults');
  },

  'nobody reaches the kernel’s half'(bench) {
    if (!canWork(bench)) return;
    const space = newProcess(bench, 'user');
    const at = space.mmap(PAGE);
    bench.iommu.bindProcess(bench.first.device, space);
    const privileged = bench.masterWith(bench.first, { isPrivileged: true });
    for (const master of [bench.first.master, privileged]) {
      for (const address of [space.userEnd, space.userEnd + PAGE - MARK_BYTES, 2 ** 32 - PAGE]) {
        bench.demandNoAccess(master, address, 'the kernel’s');
      }
    }
    demandShares(bench, bench.first, space, at);
  },

  'what the process unmaps is gone before its memory is anybody else’s'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'unmapping');
    const [gone, kept] = [space.mmap(3 * PAGE), space.mmap(PAGE)];
    iommu.bindProcess(first.device, space);
    const addresses = [0, 1, 2].map((i) => gone + i * PAGE);
    const physical = addresses.map((address) => space.lookup(address) ?? 0);
    for (const address of [...addresses, kept]) demandShares(bench, first, space, address);
    // Heard after the IOMMU has been told, and before the frames are free: nothing may get through any more.
    const atUnmap: { readonly state: () => string; readonly address: number }[] = [];
    const marks = physical.map((address) => bench.load(address));
    space.onUnmap((start) => {
      const transfer = first.master.write(start, new Uint8Array(MARK_BYTES).fill(0xee));
      atUnmap.push({ state: () => transfer.state, address: start });
    });
    space.munmap(gone, 3 * PAGE);
    bench.fixture.settle();
    demand(atUnmap.length > 0, 'the process told of its unmap');
    for (const { state } of atUnmap) demandEqual(state(), 'faulted', 'a write at the moment of the unmap');
    demandEqual(
      physical.map((address) => bench.load(address)),
      marks,
      'the memory that was unmapped',
    );
    for (const [i, address] of addresses.entries()) {
      bench.demandNoAccess(first, address, 'unmapped', physical[i]);
    }
    demandShares(bench, first, space, kept);
  },

  'a large unmap is heard in all its pages'(bench) {
    if (!canWork(bench)) return;
    const space = newProcess(bench, 'large');
    const at = space.mmap(40 * PAGE);
    bench.iommu.bindProcess(bench.first.device, space);
    for (let i = 0; i < 40; i++) bench.read(bench.first.master, at + i * PAGE);
    space.munmap(at, 40 * PAGE);
    for (const i of [0, 1, 20, 31, 32, 39]) {
      bench.demandReadFaults(bench.first, at + i * PAGE, `page ${i} of an unmap of 40`);
    }
  },

  'when it ends, the device is stopped while its memory is still there'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'ending');
    const at = space.mmap(PAGE);
    const physical = space.lookup(at) ?? 0;
    const bond = iommu.bindProcess(first.device, space);
    demandShares(bench, first, space, at);
    const before = bench.load(physical);
    let isHeard = false;
    let state = (): string => 'never issued';
    space.onExit(() => {
      isHeard = true;
      const transfer = first.master.write(at, new Uint8Array(MARK_BYTES).fill(0xee));
      state = () => transfer.state;
    });
    space.exit();
    bench.fixture.settle();
    demand(isHeard, 'the process told of its end');
    demandEqual(state(), 'faulted', 'a write at the moment of the end');
    demandEqual(bench.load(physical), before, 'the memory at the moment of the end');
    bench.demandNoAccess(first, at, 'the process has ended');
    demandCode('EINVAL', 'binding to it', () => iommu.bindProcess(first.device, space));
    bond.unbind();
    bond.unbind();
    demandBack(bench, first);
  },

  'an access that waits for a page ends when the process does, or is unbound'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const ends: Readonly<Record<string, (space: ComplianceProcess, bond: ProcessBond) => void>> = {
      exit: (space) => space.exit(),
      unbind: (_space, bond) => bond.unbind(),
    };
    for (const [name, end] of Object.entries(ends)) {
      for (const isReported of [true, false]) {
        const space = newProcess(bench, `waiting-${name}`);
        const at = space.mmap(PAGE, { lazy: true });
        const bond = iommu.bindProcess(first.device, space);
        const transfer = first.master.read(at, new Uint8Array(MARK_BYTES));
        const before = bench.faults.length;
        // Up to the report: the answer comes a moment later.
        if (isReported) bench.world.clock.runUntil(() => bench.faults.length > before);
        end(space, bond);
        bench.fixture.settle();
        demandEqual(transfer.state, 'faulted', `the access after ${name}`);
        bond.unbind();
        demandBack(bench, first);
      }
    }
  },

  'one process per context: a second is refused with ENOSPC and the first goes on'(bench) {
    if (!canWork(bench) || bench.capabilities.pasids > 0) return;
    const { iommu, first } = bench;
    const [space, other] = [newProcess(bench, 'one'), newProcess(bench, 'two')];
    const at = space.mmap(PAGE);
    iommu.bindProcess(first.device, space);
    const tables = bench.fixture.allocatedTableBytes();
    demandCode('ENOSPC', 'a second process', () => iommu.bindProcess(first.device, other));
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    demandShares(bench, first, space, at);
    const domain = bench.domain('third');
    demandCode('EBUSY', 'attaching a domain', () => iommu.attach(domain, first.device));
    demandShares(bench, first, space, at);
  },

  'two binds to one process need two unbinds'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const tables = bench.fixture.allocatedTableBytes();
    const space = newProcess(bench, 'twice');
    const at = space.mmap(PAGE);
    const bonds = [1, 2].map(() => iommu.bindProcess(first.device, space));
    for (let i = 0; i < 2; i++) bonds[0]?.unbind();
    demandShares(bench, first, space, at);
    bonds[1]?.unbind();
    demandBack(bench, first);
    bench.demandNoAccess(first, at, 'unbound', space.lookup(at));
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
    const { page } = bench.serving('afterwards');
    bench.demandReads(first, bench.iova(0), page);
  },

  'bound at a context, and to the default again'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'at-context');
    const at = space.mmap(PAGE, { lazy: true });
    const context = `${first.endpoint.provider}:${first.endpoint.context}`;
    demandCode('ENODEV', 'another context', () => iommu.bindProcess(first.device, space, 'no such context'));
    const bond = iommu.bindProcess(first.device, space, context);
    demandEqual(bench.read(first.master, at).state, 'done', 'a read of a lazy page');
    demandShares(bench, first, space, at);
    bond.unbind();
    demandBack(bench, first);
    bench.demandNoAccess(first, at, 'unbound', space.lookup(at));
  },

  'two devices work for one process, or each for its own at the same addresses'(bench) {
    if (!canWork(bench) || bench.instanceOf(bench.second).capabilities.processFormats.length === 0) return;
    const { iommu, first, second } = bench;
    const spaces = [newProcess(bench, 'a'), newProcess(bench, 'b')] as const;
    const at = spaces.map((space) => space.mmap(PAGE));
    demandEqual(at[1], at[0], 'the address in both processes');
    const [address] = at as [number];
    const bonds = [first, second].map((side, i) =>
      iommu.bindProcess(side.device, spaces[i] as ComplianceProcess),
    );
    for (let turn = 0; turn < 2; turn++) {
      demandShares(bench, first, spaces[0], address);
      demandShares(bench, second, spaces[1], address);
    }
    bonds[1]?.unbind();
    iommu.bindProcess(second.device, spaces[0]);
    for (const side of [first, second, first]) demandShares(bench, side, spaces[0], address);
    spaces[0].munmap(address, PAGE);
    for (const side of [first, second]) bench.demandReadFaults(side, address, 'unmapped for both');
    bonds[0]?.unbind();
    demandBack(bench, first);
  },

  'a device that is attached is refused with EBUSY; an owned one is blocked again at the end'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const space = newProcess(bench, 'busy');
    const at = space.mmap(PAGE);
    const { domain, page } = bench.serving('elsewhere');
    demandCode('EBUSY', 'binding a device that is attached', () => iommu.bindProcess(first.device, space));
    bench.demandReads(first, bench.iova(0), page);
    iommu.detach(domain, first.device);
    iommu.claimOwnership(first.device, 'owner');
    const bond = iommu.bindProcess(first.device, space);
    demandShares(bench, first, space, at);
    bond.unbind();
    demandEqual(iommu.domainOf(first.device)?.kind, 'blocked', 'the domain of an owned device');
    bench.demandNoAccess(first, at, 'unbound', space.lookup(at));
  },

  'a device, or its IOMMU, can go in the middle of it'(bench) {
    if (!canWork(bench)) return;
    const { iommu, first } = bench;
    const instance = bench.instanceOf(first);
    const tables = bench.fixture.allocatedTableBytes();
    for (const go of [() => iommu.cleanup(first.device), () => iommu.removeInstance(instance.provider)]) {
      const space = newProcess(bench, 'left');
      const at = space.mmap(PAGE);
      const bond = iommu.bindProcess(first.device, space);
      demandShares(bench, first, space, at);
      const before = space.lookup(at) ?? 0;
      go();
      bench.demandNoAccess(first, at, 'the device or its IOMMU has gone', before);
      bond.unbind();
      if (!iommu.instances.includes(instance)) iommu.registerInstance(instance);
      for (const { device } of bench.sides) {
        iommu.cleanup(device);
        iommu.configure(device);
      }
      bench.demandNoAccess(first, at, 'a new beginning', before);
      space.exit();
    }
    demandEqual(bench.fixture.allocatedTableBytes(), tables, 'table memory');
  },
});

/** Whether the hardware walks processes' tables. A fixture has processes then. */
export function canWork(bench: Bench): boolean {
  const isAble = bench.capabilities.processFormats.length > 0;
  demand(!isAble || bench.fixture.createProcess !== undefined, 'a fixture of such hardware makes processes');
  return isAble;
}

/** A process of the fixture's. */
export function newProcess(bench: Bench, name: string): ComplianceProcess {
  const space = bench.fixture.createProcess?.(name);
  demand(space !== undefined, 'a fixture of such hardware makes processes');
  demand(
    bench.capabilities.processFormats.includes(space.tableFormat),
    `the manifest names the format of the fixture's processes, ${space.tableFormat}`,
  );
  return space;
}

/** A process in a format that no hardware knows. */
function strangeProcess(bench: Bench): ReferenceProcess {
  const memory = {
    allocate: () => bench.fixture.allocate(PAGE, PAGE),
    load: (address: number, into: Uint8Array) => into.set(bench.load(address, into.length)),
    store: (address: number, from: Uint8Array) => bench.store(address, from),
  };
  return new ReferenceProcess('stranger', memory, 'no such format');
}

/** Demands that the device reads there what the process writes, and the other way round. */
function demandShares(bench: Bench, side: Side, space: ComplianceProcess, address: number): void {
  const expected = bench.newMark();
  space.write(address, expected);
  const read = bench.read(side.master, address);
  const what = `${side.master.name} at ${address} of ${space.name}`;
  demandEqual([read.state, read.data], ['done', expected], `${what}: a read`);
  const sent = bench.newMark();
  demandEqual(bench.write(side.master, address, sent).state, 'done', `${what}: a write`);
  const there = new Uint8Array(MARK_BYTES);
  space.read(address, there);
  demandEqual(there, sent, `${what}: what the process finds there`);
}

/** Demands that the device is on its default domain. */
function demandBack({ iommu }: Bench, { device }: Side): void {
  demandEqual(iommu.domainOf(device)?.name, iommu.defaultDomainOf(device)?.name, 'the current domain');
}
