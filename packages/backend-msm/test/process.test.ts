/** Banks that walk a process's tables, from the pins. Long because each test shows registers and DMA of one step. */
import { describe, expect, test } from '@jest/globals';
import { type ProcessBond, READ_WRITE } from '@iommu-lab/iommu-core';
import { DEFAULT_ATTRIBUTES } from '@iommu-lab/machine';
import {
  CONTEXTIDR,
  contextOffset,
  m2vcbrOffset,
  NMRR,
  PRRR,
  SCTLR,
  TLBIASID,
  TLBIVA,
  TTBCR,
  TTBR0,
  TTBR1,
} from '@iommu-lab/smmu-hw/regs';
import { FakeProcess, PROCESS_FORMAT, USER_END } from './fake-process.ts';
import { PAGE_A, PAGE_B, System } from './fixture.ts';

const AT = 0x10000;
const SVA_TTBCR = 0x21; // N = 1, PD1

interface Bound {
  readonly system: System;
  readonly process: FakeProcess;
  readonly bond: ProcessBond;
}

/** The rotator's source in the address space of a process. */
function bound(options: ConstructorParameters<typeof System>[0] = {}): Bound {
  const system = new System(options);
  const process = new FakeProcess(system, 'app');
  const bond = system.iommu.bindProcess(system.devices.src, process);
  return { system, process, bond };
}

/** A read that is followed to its end. */
function read(system: System, mid: number, address: number, isPrivileged = false): number | string {
  const word = new Uint8Array(4);
  const master = system.master(system.rot, mid, { ...DEFAULT_ATTRIBUTES, isPrivileged });
  const transfer = master.read(address, word);
  system.world.clock.run();
  return transfer.state === 'done' ? new DataView(word.buffer).getUint32(0, true) : transfer.state;
}

function write(system: System, mid: number, address: number): string {
  const transfer = system.master(system.rot, mid).write(address, Uint8Array.of(1, 2, 3, 4));
  system.world.clock.run();
  return transfer.state;
}

/** The bank that a stream is routed to now. */
function bankOf(system: System, mid: number): number {
  return (system.rot.read32(m2vcbrOffset(mid)) >>> 8) & 0xff;
}

