import { describe, expect, test } from '@jest/globals';
import { READ_WRITE } from '@iommu-lab/iommu-core';
import { extract, hex, physAddr, type Transfer } from '@iommu-lab/machine';
import {
  ACTLR,
  BFBCR,
  CBACR,
  cbacrOffset,
  CONTEXTIDR,
  contextOffset,
  FSR,
  m2vcbrOffset,
  NMRR,
  PRRR,
  RESUME,
  SCTLR,
  TLBIASID,
  TTBCR,
  TTBR0,
  TTBR1,
} from '@iommu-lab/smmu-hw/regs';
import { PAGE_A, PAGE_B, System } from './fixture.ts';

const ROUTE_TO_SPARE = 0x00c00200;
const ACTLR_STALLING = 0x00037072;
const ACTLR_NOT_STALLING = 0x00033072;
const NO_WALKS = 0x30;

/** The bank that a stream is routed to now. */
function bankOf(system: System, mid: number): number {
  return (system.rot.read32(m2vcbrOffset(mid)) >>> 8) & 0xff;
}

function spared(options: ConstructorParameters<typeof System>[0] = {}): System {
  return new System({ contextBanks: 3, ...options });
}

/** Writes since the trace was cleared, as offsets and values. */
function writesOf(system: System): readonly (readonly [number, number])[] {
  return system.trace.filter(({ kind }) => kind === 'write').map(({ offset, value }) => [offset, value]);
}

describe('a spare bank', () => {
  test('is what makes a switch atomic', () => {
    expect(spared().instance('rot').capabilities.switchKind).toBe('atomic');
    expect(new System().instance('rot').capabilities.switchKind).toBe('old-or-new');
  });

  test('serves nobody after probe: it translates nothing, and nothing passes it either', () => {
    const system = spared();
    expect([0, 1].map((mid) => bankOf(system, mid))).toEqual([0, 1]);
    expect(system.rot.read32(contextOffset(2, SCTLR)) & 1).toBe(1);
    expect(system.rot.read32(contextOffset(2, TTBCR))).toBe(NO_WALKS);
  });

  test('changes with each switch, and the isolation key does not: that is the wiring', () => {
    const system = spared();
    const { src, dst } = system.devices;
    const [first, second] = ['first', 'second'].map((name) => system.iommu.allocPagingDomain(src, name));
    if (first === undefined || second === undefined) throw new Error('no domains');
    const banks = (): number[] => [0, 1].map((mid) => bankOf(system, mid));
    system.iommu.attach(first, src);
    expect(banks()).toEqual([2, 1]);
    system.iommu.attach(second, dst);
    expect(banks()).toEqual([2, 0]);
    system.iommu.replace(second, src);
    expect(banks()).toEqual([1, 0]);
    const instance = system.instance('rot');
    const keyOf = (context: string, mid: number): string =>
      instance.probeEndpoint(src, { provider: 'rot', context, streamIds: [mid] });
    expect([keyOf('rot_src', 0), keyOf('rot_dst', 1)]).toEqual(['bank 0', 'bank 1']);
  });

  test('is there in many numbers, too: the one that was left longest ago is next', () => {
    const system = new System({ contextBanks: 4 });
    const { src } = system.devices;
    const banks = [0, 1, 2, 3].map((n) => {
      const domain = system.iommu.allocPagingDomain(src, `d${n}`);
      system.iommu.replace(domain, src);
      return bankOf(system, 0);
    });
    expect(banks).toEqual([2, 3, 0, 2]);
  });
});

