import { describe, expect, test } from '@jest/globals';
import { isLabError, type LabEvent } from '@iommu-lab/machine';
import { ACTLR_ATTACHED, ACTLR_NO_STALL, Rig, TABLE, regs } from './rig.ts';

/** IRPTNDX = 1 in CBACR. */
const NON_SECURE = 1 << 24;

describe('fault records', () => {
  test('R44 FSR has the cause, FAR the address, FSYNR0 the machine id, FSYNR1 the direction', () => {
    const rig = new Rig();
    rig.route(6, 1);
    rig.attach(1);
    rig.store(6, 0x12345678, 1);
    expect(rig.get(1, regs.FSR)).toBe(2);
    expect(rig.get(1, regs.FAR)).toBe(0x12345678);
    expect(rig.field(1, regs.FSYNR0, 'AMID')).toBe(6);
    expect(rig.field(1, regs.FSYNR1, 'AWRITE')).toBe(1);
    rig.set(1, regs.FSR, 2);
    rig.second(0x00100000, 0);
    rig.load(6, 0x00100abc);
    expect(rig.get(1, regs.FSR)).toBe(0x10002);
    expect(rig.get(1, regs.FAR)).toBe(0x00100abc);
    expect(rig.field(1, regs.FSYNR1, 'AWRITE')).toBe(0);
  });

  test('R44 a transfer faults at the page it reached, and what came before is done', () => {
    const rig = new Rig();
    rig.route(0, 0);
    rig.attach(0);
    rig.second(0x00100000, 0x41000000 | 0xc36);
    const transfer = rig.master(0).write(0x00100ff0, new Uint8Array(64).fill(7));
    expect([transfer.state, transfer.doneBytes]).toEqual(['faulted', 16]);
    expect(rig.peek(0x41000ffc)).toBe(0x07070707);
    expect(rig.get(0, regs.FAR)).toBe(0x00101000);
  });

  test('R45 a second fault sets MULTI and leaves FAR and FSYNR alone', () => {
    const rig = new Rig();
    rig.route(0, 0);
    rig.route(1, 0);
    rig.attach(0);
    rig.store(0, 0x1000, 1);
    const record = [regs.FAR, regs.FSYNR0, regs.FSYNR1].map((r) => rig.get(0, r));
    rig.load(1, 0x2000);
    expect(rig.get(0, regs.FSR)).toBe(0x80000002);
    expect([regs.FAR, regs.FSYNR0, regs.FSYNR1].map((r) => rig.get(0, r))).toEqual(record);
  });

  test('R48 the line that IRPTNDX names is high while CFEIE is 1 and FSR is not 0', () => {
    for (const cbacr of [0, NON_SECURE]) {
      const rig = new Rig();
      rig.route(0, 0);
      rig.attach(0, { cbacr });
      const [line, other] =
        cbacr === 0 ? [rig.secureLine, rig.nonSecureLine] : [rig.nonSecureLine, rig.secureLine];
      expect(line.isHigh).toBe(false);
      rig.load(0, 0x1000);
      expect([line.isHigh, other.isHigh]).toEqual([true, false]);
      rig.load(0, 0x2000);
      // The old handlers' constant leaves MULTI: the line stays.
      rig.set(0, regs.FSR, 0x4000000f);
      expect(line.isHigh).toBe(true);
      rig.set(0, regs.FSR, rig.get(0, regs.FSR));
      expect(line.isHigh).toBe(false);
    }
  });

  test('R48 the level follows CFEIE, IRPTNDX and FSRRESTORE as well', () => {
    const rig = new Rig();
    rig.set(0, regs.ACTLR, 2);
    rig.set(0, regs.FSRRESTORE, 2);
    expect(rig.secureLine.isHigh).toBe(true);
    rig.put(regs.cbacrOffset(0), NON_SECURE);
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, true]);
    rig.set(0, regs.ACTLR, 0);
    expect(rig.nonSecureLine.isHigh).toBe(false);
  });

  test('R49 CFEIE=0: no interrupt, the fault is recorded all the same', () => {
    const rig = new Rig();
    rig.route(0, 0);
    rig.attach(0, { actlr: ACTLR_NO_STALL & ~2 });
    rig.load(0, 0x1000);
    expect(rig.secureLine.isHigh).toBe(false);
    expect(rig.get(0, regs.FSR)).toBe(2);
  });

  test('R53 two banks fault at once: the line stays until both are cleared', () => {
    const rig = new Rig();
    for (const bank of [0, 2]) {
      rig.route(bank, bank);
      rig.attach(bank);
      rig.load(bank, 0x1000);
    }
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([2, 0, 2]);
    rig.set(0, regs.FSR, 2);
    expect(rig.secureLine.isHigh).toBe(true);
    rig.set(2, regs.FSR, 2);
    expect(rig.secureLine.isHigh).toBe(false);
  });

  test('R50 CFCFG=0 terminates at once', () => {
    const rig = new Rig();
    rig.route(0, 0);
    rig.attach(0);
    expect(rig.store(0, 0x1000, 1).state).toBe('faulted');
    expect(rig.field(0, regs.FSR, 'SS')).toBe(0);
  });

  test('R55 registers behind a stopped clock are not reached: the bus says so', () => {
    const rig = new Rig();
    rig.mmio.addWindow({
      name: 'unclocked',
      base: 0x07400000,
      sizeBytes: regs.WINDOW_BYTES,
      device: rig.smmu,
      isClocked: () => false,
    });
    let error: unknown;
    try {
      rig.mmio.read32(0x07400000);
    } catch (thrown) {
      error = thrown;
    }
    expect(isLabError(error, 'EIO')).toBe(true);
  });

  test('faults are events with the same facts', () => {
    const rig = new Rig();
    const events: LabEvent[] = [];
    rig.world.events.subscribe((event) => events.push(event));
    rig.route(6, 1);
    rig.attach(1);
    rig.store(6, 0x12345678, 1);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      name: 'smmu:context_fault',
      fields: { iommu: 'jpegd', bank: 1, sid: 6, iova: '0x12345678', access: 'write', fsr: '0x00000002' },
    });
  });
});

