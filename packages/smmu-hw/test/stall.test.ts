import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { MULTI, TF } from './support/fault-bits.ts';
import { regs } from './support/rig.ts';
import {
  MAPPED,
  MAPPED_TOO,
  MISSING,
  STALLED_TF,
  TARGET,
  TARGET_TOO,
  stalling,
  statesOf,
} from './support/stalls.ts';
import { PAGE, STALL, TERMINATE } from './support/tlb-pins.ts';

/** CR.STALLD. */
const STALLD = 0x20;

describe('stalls', () => {
  underEveryReading((make, readings) => {
    const passesHits = readings.stalledBank === 'hits-pass';

    test('R50 CFCFG=0 terminates a faulting access at once', () => {
      const rig = stalling(make, TERMINATE);
      expect(rig.store(0, MISSING, 1).state).toBe('faulted');
      expect(rig.get(0, regs.FSR)).toBe(TF);
      expect(rig.store(1, MAPPED, 0x55).state).toBe('done');
    });

    test('R50 CFCFG=1 holds it: SS is set, the record is that of any fault, and it does not end', () => {
      const rig = stalling(make);
      const transfer = rig.store(2, MISSING + 0xabc, 1);
      rig.world.clock.run();
      expect(transfer.state).toBe('pending');
      expect(rig.get(0, regs.FSR)).toBe(STALLED_TF);
      expect(rig.get(0, regs.FAR)).toBe(MISSING + 0xabc);
      expect(rig.field(0, regs.FSYNR0, 'AMID')).toBe(2);
      expect(rig.secureLine.isHigh).toBe(true);
    });

    test('R50 accesses of the bank that come later wait, mapped or not; other banks go on', () => {
      const rig = stalling(make);
      rig.store(0, MISSING, 1);
      const later = [
        rig.store(1, MAPPED, 0x55),
        rig.store(2, MISSING + 0x1000, 1),
        rig.store(0, MAPPED, 0x56),
      ];
      rig.world.clock.run();
      expect(statesOf(later)).toEqual(['pending', 'pending', 'pending']);
      expect(rig.peek(TARGET)).toBe(0);
      expect(rig.get(0, regs.FSR)).toBe(STALLED_TF);
      expect(rig.store(4, MAPPED_TOO, 0x66).state).toBe('done');
    });

    test('R50 what the TLB translates without fault waits too, or passes, as the reading says', () => {
      const rig = stalling(make);
      rig.second(MAPPED_TOO, TARGET_TOO | PAGE | 0x200);
      for (const va of [MAPPED, MAPPED_TOO]) rig.probe(0, va);
      rig.store(0, MISSING, 1);
      const allowed = rig.store(1, MAPPED, 0x55);
      const refused = rig.store(1, MAPPED_TOO, 0x66);
      expect(statesOf([allowed, refused])).toEqual([passesHits ? 'done' : 'pending', 'pending']);
      expect(rig.peek(TARGET)).toBe(passesHits ? 0x55 : 0);
      expect(rig.get(0, regs.FSR)).toBe(STALLED_TF);
      expect(rig.get(0, regs.FAR)).toBe(MISSING);
    });

    test('R50 a transfer stalls at the page it reached', () => {
      const rig = stalling(make);
      rig.second(MISSING, TARGET | PAGE);
      const transfer = rig.master(0).write(MISSING + 0xffc, new Uint8Array(8).fill(9));
      expect([transfer.state, transfer.doneBytes]).toEqual(['pending', 4]);
      expect(rig.get(0, regs.FAR)).toBe(MISSING + 0x1000);
      expect(rig.peek(TARGET + 0xffc)).toBe(0x09090909);
    });

    test('R50 CR.STALLD=1: a fault never stalls, or nothing follows', () => {
      const rig = stalling(make);
      rig.put(regs.CR.offset, STALLD);
      const transfer = rig.store(0, MISSING, 1);
      const terminates = readings.stallDisable === 'terminates';
      expect(transfer.state).toBe(terminates ? 'faulted' : 'pending');
      expect(rig.get(0, regs.FSR)).toBe(terminates ? TF : STALLED_TF);
      rig.put(regs.CR.offset, 0);
      expect(rig.store(4, MISSING, 1).state).toBe('pending');
    });

    test('R45 a further fault that stalls sets MULTI and SS', () => {
      const rig = stalling(make, TERMINATE);
      rig.store(0, MISSING, 1);
      rig.set(0, regs.ACTLR, STALL);
      const transfer = rig.store(1, MISSING + 0x1000, 1);
      expect(transfer.state).toBe('pending');
      expect(rig.get(0, regs.FSR)).toBe((MULTI | STALLED_TF) >>> 0);
    });
  });
});
