import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { MULTI, TF } from './support/fault-bits.ts';
import { ACTLR_ATTACHED, regs } from './support/rig.ts';
import {
  MAPPED,
  MAPPED_TOO,
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
import { PAGE, SECTION, TERMINATE } from './support/tlb-pins.ts';

describe('RESUME', () => {
  underEveryReading((make, readings) => {
    const keepsFailures = readings.failedWalks === 'kept';

    test('R51 RESUME that terminates ends the held access; those behind it are tried', () => {
      const rig = stalling(make);
      const transfers = [
        rig.store(0, MISSING, 1),
        rig.store(1, MAPPED, 0x55),
        rig.store(2, MAPPED_TOO, 0x66),
      ];
      const order = orderOf(transfers);
      resumeAndRun(rig, readings, 'terminate');
      expect(order).toEqual(['0 faulted', '1 done', '2 done']);
      expect([rig.peek(TARGET), rig.peek(TARGET_TOO)]).toEqual([0x55, 0x66]);
      expect(rig.get(0, regs.FSR)).toBe(0);
      expect(rig.store(3, MAPPED, 0x77).state).toBe('done');
    });

    test('R51 RESUME that retries: the transfer goes on where it stood', () => {
      const rig = stalling(make);
      rig.second(MISSING, TARGET | PAGE);
      const transfer = rig.master(0).write(MISSING + 0xffc, new Uint8Array(8).fill(9));
      rig.second(MISSING + 0x1000, (TARGET + 0x1000) | PAGE);
      rig.set(0, regs.CTX_TLBIALL, 0);
      resumeAndRun(rig, readings, 'retry');
      expect([transfer.state, transfer.doneBytes]).toEqual(['done', 8]);
      expect(rig.peek(TARGET + 0x1000)).toBe(0x09090909);
      expect(rig.get(0, regs.FSR)).toBe(0);
    });

    test('R51 TNR: the value of the reading terminates, the other retries', () => {
      for (const tnr of [0, 1]) {
        const rig = stalling(make);
        const transfer = rig.store(0, MISSING, 0x55);
        rig.first(MISSING, TARGET | SECTION);
        rig.put(regs.GLOBAL_TLBIALL.offset, 0);
        rig.set(0, regs.RESUME, 0xfffffffe | tnr);
        rig.world.clock.run();
        expect([tnr, transfer.state]).toEqual([tnr, tnr === readings.resumeTerminates ? 'faulted' : 'done']);
      }
    });

    test('R51 RESUME clears SS at once and leaves the rest; the answer comes as a clock task', () => {
      for (const outcome of ['terminate', 'retry'] as const) {
        const rig = stalling(make);
        const transfers = [rig.store(0, MISSING, 1), rig.store(1, MAPPED, 0x55)];
        rig.first(MISSING, TARGET_TOO | SECTION);
        rig.set(0, regs.TLBIASID, 0);
        resume(rig, readings, outcome);
        expect(rig.get(0, regs.FSR)).toBe(TF);
        expect(statesOf(transfers)).toEqual(['pending', 'pending']);
        expect([rig.peek(TARGET), rig.peek(TARGET_TOO)]).toEqual([0, 0]);
        rig.world.clock.run();
        expect(statesOf(transfers)).toEqual([outcome === 'retry' ? 'done' : 'faulted', 'done']);
        expect(rig.get(0, regs.FSR)).toBe(TF);
      }
    });

    test('R51 a retry that faults again stalls again: a first fault if FSR was cleared, else a further one', () => {
      const rig = stalling(make);
      const transfer = rig.store(0, MISSING, 1);
      resumeAndRun(rig, readings, 'retry');
      expect(transfer.state).toBe('pending');
      expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR)]).toEqual([STALLED_TF, MISSING]);
      resume(rig, readings, 'retry');
      rig.world.clock.run();
      expect(transfer.state).toBe('pending');
      expect(rig.get(0, regs.FSR)).toBe((MULTI | STALLED_TF) >>> 0);
      resumeAndRun(rig, readings, 'terminate');
      expect(transfer.state).toBe('faulted');
    });

    test('R51 R26 a retry after a mapping without maintenance: a failed walk that is kept faults again', () => {
      const rig = stalling(make);
      const transfer = rig.store(0, MISSING, 1);
      rig.first(MISSING, TARGET | SECTION);
      resumeAndRun(rig, readings, 'retry');
      expect(transfer.state).toBe(keepsFailures ? 'pending' : 'done');
    });

    test('R51 those behind are tried in order until one faults; it is then the one that is held', () => {
      const rig = stalling(make);
      const transfers = [
        rig.store(0, MISSING, 1),
        rig.store(1, MAPPED, 0x55),
        rig.store(2, MISSING + 0x4000, 1),
        rig.store(3, MAPPED_TOO, 0x66),
        rig.store(0, MISSING + 0x8000, 1),
      ];
      const order = orderOf(transfers);
      expect(rig.get(0, regs.FAR)).toBe(MISSING);
      resumeAndRun(rig, readings, 'terminate');
      expect(statesOf(transfers)).toEqual(['faulted', 'done', 'pending', 'pending', 'pending']);
      expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR)]).toEqual([STALLED_TF, MISSING + 0x4000]);
      expect(rig.field(0, regs.FSYNR0, 'AMID')).toBe(2);
      resumeAndRun(rig, readings, 'terminate');
      expect(statesOf(transfers)).toEqual(['faulted', 'done', 'faulted', 'done', 'pending']);
      expect(rig.get(0, regs.FAR)).toBe(MISSING + 0x8000);
      resumeAndRun(rig, readings, 'terminate');
      expect(order).toEqual(['0 faulted', '1 done', '2 faulted', '3 done', '4 faulted']);
      expect(rig.get(0, regs.FSR)).toBe(0);
    });

    test('R51 an access that arrives between RESUME and its effect waits behind the others', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(1, MAPPED, 0x55)];
      resume(rig, readings, 'terminate');
      transfers.push(rig.store(2, MAPPED_TOO, 0x66));
      const order = orderOf(transfers);
      expect(statesOf(transfers)).toEqual(['pending', 'pending', 'pending']);
      rig.world.clock.run();
      expect(order).toEqual(['0 faulted', '1 done', '2 done']);
    });

    test('R51 an access that is issued when the held one ends waits behind those held before it', () => {
      const rig = stalling(make);
      const order: string[] = [];
      rig.store(0, MISSING, 1).onEnd(() => {
        order.push('held');
        // Of another stream, and of the same.
        for (const mid of [2, 0]) rig.store(mid, MAPPED_TOO, 0x66).onEnd(() => order.push(`new ${mid}`));
      });
      rig.store(1, MAPPED, 0x55).onEnd(() => order.push('behind'));
      resumeAndRun(rig, readings, 'terminate');
      expect(order).toEqual(['held', 'behind', 'new 2', 'new 0']);
    });

    test('R51 a retry may be another access object; once it has ended, what its master issues waits behind the others', () => {
      const rig = stalling(make);
      const order: string[] = [];
      let tries = 0;
      const issue = (mid: number, address: number, after?: () => void): void => {
        if (++tries > 10) throw new Error('tried again and again');
        const end = (how: string): void => {
          order.push(`${mid} ${how}`);
          after?.();
        };
        const status = rig.smmu.access({
          address,
          data: new Uint8Array(4),
          offset: 0,
          length: 4,
          isWrite: true,
          streamId: mid,
          attributes: { isPrivileged: false, isInstruction: false, isSecure: false },
          masterName: `mid${mid}`,
          resume: (outcome) => (outcome === 'retry' ? issue(mid, address, after) : end(outcome)),
        });
        if (status !== 'parked') end(status);
      };
      issue(0, MISSING, () => issue(0, MAPPED_TOO));
      issue(1, MAPPED);
      issue(2, MAPPED + 4);
      rig.first(MISSING, TARGET | SECTION);
      rig.flush();
      resumeAndRun(rig, readings, 'retry');
      expect(order).toEqual(['0 done', '1 done', '2 done', '0 done']);
      expect(rig.store(3, MAPPED, 1).state).toBe('done');
    });

    test('R51 a second RESUME before the first has its effect changes nothing', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(1, MISSING + 0x1000, 1)];
      resume(rig, readings, 'terminate');
      resume(rig, readings, 'terminate');
      rig.set(0, regs.FSR, 0xffffffff);
      rig.world.clock.run();
      expect(statesOf(transfers)).toEqual(['faulted', 'pending']);
      expect(rig.get(0, regs.FAR)).toBe(MISSING + 0x1000);
    });

    test('R51 RESUME without a stall does nothing, and is not remembered', () => {
      const rig = stalling(make);
      for (const value of [0, 1]) rig.set(0, regs.RESUME, value);
      rig.world.clock.run();
      const transfer = rig.store(0, MISSING, 1);
      rig.world.clock.run();
      expect(transfer.state).toBe('pending');
      expect(rig.get(0, regs.FSR)).toBe(STALLED_TF);
    });

    test('R51 a bank that no longer stalls (CFCFG=0) terminates what faults again', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(1, MISSING + 0x1000, 1)];
      rig.set(0, regs.ACTLR, TERMINATE);
      rig.world.clock.run();
      expect(statesOf(transfers)).toEqual(['pending', 'pending']);
      resumeAndRun(rig, readings, 'retry');
      expect(statesOf(transfers)).toEqual(['faulted', 'faulted']);
      expect(rig.get(0, regs.FAR)).toBe(readings.furtherFault === 'first-kept' ? MISSING : MISSING + 0x1000);
    });

    test('R53 several banks are stalled at once, and each is resumed by itself', () => {
      const rig = stalling(make);
      const transfers = [0, 1, 4, 5].map((mid) => rig.store(mid, MISSING + mid * 0x1000, 1));
      transfers.push(rig.store(6, MAPPED, 0x55));
      expect([rig.get(0, regs.FAR), rig.get(1, regs.FAR)]).toEqual([MISSING, MISSING + 0x4000]);
      expect([rig.get(0, regs.FSR), rig.get(1, regs.FSR)]).toEqual([STALLED_TF, STALLED_TF]);
      resumeAndRun(rig, readings, 'terminate', 1);
      expect(statesOf(transfers)).toEqual(['pending', 'pending', 'faulted', 'pending', 'pending']);
      expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR)]).toEqual([STALLED_TF, MISSING]);
      expect(rig.get(1, regs.FAR)).toBe(MISSING + 0x5000);
      resumeAndRun(rig, readings, 'terminate', 0);
      resumeAndRun(rig, readings, 'terminate', 1);
      expect(statesOf(transfers)).toEqual(['faulted', 'pending', 'faulted', 'faulted', 'done']);
      expect(rig.secureLine.isHigh).toBe(true);
      resumeAndRun(rig, readings, 'terminate', 0);
      expect(rig.secureLine.isHigh).toBe(false);
    });

    test('R29 R51 an access held while its stream is routed to another bank is tried there', () => {
      const rig = stalling(make);
      const transfers = [rig.store(0, MISSING, 1), rig.store(1, MISSING + 0x1000, 1)];
      rig.route(1, 1);
      resumeAndRun(rig, readings, 'terminate');
      expect(statesOf(transfers)).toEqual(['faulted', 'pending']);
      expect([rig.get(0, regs.FSR), rig.get(1, regs.FSR)]).toEqual([0, STALLED_TF]);
      resumeAndRun(rig, readings, 'terminate', 1);
      expect(statesOf(transfers)).toEqual(['faulted', 'faulted']);
    });

    test('ACTLR.CFERE what a master sees of an access that RESUME terminates', () => {
      for (const cfere of [0, 1]) {
        const isIgnored = readings.terminatedAccess === 'by-cfere' && cfere === 0;
        const rig = stalling(make, ACTLR_ATTACHED | cfere);
        rig.second(MISSING + 0x1000, TARGET | PAGE);
        rig.word(TARGET, 0x11223344);
        const bytes = new Uint8Array(8).fill(0xff);
        const read = rig.master(0).read(MISSING + 0xffc, bytes);
        const write = rig.master(1).write(MISSING + 0xffc, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
        resumeAndRun(rig, readings, 'terminate');
        resumeAndRun(rig, readings, 'terminate');
        expect(statesOf([read, write])).toEqual(isIgnored ? ['done', 'done'] : ['faulted', 'faulted']);
        expect([...bytes]).toEqual(isIgnored ? [0, 0, 0, 0, 0x44, 0x33, 0x22, 0x11] : Array(8).fill(0xff));
        expect(rig.peek(TARGET)).toBe(isIgnored ? 0x08070605 : 0x11223344);
      }
    });
  });
});