describe('stall', () => {
  /** Machine ids 0 to 3 use bank 0, which stalls; nothing is mapped. */
  function stalling(config: object = {}, actlr = ACTLR_ATTACHED): Rig {
    const rig = new Rig(config);
    for (const mid of [0, 1, 2, 3]) rig.route(mid, 0);
    rig.attach(0, { actlr });
    return rig;
  }

  test('R50 a faulting access stalls: SS, no end, and the clock knows who waits', () => {
    const rig = stalling();
    const transfer = rig.store(0, 0x00100000, 1);
    expect(transfer.state).toBe('pending');
    expect(rig.get(0, regs.FSR)).toBe(0x40000002);
    rig.world.clock.run();
    expect(transfer.state).toBe('pending');
    expect(rig.world.clock.waits()).toEqual(['mid0 (stream 0): write at 0x00100000 is stalled']);
  });

  test('R50 the bank blocks accesses that come later, mapped or not; other banks go on', () => {
    const rig = stalling();
    rig.first(0x00200000, 0x41000000 | 0x30c06);
    rig.attach(1, { ttbr0: TABLE });
    rig.route(9, 1);
    rig.store(0, 0x00100000, 1);
    const later = rig.store(1, 0x00200000, 0x55);
    expect(later.state).toBe('pending');
    expect(rig.peek(0x41000000)).toBe(0);
    expect(rig.store(9, 0x00200004, 0x66).state).toBe('done');
    expect(rig.field(0, regs.FSR, 'MULTI')).toBe(0);
  });

  test('R51 RESUME=1 terminates the faulted access, as a clock task; those behind it are tried', () => {
    const rig = stalling();
    rig.first(0x00200000, 0x41000000 | 0x30c06);
    const first = rig.store(0, 0x00100000, 1);
    const later = rig.store(1, 0x00200000, 0x55);
    rig.set(0, regs.FSR, rig.get(0, regs.FSR));
    rig.set(0, regs.RESUME, 1);
    expect([first.state, later.state]).toEqual(['pending', 'pending']);
    rig.world.clock.run();
    expect([first.state, later.state]).toEqual(['faulted', 'done']);
    expect(rig.peek(0x41000000)).toBe(0x55);
    expect(rig.world.clock.waits()).toEqual([]);
  });

  test('R51 RESUME=0 retries: after the mapping was made the transfer goes on where it stood', () => {
    const rig = stalling();
    rig.second(0x00100000, 0x41000000 | 0xc36);
    const transfer = rig.master(0).write(0x00100ffc, new Uint8Array(8).fill(9));
    expect([transfer.state, transfer.doneBytes]).toEqual(['pending', 4]);
    rig.second(0x00101000, 0x41001000 | 0xc36);
    rig.set(0, regs.FSR, rig.get(0, regs.FSR));
    rig.set(0, regs.RESUME, 0);
    rig.world.clock.run();
    expect([transfer.state, transfer.doneBytes]).toEqual(['done', 8]);
    expect(rig.peek(0x41001000)).toBe(0x09090909);
    expect(rig.get(0, regs.FSR)).toBe(0);
  });

  test('R51 a retry that faults again stalls again, and those behind it keep their order', () => {
    const rig = stalling();
    const order: string[] = [];
    const transfers = [0, 1, 2].map((mid) => {
      const transfer = rig.store(mid, 0x00100000 + mid * 0x1000, mid + 1);
      transfer.onEnd((state) => order.push(`${mid} ${state}`));
      return transfer;
    });
    rig.set(0, regs.FSRRESTORE, 0);
    rig.set(0, regs.RESUME, 0);
    rig.world.clock.run();
    expect(rig.get(0, regs.FSR)).toBe(0x40000002);
    expect(rig.get(0, regs.FAR)).toBe(0x00100000);
    for (let i = 0; i < 3; i++) {
      rig.set(0, regs.FSR, rig.get(0, regs.FSR));
      rig.set(0, regs.RESUME, 1);
      rig.world.clock.run();
    }
    expect(order).toEqual(['0 faulted', '1 faulted', '2 faulted']);
    expect(transfers.every((transfer) => transfer.state === 'faulted')).toBe(true);
  });

  test('R51 an access that arrives between RESUME and its effect waits behind the others', () => {
    const rig = stalling();
    rig.first(0x00200000, 0x41000000 | 0x30c06);
    const order: number[] = [];
    rig.store(0, 0x00100000, 1).onEnd(() => order.push(0));
    rig.store(1, 0x00200000, 1).onEnd(() => order.push(1));
    rig.set(0, regs.RESUME, 1);
    rig.store(2, 0x00200004, 1).onEnd(() => order.push(2));
    rig.world.clock.run();
    expect(order).toEqual([0, 1, 2]);
  });

  test('R51 RESUME without a stall does nothing; TNR’s polarity is a choice', () => {
    const rig = stalling({ resumeTerminates: 0 });
    rig.set(0, regs.RESUME, 1);
    rig.world.clock.run();
    const transfer = rig.store(0, 0x00100000, 1);
    expect(transfer.state).toBe('pending');
    rig.first(0x00100000, 0x41000000 | 0x30c06);
    rig.set(0, regs.RESUME, 1);
    rig.world.clock.run();
    expect(transfer.state).toBe('done');
  });

  test('R52 clearing FSR does not end a stall, unless so configured', () => {
    for (const clearingStallStatusReleases of [false, true]) {
      const rig = stalling({ clearingStallStatusReleases });
      const transfer = rig.store(0, 0x00100000, 1);
      rig.set(0, regs.FSR, 0x4000000f);
      rig.world.clock.run();
      expect(transfer.state).toBe(clearingStallStatusReleases ? 'faulted' : 'pending');
      expect(rig.secureLine.isHigh).toBe(false);
    }
  });

  test('R52 clearing FSR after RESUME decides nothing, even where it would end a stall', () => {
    const rig = stalling({ clearingStallStatusReleases: true });
    const transfer = rig.store(0, 0x00100000, 0x55);
    const later = rig.store(1, 0x00100004, 0x66);
    rig.first(0x00100000, 0x41000000 | 0x30c06);
    rig.set(0, regs.RESUME, 0);
    rig.set(0, regs.FSR, rig.get(0, regs.FSR));
    rig.world.clock.run();
    expect([transfer.state, later.state]).toEqual(['done', 'done']);
    expect([rig.peek(0x41000000), rig.peek(0x41000004)]).toEqual([0x55, 0x66]);
  });

  test('R52 resetting the bank ends every parked access as terminated; none of them bypasses', () => {
    const rig = stalling();
    const transfers = [0, 1, 2].map((mid) => rig.store(mid, 0x40300000 + mid * 4, 0xbad));
    rig.set(0, regs.ACTLR, 0);
    rig.set(0, regs.SCTLR, 0);
    rig.set(0, regs.FSRRESTORE, 0);
    rig.world.clock.run();
    expect(transfers.map((transfer) => transfer.state)).toEqual(['faulted', 'faulted', 'faulted']);
    expect([0, 1, 2].map((mid) => rig.peek(0x40300000 + mid * 4))).toEqual([0, 0, 0]);
    expect(rig.store(0, 0x40300000, 0x600d).state).toBe('done');
  });

  test('R52 a reset between RESUME=0 and the retry wins: the access is terminated', () => {
    const rig = stalling();
    const transfer = rig.store(0, 0x40300000, 0xbad);
    rig.set(0, regs.RESUME, 0);
    rig.set(0, regs.SCTLR, 0);
    rig.world.clock.run();
    expect(transfer.state).toBe('faulted');
    expect(rig.peek(0x40300000)).toBe(0);
  });

  test('reset() of the device ends parked accesses as terminated', () => {
    const rig = stalling();
    const transfer = rig.store(0, 0x40300000, 0xbad);
    rig.smmu.reset();
    rig.world.clock.run();
    expect(transfer.state).toBe('faulted');
  });

  test('CR.STALLD: nothing stalls', () => {
    const rig = stalling();
    rig.put(regs.CR.offset, 1 << 5);
    expect(rig.store(0, 0x00100000, 1).state).toBe('faulted');
  });
});
