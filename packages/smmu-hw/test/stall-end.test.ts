import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { Rig, regs } from './support/rig.ts';
import {
  MAPPED,
  MISSING,
  STALLED_TF,
  TARGET,
  TARGET_TOO,
  orderOf,
  resume,
  resumeAndRun,
  stalling,
  statesOf,
} from './support/stalls.ts';
import { SECTION, STALL } from './support/tlb-pins.ts';

/** A place that is memory and not mapped: a write of an access that bypasses would land there. */
const BYPASSED = 0x40300000;

/** How a stall ends, or does not, without RESUME. */
describe('the end of a stall', () => {
  underEveryReading((make, readings) => {
    const clearingEnds = readings.clearingStallStatus === 'terminates';
    const disablingEnds = readings.disabledBank === 'terminates';

    test('R52 without RESUME the master stays stalled, whatever the handler does to the other bits', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(1, MAPPED, 1)];
      rig.set(0, regs.FSR, 0xbfffffff);
      rig.set(0, regs.CTX_TLBIALL, 0);
      rig.set(0, regs.ACTLR, STALL & ~2);
      rig.set(0, regs.SCTLR, 3);
      rig.world.clock.run();
      expect(statesOf(transfers)).toEqual(['pending', 'pending']);
      expect(rig.get(0, regs.FSR)).toBe(0x40000000);
    });

    test('R52 clearing SS in FSR leaves the stall, or terminates everything that is held', () => {
      for (const written of [0x40000000, 0x4000000f, 0xffffffff]) {
        const rig = stalling(make);
        const transfers = [rig.store(0, MISSING, 1), rig.store(1, MAPPED, 0x55)];
        rig.set(0, regs.FSR, written);
        expect(statesOf(transfers)).toEqual(['pending', 'pending']);
        expect(rig.get(0, regs.FSR)).toBe((STALLED_TF & ~written) >>> 0);
        rig.world.clock.run();
        const expected = clearingEnds ? ['faulted', 'faulted'] : ['pending', 'pending'];
        expect(statesOf(transfers)).toEqual(expected);
        expect(rig.peek(TARGET)).toBe(0);
      }
    });

    test('R52 R47 clearing SS through FSRRESTORE is the same as through FSR', () => {
      for (const written of [0, 2, STALLED_TF]) {
        const rig = stalling(make);
        const transfers = [rig.store(0, MISSING, 1), rig.store(1, MAPPED, 0x55)];
        rig.set(0, regs.FSRRESTORE, written);
        rig.world.clock.run();
        const isCleared = written !== STALLED_TF || readings.statusRestore === 'clears';
        const ends = clearingEnds && isCleared;
        expect([written, ...statesOf(transfers)]).toEqual([
          written,
          ...(ends ? ['faulted', 'faulted'] : ['pending', 'pending']),
        ]);
      }
    });

    test('R52 where clearing leaves the stall, the bank blocks on, and RESUME still ends it', () => {
      const rig = stalling(make);
      const held = rig.store(0, MISSING, 1);
      rig.set(0, regs.FSR, 0xffffffff);
      rig.world.clock.run();
      const later = rig.store(1, MAPPED, 0x55);
      expect(statesOf([held, later])).toEqual(clearingEnds ? ['faulted', 'done'] : ['pending', 'pending']);
      expect(rig.get(0, regs.FSR)).toBe(0);
      resumeAndRun(rig, readings, 'terminate');
      expect(statesOf([held, later])).toEqual(['faulted', 'done']);
    });

    test('R52 clearing FSR after RESUME decides nothing, even where it would end a stall', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 0x66), rig.store(1, MAPPED, 0x55)];
      rig.first(MISSING, TARGET_TOO | SECTION);
      rig.put(regs.GLOBAL_TLBIALL.offset, 0);
      resumeAndRun(rig, readings, 'retry');
      expect(statesOf(transfers)).toEqual(['done', 'done']);
      expect([rig.peek(TARGET), rig.peek(TARGET_TOO)]).toEqual([0x55, 0x66]);
    });

    test('R52 M=0 terminates what is held, or leaves it; either way nothing happens in the write', () => {
      const rig = stalling(make);
      const transfers = [0, 1, 2].map((mid) => rig.store(mid, BYPASSED + mid * 4, 0xbad));
      const order = orderOf(transfers);
      rig.set(0, regs.SCTLR, 0);
      expect(statesOf(transfers)).toEqual(['pending', 'pending', 'pending']);
      rig.world.clock.run();
      expect(order).toEqual(disablingEnds ? ['0 faulted', '1 faulted', '2 faulted'] : []);
      expect([0, 1, 2].map((mid) => rig.peek(BYPASSED + mid * 4))).toEqual([0, 0, 0]);
    });

    test('R47 R52 SS that FSRRESTORE loaded holds nothing: M=0 ends nothing and leaves it', () => {
      const rig = stalling(make);
      const events: string[] = [];
      rig.world.events.subscribe(({ name }) => events.push(name));
      rig.set(0, regs.FSRRESTORE, STALLED_TF);
      rig.set(0, regs.SCTLR, 0);
      expect(rig.get(0, regs.FSR)).toBe(readings.statusRestore === 'loads' ? STALLED_TF : 0);
      rig.world.clock.run();
      expect(events).not.toContain('smmu:stall_released');
    });

    test('R52 after M=0 the bank serves again: what is retried bypasses', () => {
      const rig = stalling(make);
      const transfers = [0, 1].map((mid) => rig.store(mid, BYPASSED + mid * 4, 0x600d));
      rig.set(0, regs.SCTLR, 0);
      resumeAndRun(rig, readings, 'retry');
      const written = disablingEnds ? 0 : 0x600d;
      expect(statesOf(transfers)).toEqual(disablingEnds ? ['faulted', 'faulted'] : ['done', 'done']);
      expect([rig.peek(BYPASSED), rig.peek(BYPASSED + 4)]).toEqual([written, written]);
      expect(rig.store(0, BYPASSED + 8, 0x77).state).toBe('done');
      expect(rig.peek(BYPASSED + 8)).toBe(0x77);
    });

    test('R52 M=0 after a terminating RESUME was written: the held one is terminated in any case', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, BYPASSED, 0xbad), rig.store(1, BYPASSED + 4, 0x600d)];
      resume(rig, readings, 'terminate');
      rig.set(0, regs.SCTLR, 0);
      rig.world.clock.run();
      expect(statesOf(transfers)).toEqual(['faulted', disablingEnds ? 'faulted' : 'done']);
      expect([rig.peek(BYPASSED), rig.peek(BYPASSED + 4)]).toEqual([0, disablingEnds ? 0 : 0x600d]);
    });

    test('R52 M=0 between a retrying RESUME and the retry wins, or lets it bypass', () => {
      const rig = stalling(make);
      const transfer = rig.store(0, BYPASSED, 0x600d);
      resume(rig, readings, 'retry');
      rig.set(0, regs.SCTLR, 0);
      rig.world.clock.run();
      expect(transfer.state).toBe(disablingEnds ? 'faulted' : 'done');
      expect(rig.peek(BYPASSED)).toBe(disablingEnds ? 0 : 0x600d);
    });

    test('R52 M=0 and M=1 again before the clock runs: what was terminated stays so', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 0x66), rig.store(1, MAPPED, 0x55)];
      rig.set(0, regs.SCTLR, 0);
      rig.set(0, regs.SCTLR, 3);
      const fresh = rig.store(2, MAPPED + 4, 0x77);
      rig.world.clock.run();
      expect(statesOf([...transfers, fresh])).toEqual(
        disablingEnds ? ['faulted', 'faulted', 'done'] : ['pending', 'pending', 'pending'],
      );
      expect(rig.peek(TARGET)).toBe(0);
    });

    test('R52 M=0 of one bank leaves the stall of another', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(4, MISSING, 1)];
      rig.set(1, regs.SCTLR, 0);
      rig.world.clock.run();
      expect(statesOf(transfers)).toEqual(['pending', disablingEnds ? 'faulted' : 'pending']);
      expect(rig.get(0, regs.FSR)).toBe(STALLED_TF);
    });

    test('R52 the drivers’ reset of a bank in the middle of a stall', () => {
      const rig = stalling(make);
      const transfers = [0, 1, 2].map((mid) => rig.store(mid, BYPASSED + mid * 4, 0xbad));
      const { ACTLR, SCTLR, FSRRESTORE, TTBR0, FAR, CTX_TLBIALL, CONTEXTIDR } = regs;
      for (const register of [ACTLR, SCTLR, FSRRESTORE, TTBR0, FAR, CTX_TLBIALL, CONTEXTIDR]) {
        rig.set(0, register, 0);
      }
      rig.world.clock.run();
      // ACTLR=0 has CFERE=0: what is terminated is then no error, where CFERE decides.
      const ended = readings.terminatedAccess === 'by-cfere' ? 'done' : 'faulted';
      expect(new Set(statesOf(transfers))).toEqual(
        new Set([disablingEnds || clearingEnds ? ended : 'pending']),
      );
      expect([0, 1, 2].map((mid) => rig.peek(BYPASSED + mid * 4))).toEqual([0, 0, 0]);
      expect([rig.get(0, regs.FSR), rig.secureLine.isHigh]).toEqual([0, false]);
    });

    test('R52 reset of the instance terminates everything that is held, RESUME written or not', () => {
      for (const isResumed of [false, true]) {
        const rig = stalling(make);
        const transfers = [0, 1, 4].map((mid) => rig.store(mid, BYPASSED + mid * 4, 0xbad));
        if (isResumed) resume(rig, readings, 'retry');
        rig.smmu.reset();
        expect(statesOf(transfers)).toEqual(['pending', 'pending', 'pending']);
        rig.world.clock.run();
        expect(statesOf(transfers)).toEqual(['faulted', 'faulted', 'faulted']);
        expect([0, 1, 4].map((mid) => rig.peek(BYPASSED + mid * 4))).toEqual([0, 0, 0]);
        expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
        rig.route(0, 0);
        expect(rig.store(0, BYPASSED, 0x600d).state).toBe('done');
      }
    });

    test('ACTLR.CFERE what a master sees when the end of the stall terminates it', () => {
      const rig = stalling(make, STALL & ~1);
      const bytes = new Uint8Array(4).fill(0xff);
      const read = rig.master(0).read(MISSING, bytes);
      if (disablingEnds) rig.set(0, regs.SCTLR, 0);
      else resume(rig, readings, 'terminate');
      rig.world.clock.run();
      const isIgnored = readings.terminatedAccess === 'by-cfere';
      expect(read.state).toBe(isIgnored ? 'done' : 'faulted');
      expect([...bytes]).toEqual(isIgnored ? [0, 0, 0, 0] : [0xff, 0xff, 0xff, 0xff]);
    });
  });

  test('the clock knows who waits, until the answer', () => {
    const rig = stalling((config) => new Rig(config));
    rig.store(0, MISSING, 1);
    rig.store(1, MAPPED, 1);
    expect(rig.world.clock.waits()).toEqual([
      'mid0 (stream 0): write at 0x00100000 is stalled',
      'mid1 (stream 1): write at 0x00200000 is stalled',
    ]);
    rig.set(0, regs.RESUME, 1);
    rig.world.clock.run();
    expect(rig.world.clock.waits()).toEqual([]);
  });
});

test('R51 a RESUME written as soon as the line rises, while an answer is being given, answers the access all the same', () => {
  const rig = stalling((config) => new Rig(config));
  const transfers = [0, 1, 2].map((mid) => rig.master(mid).read(MISSING, new Uint8Array(4)));
  rig.set(0, regs.FSR, 0xffffffff);
  let times = 2;
  rig.secureLine.subscribe((isHigh) => {
    if (isHigh && times-- > 0) rig.set(0, regs.RESUME, 1);
  });
  rig.set(0, regs.RESUME, 0);
  rig.world.clock.run();
  expect(statesOf(transfers)).toEqual(['faulted', 'pending', 'pending']);
  expect(rig.smmu.snapshot().banks[0]?.stall.waiting).toHaveLength(1);
});