describe.each([2, 3])('a device in a process, with %i banks,', (contextBanks) => {
  test('reaches what the process maps, by its tables as they are', () => {
    const { system, process } = bound({ contextBanks });
    process.map(AT, PAGE_A);
    system.fill(PAGE_A + 8, 0x77);
    expect(read(system, 0, AT + 8)).toBe(0x77);
    process.map(AT + 0x1000, PAGE_B);
    expect(write(system, 0, AT + 0x1000)).toBe('done');
    expect(system.iommu.faults).toEqual([]);
  });

  test('stands in the registers with its root, the attributes of the CPU and the split at its end (R34)', () => {
    const { system, process } = bound({ contextBanks });
    const bank = bankOf(system, 0);
    expect(bank).toBe(contextBanks === 2 ? 0 : 2);
    const at = (register: Parameters<typeof contextOffset>[1]): number =>
      system.rot.read32(contextOffset(bank, register));
    expect([at(TTBR0), at(TTBR1), at(TTBCR)]).toEqual([process.tableRoot, 0, SVA_TTBCR]);
    expect([at(PRRR), at(NMRR), at(SCTLR)]).toEqual([PROCESS_FORMAT.prrr, PROCESS_FORMAT.nmrr, 0x3]);
    expect(at(CONTEXTIDR)).toBe(1);
  });

  test('has pages brought in while its access waits, and goes on', () => {
    const { system, process, bond } = bound({ contextBanks });
    process.onDemand.set(AT, { address: PAGE_A, write: true });
    system.fill(PAGE_A, 0x55);
    expect(read(system, 0, AT)).toBe(0x55);
    expect(bond).toMatchObject({ pagedIn: 1, refused: 0 });
    expect(system.iommu.faults).toMatchObject([
      { context: 'rot_src', cause: 'translation', isStalled: true },
    ]);
  });

  test.each(['forgotten', 'kept'] as const)(
    'has its rights widened: the entry that refused it does not refuse it again (R26; failed walks: %s)',
    (failedWalks) => {
      const { system, process } = bound({ contextBanks, readings: { failedWalks } });
      process.onDemand.set(AT, { address: PAGE_A, write: true });
      expect(read(system, 0, AT)).toBe(0);
      expect(write(system, 0, AT)).toBe('done');
      expect(system.iommu.faults.map(({ cause }) => cause)).toEqual(['translation', 'permission']);
      expect(read(system, 0, AT)).toBe(0x04030201);
    },
  );

  test('is refused an instruction fetch of a page that is there and no-execute: it is not tried for ever', () => {
    const { system, process, bond } = bound({ contextBanks });
    process.onDemand.set(AT, { address: PAGE_A, write: true });
    expect(read(system, 0, AT)).toBe(0);
    const master = system.master(system.rot, 0, { ...DEFAULT_ATTRIBUTES, isInstruction: true });
    const fetch = master.read(AT, new Uint8Array(4));
    system.world.clock.run();
    expect(fetch.state).toBe('faulted');
    expect(system.iommu.faults[1]).toMatchObject({
      iova: AT,
      direction: 'read',
      isInstruction: true,
      cause: 'permission',
    });
    expect(bond).toMatchObject({ pagedIn: 1, refused: 1 });
  });

  test('is refused what the process refuses, and told by the cause', () => {
    const { system, process, bond } = bound({ contextBanks });
    process.map(AT, PAGE_A, { write: false });
    expect(read(system, 0, AT)).toBe(0);
    expect(write(system, 0, AT)).toBe('faulted');
    expect(read(system, 0, AT + 0x1000)).toBe('faulted');
    expect(system.iommu.faults.map(({ cause }) => cause)).toEqual(['permission', 'translation']);
    expect(bond.refused).toBe(2);
    expect(system.world.clock.waits()).toEqual([]);
  });

  test('never reaches the half of the kernel, privileged or not, at any split', () => {
    for (let n = 1; n <= 7; n++) {
      const system = new System({ contextBanks });
      const userEnd = 2 ** (32 - n);
      const process = new FakeProcess(system, 'app', { userEnd });
      system.iommu.bindProcess(system.devices.src, process);
      process.map(userEnd - 0x1000, PAGE_A);
      process.map(userEnd, PAGE_B);
      process.map(0xfffff000, PAGE_B, { privileged: true });
      for (const isPrivileged of [false, true]) {
        expect(read(system, 0, userEnd - 0x1000, isPrivileged)).toBe(0);
        expect(read(system, 0, userEnd, isPrivileged)).toBe('faulted');
        expect(read(system, 0, 0xfffff000, isPrivileged)).toBe('faulted');
      }
      expect(new Set(system.iommu.faults.map(({ cause }) => cause))).toEqual(new Set(['translation']));
    }
  });

  test('loses what the process unmaps, page by page or all at once, before the memory is anybody else’s', () => {
    for (const [pages, register, count] of [
      [2, TLBIVA, 2],
      [3, TLBIASID, 1],
    ] as const) {
      const { system, process } = bound({ contextBanks, config: { maxPageInvalidations: 2 } });
      for (let page = 0; page < pages; page++) process.map(AT + page * 0x1000, PAGE_A + page * 0x1000);
      process.map(AT + 0x8000, PAGE_B);
      for (let page = 0; page < pages; page++) expect(read(system, 0, AT + page * 0x1000)).toBe(0);
      system.trace.length = 0;
      process.unmap(AT, pages);
      const offset = contextOffset(bankOf(system, 0), register);
      expect(system.trace.map((entry) => [entry.kind, entry.offset])).toEqual(
        Array(count).fill(['write', offset]),
      );
      for (let page = 0; page < pages; page++) {
        expect(read(system, 0, AT + page * 0x1000)).toBe('faulted');
      }
      expect(read(system, 0, AT + 0x8000)).toBe(0);
    }
  });

  test('loses a section as a whole, and a range that is not whole pages as the pages it touches', () => {
    const { system, process } = bound({ contextBanks });
    process.map(0x100000, 0x40100000, { size: 0x100000 });
    expect(read(system, 0, 0x1ff000)).toBe(0);
    process.unmap(0x100000, 1, 0x100000);
    expect(read(system, 0, 0x1ff000)).toBe('faulted');

    const instance = system.instance('rot');
    const other = new FakeProcess(system, 'other');
    const table = instance.createProcessTable?.(other);
    if (table === undefined) throw new Error('no process table');
    const endpoint = { provider: 'rot', context: 'rot_dst', streamIds: [1] };
    instance.attach(endpoint, { kind: 'sva', table }, { kind: 'blocked' });
    system.trace.length = 0;
    table.invalidate(AT + 0x800, 0x1000);
    expect(system.trace.map(({ value }) => value)).toEqual([AT + 2, AT + 0x1000 + 2]);
    table.invalidate(0, 2 ** 32);
    expect(system.trace.at(-1)).toMatchObject({
      offset: contextOffset(bankOf(system, 1), TLBIASID),
      value: 2,
    });
  });

  test('is stopped when the process ends: what it holds is terminated, nothing is reached, clocks rest', () => {
    const system = new System({ contextBanks, config: { lastAsid: 1 } });
    system.iommu.onFault(() => 'hold');
    const instance = system.instance('rot');
    const process = new FakeProcess(system, 'app');
    process.map(AT, PAGE_A);
    const table = instance.createProcessTable?.(process);
    if (table === undefined) throw new Error('no process table');
    const endpoint = { provider: 'rot', context: 'rot_src', streamIds: [0] };
    instance.attach(endpoint, { kind: 'sva', table }, { kind: 'blocked' });
    expect(read(system, 0, AT)).toBe(0);
    const held = system.master(system.rot, 0).read(AT + 0x5000, new Uint8Array(4));
    system.world.clock.run();
    expect(held.state).toBe('pending');
    instance.attach(endpoint, { kind: 'blocked' }, { kind: 'sva', table });
    process.exit();
    system.world.clock.run();
    expect(held.state).toBe('faulted');
    expect(system.rot.tlbEntries()).toEqual([]);
    expect(system.clocksOn).toBe(0);
    expect(() => instance.attach(endpoint, { kind: 'sva', table }, { kind: 'blocked' })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(system.clocksOn).toBe(0);
    table.destroy();
    // Nor is its ASID lost.
    system.iommu.bindProcess(system.devices.dst, new FakeProcess(system, 'next'));
  });

  test('has a fault reported that was not served when it was moved', () => {
    const system = new System({ contextBanks });
    const instance = system.instance('rot');
    const table = instance.createProcessTable?.(new FakeProcess(system, 'app'));
    if (table === undefined) throw new Error('no process table');
    const paging = instance.createPagingTable();
    paging.mapPages(AT, PAGE_A, 0x1000, 1, READ_WRITE);
    const endpoint = { provider: 'rot', context: 'rot_src', streamIds: [0] };
    instance.attach(endpoint, { kind: 'sva', table }, { kind: 'blocked' });
    const transfer = system.master(system.rot, 0).read(AT, new Uint8Array(4));
    expect(transfer.state).toBe('pending');
    instance.attach(endpoint, { kind: 'paging', table: paging }, { kind: 'sva', table });
    system.world.clock.run();
    expect(transfer.state).toBe('done');
    expect(system.iommu.faults.map(({ context, iova }) => [context, iova])).toEqual([['rot_src', AT]]);
    expect(system.world.clock.waits()).toEqual([]);
  });

  test('leaves as it came: after unbind the device reaches nothing, and the ASID serves the next', () => {
    const { system, process, bond } = bound({ contextBanks, config: { lastAsid: 1 } });
    process.map(AT, PAGE_A);
    expect(read(system, 0, AT)).toBe(0);
    const { dst } = system.devices;
    const other = new FakeProcess(system, 'other');
    expect(() => system.iommu.bindProcess(dst, other)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    expect(read(system, 1, AT)).toBe('faulted');
    bond.unbind();
    expect(read(system, 0, AT)).toBe('faulted');
    system.iommu.bindProcess(dst, other);
    expect(read(system, 1, AT)).toBe('faulted');
    expect(system.rot.read32(contextOffset(bankOf(system, 1), CONTEXTIDR))).toBe(1);
  });

  test('changes nothing when no clock starts (EIO) or no ASID is left (ENOSPC)', () => {
    for (const [site, code] of [
      ['msm-bus.clock-enable', 'EIO'],
      ['backend-msm.asid', 'ENOSPC'],
    ] as const) {
      const system = new System({ contextBanks });
      const process = new FakeProcess(system, 'app');
      process.map(AT, PAGE_A);
      system.trace.length = 0;
      system.world.failpoints.failNth(1, site);
      expect(() => system.iommu.bindProcess(system.devices.src, process)).toThrow(
        expect.objectContaining({ code }),
      );
      expect(system.trace).toEqual([]);
      expect(system.clocksOn).toBe(0);
      expect(read(system, 0, AT)).toBe('faulted');
      system.iommu.bindProcess(system.devices.src, process);
      expect(read(system, 0, AT)).toBe(0);
    }
  });
});

describe('one process table on two instances', () => {
  test('has an ASID in each, and an invalidation reaches both', () => {
    const system = new System();
    const process = new FakeProcess(system, 'app');
    process.map(AT, PAGE_A);
    const table = system.instance('rot').createProcessTable?.(process);
    if (table === undefined) throw new Error('no process table');
    const blocked = { kind: 'blocked' } as const;
    const places = [
      { provider: 'rot', context: 'rot_src', streamIds: [0] },
      { provider: 'rot', context: 'rot_dst', streamIds: [1] },
      { provider: 'mdp0', context: 'mdp_vg1', streamIds: [0] },
    ] as const;
    for (const place of places)
      system.instance(place.provider).attach(place, { kind: 'sva', table }, blocked);
    const readAll = (): unknown[] => [
      system.dmaRead(system.rot, 0, AT),
      system.dmaRead(system.rot, 1, AT),
      system.dmaRead(system.mdp0, 0, AT),
    ];
    expect(readAll()).toEqual([0, 0, 0]);
    const before = [system.rot, system.mdp0].map((smmu) => smmu.statistics.invalidations);
    process.unmap(AT);
    table.invalidate(AT, 0x1000);
    const after = [system.rot, system.mdp0].map((smmu) => smmu.statistics.invalidations);
    expect(after.map((count, i) => count - (before[i] ?? 0))).toEqual([1, 1]);
    expect(readAll()).toEqual(['pending', 'pending', 'pending']);
  });
});

describe('a process table', () => {
  test('is walked with the attributes the configuration has for walks (R54)', () => {
    const system = new System({ config: { coherentWalk: true } });
    const process = new FakeProcess(system, 'app');
    system.iommu.bindProcess(system.devices.src, process);
    expect(system.rot.read32(contextOffset(0, TTBR0))).toBe(process.tableRoot + 0x6a);
  });

  test('that the registers cannot express is refused (EOPNOTSUPP)', () => {
    const system = new System();
    const { prrr: PRRR_WORD, nmrr: NMRR_WORD } = PROCESS_FORMAT;
    const make = (process: object) => () =>
      system.instance('rot').createProcessTable?.(process as FakeProcess);
    const good = {
      name: 'app',
      tableFormat: 'armv7-short',
      tableRoot: 0x40000000,
      userEnd: USER_END,
      attributes: { PRRR: PRRR_WORD, NMRR: NMRR_WORD, AFE: 0 },
    };
    expect(make(good)()).toBeDefined();
    for (const bad of [
      { userEnd: 0xc0000000 },
      { userEnd: 2 ** 32 },
      { userEnd: 0x1000000 },
      { tableFormat: 'armv7-long' },
      { tableRoot: 0x40001000 },
      { tableRoot: 2 ** 32 },
      { attributes: { NMRR: NMRR_WORD, AFE: 0 } },
      { attributes: { PRRR: PRRR_WORD, AFE: 0 } },
      { attributes: { PRRR: PRRR_WORD, NMRR: NMRR_WORD } },
      { attributes: { PRRR: PRRR_WORD, NMRR: NMRR_WORD, AFE: 2 } },
      { attributes: { PRRR: 2 ** 32, NMRR: NMRR_WORD, AFE: 1 } },
    ]) {
      expect(make({ ...good, ...bad })).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }));
    }
  });

  test('needs faults that stall: without, there is none, and nothing to resume', () => {
    const stalling = new System().instance('rot');
    expect(stalling.capabilities).toMatchObject({ stall: true, processFormats: ['armv7-short'] });
    const instance = new System({ config: { stallFaults: false } }).instance('rot');
    expect(instance.capabilities).toMatchObject({ stall: false, processFormats: [] });
    expect([instance.createProcessTable, instance.resume]).toEqual([undefined, undefined]);
  });

  test('of other hardware is refused (EINVAL)', () => {
    const system = new System();
    const coherent = new System({ config: { coherentWalk: true } });
    const table = coherent.instance('rot').createProcessTable?.(new FakeProcess(system, 'app'));
    if (table === undefined) throw new Error('no process table');
    const endpoint = { provider: 'rot', context: 'rot_src', streamIds: [0] };
    expect(() =>
      system.instance('rot').attach(endpoint, { kind: 'sva', table }, { kind: 'blocked' }),
    ).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(system.clocksOn).toBe(0);
  });
});