describe('a switch through a spare bank', () => {
  test('programs it completely, routes, closes the bank that was left, and drops its entries, in this order', () => {
    const system = spared();
    const { src } = system.devices;
    system.attached(src, 'old'); // in bank 2, ASID 1
    const next = system.iommu.allocPagingDomain(src, 'new');
    system.trace.length = 0;
    system.iommu.replace(next, src);
    const root = system.rot.read32(contextOffset(0, TTBR0));
    expect(root % 0x4000).toBe(0);
    const bank = (number: number, register: Parameters<typeof contextOffset>[1], value: number) =>
      [contextOffset(number, register), value] as const;
    expect(writesOf(system)).toEqual([
      [cbacrOffset(0), 0],
      bank(0, ACTLR, ACTLR_STALLING),
      bank(0, PRRR, 0x800b8204),
      bank(0, NMRR, 0x40004000),
      bank(0, BFBCR, 0),
      bank(0, TTBR0, root),
      bank(0, TTBR1, 0),
      bank(0, CONTEXTIDR, 2),
      bank(0, SCTLR, 0x7),
      bank(0, TTBCR, 0),
      [m2vcbrOffset(0), 0x00c00000],
      bank(2, TTBCR, NO_WALKS),
      bank(2, CONTEXTIDR, 0),
      bank(2, SCTLR, 0x7),
      bank(2, ACTLR, ACTLR_NOT_STALLING),
      bank(2, RESUME, 0),
      bank(2, TLBIASID, 1),
    ]);
  });

  test('to identity has M = 0 in a bank that nobody is routed to yet, and none in the bank that was left', () => {
    const system = spared();
    const { src } = system.devices;
    system.attached(src, 'old');
    system.trace.length = 0;
    system.iommu.replace(system.iommu.identityDomain, src);
    const writes = writesOf(system);
    const open = writes.findIndex(([offset, value]) => offset === contextOffset(0, SCTLR) && value === 0x6);
    const route = writes.findIndex(([offset]) => offset === m2vcbrOffset(0));
    expect(open).toBeGreaterThanOrEqual(0);
    expect(route).toBeGreaterThan(open);
    system.iommu.replace(system.iommu.blockedDomain, src);
    expect([0, 1, 2].map((bank) => system.rot.read32(contextOffset(bank, SCTLR)) & 1)).toEqual([1, 1, 1]);
  });

  test('takes the interrupt line along', () => {
    const system = spared({ config: { interruptLine: 'non-secure' } });
    system.attached(system.devices.src, 'd');
    expect(extract(system.rot.read32(cbacrOffset(2)), CBACR.fields.IRPTNDX)).toBe(1);
    system.dmaRead(system.rot, 0, 0x9000);
    system.world.clock.run();
    expect(system.interrupts.count(92)).toBe(1);
  });

  test('moves the streams of a context one after the other, each by one write', () => {
    const system = spared({ config: { stallFaults: false } });
    const { vg } = system.devices; // machine ids 0 and 2
    system.fill(PAGE_A, 0xa);
    system.fill(PAGE_B, 0xb);
    system.mapped(vg, 'old', 0x1000, PAGE_A);
    const next = system.iommu.allocPagingDomain(vg, 'new');
    next.map(0x1000, PAGE_B, 0x1000, READ_WRITE);
    const seen: string[] = [];
    const stop = system.world.interposer.observe(() => {
      const both = [0, 2].map((mid) => system.dmaRead(system.mdp0, mid, 0x1000));
      const what = both.map((value) => hex(Number(value), 1)).join(' ');
      if (seen.at(-1) !== what) seen.push(what);
    });
    system.iommu.replace(next, vg);
    stop();
    expect(seen).toEqual(['0xa 0xa', '0xb 0xa', '0xb 0xb']);
  });

  test('writes nothing when it cannot be made: no ASID (ENOSPC), no clock (EIO)', () => {
    const system = spared({ config: { lastAsid: 1 } });
    const { src, dst } = system.devices;
    const old = system.mapped(src, 'old', 0x1000, PAGE_A);
    const next = system.iommu.allocPagingDomain(src, 'new');
    system.trace.length = 0;
    expect(() => system.iommu.replace(next, src)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    system.iommu.detach(old, src);
    system.trace.length = 0;
    system.world.failpoints.failNth(1, 'msm-bus.clock-enable');
    expect(() => system.iommu.attach(next, dst)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(system.trace).toEqual([]);
    expect(system.clocksOn).toBe(0);
    expect([0, 1].map((mid) => bankOf(system, mid))).toEqual([0, 1]);
  });
});

describe('an access that stalls in the bank that is left', () => {
  function stalled(system: System): Transfer {
    const transfer = system.master(system.rot, 0).read(0x5000, new Uint8Array(4));
    expect(transfer.state).toBe('pending');
    return transfer;
  }

  test.each([false, true])(
    'is tried again by the new table, with what waits behind it (held: %s)',
    (isHeld) => {
      const system = spared();
      const { src } = system.devices;
      const old = system.attached(src, 'old');
      old.setFaultHandler(() => 'hold');
      const next = system.iommu.allocPagingDomain(src, 'new');
      next.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
      const transfers = [stalled(system), stalled(system)];
      if (isHeld) system.world.clock.run();
      system.iommu.replace(next, src);
      system.world.clock.run();
      expect(transfers.map(({ state }) => state)).toEqual(['done', 'done']);
      expect(system.world.clock.waits()).toEqual([]);
      const { resume } = system.instance('rot');
      expect(() => resume?.('rot_src', 'retry')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    },
  );

  test.each(['blocked', 'identity', 'unbound'] as const)(
    'ends as a fault where the stream becomes %s, with what waits behind it, and passes through nothing',
    (target) => {
      for (const isHeld of [false, true]) {
        const system = spared();
        const { src } = system.devices;
        system.attached(src, 'old').setFaultHandler(() => 'hold');
        const master = system.master(system.rot, 0);
        const transfers = [0, 1].map(() => master.write(PAGE_A, new Uint8Array(0x2000).fill(0xbd)));
        if (isHeld) system.world.clock.run();
        if (target === 'unbound') system.bus.unbind(src);
        else {
          const { identityDomain, blockedDomain } = system.iommu;
          system.iommu.replace(target === 'identity' ? identityDomain : blockedDomain, src);
        }
        system.world.clock.run();
        expect(transfers.map(({ state }) => state)).toEqual(['faulted', 'faulted']);
        expect(system.memory.read32(physAddr(PAGE_A))).toBe(0);
        expect(system.world.clock.waits()).toEqual([]);
      }
    },
  );

  test('is reported all the same when its fault was not served yet: with its address and the table it stood on', () => {
    const system = spared();
    const { src } = system.devices;
    system.attached(src, 'old');
    const root = system.rot.read32(contextOffset(2, TTBR0));
    const next = system.iommu.allocPagingDomain(src, 'new');
    next.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
    const transfer = stalled(system);
    system.iommu.replace(next, src);
    system.world.clock.run();
    expect(transfer.state).toBe('done');
    expect(system.iommu.faults).toMatchObject([
      { context: 'rot_src', streamId: 0, iova: 0x5000, cause: 'translation', isStalled: false },
    ]);
    expect(system.iommu.faults[0]?.registers).toMatchObject({ TTBR0: root, FAR: 0x5000 });
    expect([0, 1, 2].map((bank) => system.rot.read32(contextOffset(bank, FSR)))).toEqual([0, 0, 0]);
    expect(system.interrupts.count(91)).toBe(1);
  });

  test('leaves its record to the handler even when the bank serves another context by then', () => {
    const system = spared();
    const { src, dst } = system.devices;
    system.attached(src, 'src old').setFaultHandler(() => 'hold');
    const mine = system.iommu.allocPagingDomain(src, 'src new');
    mine.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
    const theirs = system.iommu.allocPagingDomain(dst, 'dst');
    const seen: unknown[] = [];
    theirs.setFaultHandler((fault) => {
      seen.push([fault.context, fault.iova]);
      return 'terminate';
    });
    system.interrupts.mask(91);
    const transfer = stalled(system);
    system.iommu.replace(mine, src); // leaves bank 2 with its record
    system.iommu.attach(theirs, dst); // moves into bank 2
    expect(bankOf(system, 1)).toBe(2);
    system.world.clock.run();
    const other = system.master(system.rot, 1).read(0x6000, new Uint8Array(4));
    expect(other.state).toBe('pending');
    system.interrupts.unmask(91);
    system.world.clock.run();
    expect([transfer.state, other.state]).toEqual(['done', 'faulted']);
    expect(seen).toEqual([['rot_dst', 0x6000]]);
    const told = system.iommu.faults.map(({ context, iova, isStalled }) => [context, iova, isStalled]);
    expect(told).toEqual([
      ['rot_src', 0x5000, false],
      ['rot_dst', 0x6000, true],
    ]);
  });

  test('is decided by a switch that its own fault handler makes', () => {
    for (const verdict of ['hold', 'retry', 'terminate'] as const) {
      const system = spared();
      const { src } = system.devices;
      const next = system.iommu.allocPagingDomain(src, 'new');
      next.map(0x5000, PAGE_A, 0x1000, READ_WRITE);
      system.attached(src, 'old').setFaultHandler(() => {
        system.iommu.replace(next, src);
        return verdict;
      });
      const transfer = stalled(system);
      system.world.clock.run();
      expect(transfer.state).toBe('done');
      const { resume } = system.instance('rot');
      expect(() => resume?.('rot_src', 'retry')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
  });
});

describe('the last device of a context', () => {
  test('leaves it blocked, its entries dropped, and the clocks off', () => {
    const system = spared({ config: { stallFaults: false } });
    const { src } = system.devices;
    system.mapped(src, 'd', 0x1000, PAGE_A);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe(0);
    expect(system.rot.read32(m2vcbrOffset(0))).toBe(ROUTE_TO_SPARE);
    system.bus.unbind(src);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    expect(system.rot.tlbEntries()).toEqual([]);
    expect(system.clocksOn).toBe(0);
    expect(system.trace.filter(({ isClocked }) => !isClocked)).toEqual([]);
  });

  test('and the end of the instance leave no bank with an interrupt that nobody would serve', () => {
    const system = spared();
    const { src, dst } = system.devices;
    system.attached(src, 'd');
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('pending');
    for (const device of [src, dst]) system.bus.unbind(device); // its fault is in a spare bank
    system.bus.unbind(system.bus.device('msm_iommu.rot'));
    expect([0, 1, 2].map((bank) => system.rot.read32(contextOffset(bank, FSR)))).toEqual([0, 0, 0]);
    expect(
      [0, 1, 2].map((bank) => extract(system.rot.read32(contextOffset(bank, ACTLR)), ACTLR.fields.CFEIE)),
    ).toEqual([0, 0, 0]);
    system.world.clock.run();
    expect(system.world.clock.waits()).toEqual([]);
  });
});
