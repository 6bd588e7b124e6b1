import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { MULTI, TF } from './support/fault-bits.ts';
import { regs, type Rig } from './support/rig.ts';
import { STALL, TERMINATE } from './support/tlb-pins.ts';

/** ACTLR.CFEIE. */
const CFEIE = 2;
/** The handlers' constant. */
const OLD_HANDLER = 0x4000000f;

/** Levels of the secure and the non-secure line. */
function lines(rig: Rig): [boolean, boolean] {
  return [rig.secureLine.isHigh, rig.nonSecureLine.isHigh];
}

/** CBACR with an IRPTNDX. */
function toLine(irptndx: number): number {
  return (irptndx << 24) >>> 0;
}

describe('interrupt lines', () => {
  underEveryReading((make, readings) => {
    /** Machine id b uses bank b, whose CBACR.IRPTNDX is `indices[b]`. */
    function attached(indices: readonly number[], actlr = TERMINATE): Rig {
      const rig = make();
      indices.forEach((irptndx, bank) => {
        rig.route(bank, bank);
        rig.attach(bank, { actlr, cbacr: toLine(irptndx) });
      });
      return rig;
    }

    test('R48 the line that IRPTNDX names is high from the fault until FSR is 0', () => {
      for (const irptndx of [0, 1]) {
        const rig = attached([irptndx]);
        expect(lines(rig)).toEqual([false, false]);
        rig.load(0, 0x1000);
        expect(lines(rig)).toEqual([irptndx === 0, irptndx === 1]);
        rig.load(0, 0x2000);
        // The old handlers' constant leaves MULTI: the line stays.
        rig.set(0, regs.FSR, OLD_HANDLER);
        expect(rig.get(0, regs.FSR)).toBe(MULTI);
        expect(lines(rig)).toEqual([irptndx === 0, irptndx === 1]);
        rig.set(0, regs.FSR, rig.get(0, regs.FSR));
        expect(lines(rig)).toEqual([false, false]);
      }
    });

    test('R48 an IRPTNDX of 2 and more names no line, or the non-secure one', () => {
      for (const irptndx of [2, 3, 0x80, 0xff]) {
        const rig = attached([irptndx]);
        rig.load(0, 0x1000);
        expect([irptndx, ...lines(rig)]).toEqual([
          irptndx,
          false,
          readings.interruptIndexBeyond === 'non-secure',
        ]);
      }
    });

    test('R48 it is a level: it follows CFEIE, IRPTNDX and FSRRESTORE while a fault stands', () => {
      const rig = attached([0]);
      rig.load(0, 0x1000);
      rig.put(regs.cbacrOffset(0), toLine(1));
      expect(lines(rig)).toEqual([false, true]);
      rig.put(regs.cbacrOffset(0), toLine(0));
      expect(lines(rig)).toEqual([true, false]);
      rig.set(0, regs.ACTLR, TERMINATE & ~CFEIE);
      expect(lines(rig)).toEqual([false, false]);
      rig.set(0, regs.ACTLR, TERMINATE);
      expect(lines(rig)).toEqual([true, false]);
      rig.set(0, regs.FSRRESTORE, 0);
      expect(lines(rig)).toEqual([false, false]);
      rig.set(0, regs.FSRRESTORE, TF);
      expect(lines(rig)).toEqual([readings.statusRestore === 'loads', false]);
    });

    test('R48 a stalled access keeps the line high through SS alone', () => {
      const rig = attached([0], STALL);
      rig.load(0, 0x1000);
      rig.set(0, regs.FSR, TF);
      expect(rig.get(0, regs.FSR)).toBe(0x40000000);
      expect(lines(rig)).toEqual([true, false]);
      rig.set(0, regs.RESUME, readings.resumeTerminates);
      expect(rig.get(0, regs.FSR)).toBe(0);
      expect(lines(rig)).toEqual([false, false]);
    });

    test('R48 reading the registers changes nothing', () => {
      const rig = attached([0]);
      rig.load(0, 0x1000);
      for (const register of [regs.FSR, regs.FAR, regs.FSYNR0, regs.FSYNR1]) rig.get(0, register);
      expect(lines(rig)).toEqual([true, false]);
      expect(rig.get(0, regs.FSR)).toBe(TF);
    });

    test('R49 CFEIE=0: no interrupt, the fault is recorded all the same', () => {
      const rig = attached([0, 1], TERMINATE & ~CFEIE);
      rig.load(0, 0x1000);
      rig.load(1, 0x2000);
      expect(lines(rig)).toEqual([false, false]);
      expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR), rig.get(1, regs.FSR)]).toEqual([TF, 0x1000, TF]);
      rig.set(1, regs.ACTLR, TERMINATE);
      expect(lines(rig)).toEqual([false, true]);
    });

    test('R53 two banks on one line: it stays until both are cleared', () => {
      const rig = attached([0, 0, 0]);
      rig.load(0, 0x1000);
      rig.load(2, 0x1000);
      expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([TF, 0, TF]);
      rig.set(0, regs.FSR, TF);
      expect(lines(rig)).toEqual([true, false]);
      rig.set(2, regs.FSR, TF);
      expect(lines(rig)).toEqual([false, false]);
    });

    test('R53 banks on both lines: each line follows its own banks', () => {
      const rig = attached([0, 1, 1]);
      rig.load(1, 0x1000);
      expect(lines(rig)).toEqual([false, true]);
      rig.load(0, 0x1000);
      rig.load(2, 0x1000);
      expect(lines(rig)).toEqual([true, true]);
      rig.set(1, regs.FSR, TF);
      expect(lines(rig)).toEqual([true, true]);
      rig.set(0, regs.FSR, TF);
      expect(lines(rig)).toEqual([false, true]);
      rig.set(2, regs.FSR, TF);
      expect(lines(rig)).toEqual([false, false]);
    });
  });
});
