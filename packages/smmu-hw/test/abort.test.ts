/** What a master sees of an access that is translated and refused, or not translated and terminated. */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { SL, TF } from './support/fault-bits.ts';
import { ACTLR_ATTACHED, ACTLR_NO_STALL, regs, type Rig } from './support/rig.ts';

const IOVA = 0x00100000;
const CFERE = 0x1;

underEveryReading((make, readings) => {
  test('an external abort on the access itself ends it as faulted, and nothing is recorded', () => {
    for (const actlr of [ACTLR_NO_STALL, ACTLR_ATTACHED, ACTLR_NO_STALL | CFERE]) {
      const rig = attached(actlr);
      // A hole behind a section of class 1, and behind one of class 7, which goes through the CPU's cache.
      rig.first(IOVA, 0x90030c06);
      rig.first(0x00200000, 0x90031c0e);
      for (const va of [IOVA, 0x00200000]) {
        expect(rig.translate(0, va)).toBe('done');
        expect(rig.load(0, va)).toBeUndefined();
        expect(rig.store(0, va, 1).state).toBe('faulted');
      }
      expect(recorded(rig)).toEqual([0, 0, 0, 0, 0]);
      expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
    }
  });

  test('a word that refuses aborts the access that moves it, and no other', () => {
    const rig = attached(ACTLR_NO_STALL);
    rig.first(IOVA, 0x41130c06);
    rig.word(0x41100014, 0x600d);
    rig.refused.add(0x41100010);
    expect([rig.load(0, IOVA + 0x10), rig.load(0, IOVA + 0x14)]).toEqual([undefined, 0x600d]);
    expect(rig.store(0, IOVA + 0x10, 1).state).toBe('faulted');
    expect(recorded(rig)).toEqual([0, 0, 0, 0, 0]);
  });

  test('ACTLR.CFERE: a terminated access is a bus error; or with CFERE=0 reads give 0 and writes are dropped', () => {
    for (const bit of [0, CFERE]) {
      const isSilent = readings.terminatedAccess === 'by-cfere' && bit === 0;
      const rig = attached(ACTLR_NO_STALL | bit);
      const bytes = new Uint8Array([1, 2, 3, 4]);
      expect(rig.master(0).read(IOVA, bytes).state).toBe(isSilent ? 'done' : 'faulted');
      expect([...bytes]).toEqual(isSilent ? [0, 0, 0, 0] : [1, 2, 3, 4]);
      expect(rig.get(0, regs.FSR)).toBe(TF);
      expect(rig.get(0, regs.FAR)).toBe(IOVA);
      rig.set(0, regs.FSR, 0xffffffff);
      expect(rig.store(0, IOVA, 0x0bad).state).toBe(isSilent ? 'done' : 'faulted');
      expect(rig.field(0, regs.FSYNR1, 'AWRITE')).toBe(1);
      expect(rig.secureLine.isHigh).toBe(true);
    }
  });

  test('ACTLR.CFERE: a write that rights forbid does not reach memory, whatever the master sees', () => {
    for (const bit of [0, CFERE]) {
      const isSilent = readings.terminatedAccess === 'by-cfere' && bit === 0;
      const rig = attached(ACTLR_NO_STALL | bit);
      rig.first(IOVA, 0x41138c06);
      rig.word(0x41100000, 0x600d);
      expect(rig.store(0, IOVA, 0x0bad).state).toBe(isSilent ? 'done' : 'faulted');
      expect(rig.peek(0x41100000)).toBe(0x600d);
      expect(rig.load(0, IOVA)).toBe(0x600d);
    }
  });

  test('ACTLR.CFERE: of a transfer over several pages only the part that faults is silent', () => {
    const rig = attached(ACTLR_NO_STALL);
    rig.second(IOVA, 0x40123c36);
    rig.second(IOVA + 0x2000, 0x40125c36);
    rig.word(0x40123ffc, 0x11111111);
    rig.word(0x40125000, 0x33333333);
    const bytes = new Uint8Array(0x1008).fill(0xff);
    const transfer = rig.master(0).read(IOVA + 0xffc, bytes);
    const view = new DataView(bytes.buffer);
    expect(view.getUint32(0, true)).toBe(0x11111111);
    expect(rig.get(0, regs.FSR)).toBe(TF | SL);
    const isSilent = readings.terminatedAccess === 'by-cfere';
    expect([transfer.state, transfer.doneBytes]).toEqual(isSilent ? ['done', 0x1008] : ['faulted', 4]);
    expect(view.getUint32(0x1004, true)).toBe(isSilent ? 0x33333333 : 0xffffffff);
    const between = new Set(bytes.subarray(4, 0x1004));
    expect([...between]).toEqual([isSilent ? 0 : 0xff]);
  });

  test('the address phase alone says that an access is terminated, CFERE or not', () => {
    for (const bit of [0, CFERE]) {
      expect(attached(ACTLR_NO_STALL | bit).translate(0, IOVA)).toBe('faulted');
    }
  });

  /** Bank 0 attached to the empty table, machine id 0 routed to it. */
  function attached(actlr: number): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, { actlr });
    return rig;
  }
});

function recorded(rig: Rig): number[] {
  return [
    ...[regs.FSR, regs.FAR, regs.FSYNR0, regs.FSYNR1].map((register) => rig.get(0, register)),
    rig.at(regs.ESR.offset),
  ];
}
