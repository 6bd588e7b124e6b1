/** Power-on, the reset sequence of the drivers, and `reset()` (R5). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { readWrite, stateOf } from './support/register-state.ts';
import { regs, type Rig } from './support/rig.ts';

/** What the reset sequence of the drivers writes 0 to in each bank, in their order. */
const RESET_ORDER = [
  regs.ACTLR,
  regs.SCTLR,
  regs.FSRRESTORE,
  regs.TTBR0,
  regs.TTBR1,
  regs.TTBCR,
  regs.BFBCR,
  regs.PAR,
  regs.FAR,
  regs.CTX_TLBIALL,
  regs.TLBFLPTER,
  regs.TLBSLPTER,
  regs.TLBLCKR,
  regs.PRRR,
  regs.NMRR,
  regs.CONTEXTIDR,
];

underEveryReading((make) => {
  test('R5 at power-on every register reads 0 but IDR', () => {
    const rig = make();
    const idr = rig.at(regs.IDR.offset);
    expect(stateOf(rig).filter((value) => value !== 0)).toEqual([idr]);
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
  });

  test('R5 after the drivers’ reset sequence CR reads 0x40 and the bank registers read 0', () => {
    const rig = make();
    dirty(rig);
    resetAsDriversDo(rig);
    expect(rig.at(regs.CR.offset)).toBe(0x40);
    for (const bank of [0, 1, 2]) {
      expect(RESET_ORDER.map((register) => rig.get(bank, register))).toEqual(RESET_ORDER.map(() => 0));
      expect(rig.get(bank, regs.FSR)).toBe(0);
    }
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
  });

  test('reset() is power-on: registers, routing, TLB, lines', () => {
    const rig = make();
    const fresh = stateOf(rig);
    dirty(rig);
    expect(stateOf(rig)).not.toEqual(fresh);
    rig.smmu.reset();
    expect(stateOf(rig)).toEqual(fresh);
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
    expect(rig.smmu.tlbEntries()).toEqual([]);
  });
});

/** Leaves traces in every corner: a translation in the TLB, faults on both lines, an error, odd register values. */
function dirty(rig: Rig): void {
  rig.put(regs.CR.offset, 0x40);
  for (const bank of [0, 1, 2]) {
    for (const register of readWrite(regs.CONTEXT_REGISTERS)) {
      rig.set(bank, register, register === regs.TLBLCKR ? 0 : 0xffffffff);
    }
    rig.route(bank, bank);
    rig.attach(bank, { cbacr: (bank & 1) << 24 });
  }
  rig.first(0x00100000, 0x41130c06);
  rig.translate(0, 0x00100000);
  for (const mid of [0, 1, 2]) rig.translate(mid, 0x00200000);
  for (const bank of [0, 1, 2]) rig.set(bank, regs.TLBLCKR, 0xffffffff);
  rig.translate(40, 0x00300000);
  expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([true, true]);
  expect(rig.smmu.tlbEntries()).not.toEqual([]);
}

/** The reset routine of the drivers, read-modify-writes included. */
function resetAsDriversDo(rig: Rig): void {
  const modify = (offset: number, clear: number, set = 0): void =>
    rig.put(offset, (rig.at(offset) & ~clear) | set);
  modify(regs.CR.offset, 0x1);
  modify(regs.CR.offset, 0x4);
  rig.put(regs.ESRRESTORE.offset, 0);
  modify(regs.TESTBUSCR.offset, 0x1);
  rig.put(regs.CR.offset, 0);
  modify(regs.TESTBUSCR.offset, 0x2);
  rig.put(regs.TESTBUSCR.offset, 0);
  rig.put(regs.TLBRSW.offset, 0);
  rig.put(regs.GLOBAL_TLBIALL.offset, 0);
  rig.put(regs.RPU_ACR.offset, 0);
  modify(regs.CR.offset, 0, 0x40);
  for (const bank of [0, 1, 2]) {
    // By bank number, though the register is that of a machine id: so do they.
    for (const field of [0x20000, 0x40000, 0x80000, 0x300000, 0x1000000]) {
      modify(regs.m2vcbrOffset(bank), field);
    }
    for (const register of RESET_ORDER) rig.set(bank, register, 0);
  }
}
