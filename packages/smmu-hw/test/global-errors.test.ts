import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { MULTI, TF } from './support/fault-bits.ts';
import { regs, type Rig } from './support/rig.ts';
import { TERMINATE } from './support/tlb-pins.ts';

const CFG = 1;
/** A machine id that no instance here routes. */
const UNROUTED = 40;

/** Levels of the secure and the non-secure line. */
function lines(rig: Rig): [boolean, boolean] {
  return [rig.secureLine.isHigh, rig.nonSecureLine.isHigh];
}

/** ESR, EAR, the machine id and whether it was a write. */
function record(rig: Rig): number[] {
  return [
    rig.at(regs.ESR.offset),
    rig.at(regs.EAR.offset),
    rig.at(regs.ESYNR0.offset) & 0xff,
    (rig.at(regs.ESYNR1.offset) >>> 8) & 1,
  ];
}

describe('global errors', () => {
  underEveryReading((make, readings) => {
    const isError = readings.unroutedAccess === 'global-error';
    const high: [boolean, boolean] = [
      readings.globalErrorLine === 'secure',
      readings.globalErrorLine === 'non-secure',
    ];
    const low: [boolean, boolean] = [false, false];

    test('open point 6, a global error drives the line that the reading names, while ESR is not 0', () => {
      const rig = make();
      expect(lines(rig)).toEqual(low);
      expect(rig.store(UNROUTED, 0x40300000, 1).state).toBe(isError ? 'faulted' : 'done');
      expect(record(rig)).toEqual(isError ? [CFG, 0x40300000, UNROUTED, 1] : [0, 0, 0, 0]);
      expect(lines(rig)).toEqual(isError ? high : low);
      rig.put(regs.ESR.offset, 2);
      expect(lines(rig)).toEqual(isError ? high : low);
      rig.put(regs.ESR.offset, CFG);
      expect(lines(rig)).toEqual(low);
    });

    test('open point 6, the line follows ESRRESTORE', () => {
      const rig = make();
      rig.put(regs.ESRRESTORE.offset, 2);
      expect(lines(rig)).toEqual(readings.statusRestore === 'loads' ? high : low);
      rig.put(regs.ESRRESTORE.offset, 0);
      expect(lines(rig)).toEqual(low);
    });

    test('open point 6, a second error sets MULTI, keeps the record of the first, and the line stays', () => {
      const rig = make();
      rig.store(UNROUTED, 0x40300000, 1);
      rig.load(UNROUTED + 1, 0x40400000);
      expect(record(rig)).toEqual(isError ? [(MULTI | CFG) >>> 0, 0x40300000, UNROUTED, 1] : [0, 0, 0, 0]);
      rig.put(regs.ESR.offset, CFG);
      expect(rig.at(regs.ESR.offset)).toBe(isError ? MULTI : 0);
      expect(lines(rig)).toEqual(isError ? high : low);
      rig.put(regs.ESR.offset, rig.at(regs.ESR.offset));
      expect(lines(rig)).toEqual(low);
      rig.load(UNROUTED + 1, 0x40400000);
      expect(record(rig)).toEqual(isError ? [CFG, 0x40400000, UNROUTED + 1, 0] : [0, 0, 0, 0]);
    });

    test('open point 6, a bank that faults and a global error share a line', () => {
      const rig = make();
      rig.attach(0, { actlr: TERMINATE });
      rig.route(0, 0);
      rig.store(UNROUTED, 0x40300000, 1);
      rig.load(0, 0x1000);
      expect(lines(rig)).toEqual([true, isError && high[1]]);
      rig.set(0, regs.FSR, TF);
      expect(lines(rig)).toEqual(isError ? high : low);
      rig.load(0, 0x1000);
      rig.put(regs.ESR.offset, 0xffffffff);
      expect(lines(rig)).toEqual([true, false]);
    });

    test('a global error is a bus error whatever CFERE says, and records no context fault', () => {
      const rig = make();
      for (const bank of [0, 1, 2]) rig.attach(bank, { actlr: TERMINATE & ~1 });
      const bytes = new Uint8Array(4).fill(0xee);
      const transfer = rig.master(UNROUTED).read(0x40300000, bytes);
      expect(transfer.state).toBe(isError ? 'faulted' : 'done');
      expect([...bytes]).toEqual(Array(4).fill(isError ? 0xee : 0));
      expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([0, 0, 0]);
    });
  });
});
