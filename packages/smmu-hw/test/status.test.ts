/** The status registers: how they clear and how they are loaded (R46, R47). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { MULTI, SL, TF } from './support/fault-bits.ts';
import { regs } from './support/rig.ts';

/** The bits of FSR that have a name, and those of ESR. */
const FSR_BITS = 0xc00100fe;
const ESR_BITS = 0x80000003;

underEveryReading((make, readings) => {
  const loads = readings.statusRestore === 'loads';

  test('R46 0x4000000F clears bits 1, 2, 3 and 30 of FSR only; writing back what was read clears the rest', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    rig.second(0x00100000, 0);
    for (const va of [0x00100000, 0x00100000]) expect(rig.translate(0, va)).toBe('faulted');
    expect(rig.get(0, regs.FSR)).toBe((MULTI | SL | TF) >>> 0);
    rig.set(0, regs.FSR, 0x4000000f);
    expect(rig.get(0, regs.FSR)).toBe((MULTI | SL) >>> 0);
    rig.set(0, regs.FSR, rig.get(0, regs.FSR));
    expect(rig.get(0, regs.FSR)).toBe(0);
  });

  test('R46 each bit of FSR is cleared by a 1 and kept by a 0', () => {
    const rig = make();
    const loaded = loads ? FSR_BITS : 0;
    const bits = Array.from({ length: 32 }, (_, bit) => (1 << bit) >>> 0);
    const seen = bits.map((bit) => {
      rig.set(1, regs.FSRRESTORE, 0xffffffff);
      rig.set(1, regs.FSR, 0);
      const kept = rig.get(1, regs.FSR);
      rig.set(1, regs.FSR, bit);
      return [kept, rig.get(1, regs.FSR)];
    });
    expect(seen).toEqual(bits.map((bit) => [loaded, (loaded & ~bit) >>> 0]));
  });

  test('R46 ESR is write-1-to-clear too', () => {
    const rig = make();
    for (const [written, left] of [
      [0, ESR_BITS],
      [0x00000001, 0x80000002],
      [0x00000002, 0x80000001],
      [0x80000000, 0x00000003],
      [0xffffffff, 0],
    ] as const) {
      rig.put(regs.ESRRESTORE.offset, 0xffffffff);
      expect(rig.at(regs.ESR.offset)).toBe(loads ? ESR_BITS : 0);
      rig.put(regs.ESR.offset, written);
      expect(rig.at(regs.ESR.offset)).toBe(loads ? left : 0);
    }
  });

  test('R47 FSRRESTORE loads FSR of its bank, or clears it if so read; 0 clears it', () => {
    const rig = make();
    rig.set(1, regs.FSRRESTORE, TF);
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.FSR))).toEqual([0, loads ? TF : 0, 0]);
    rig.route(0, 0);
    rig.attach(0);
    expect(rig.translate(0, 0x00100000)).toBe('faulted');
    rig.set(0, regs.FSRRESTORE, SL | 0x8);
    expect(rig.get(0, regs.FSR)).toBe(loads ? SL | 0x8 : 0);
    rig.set(0, regs.FSRRESTORE, 0);
    expect(rig.get(0, regs.FSR)).toBe(0);
  });

  test('R47 ESRRESTORE loads ESR, or clears it if so read; 0 clears it', () => {
    const rig = make();
    rig.put(regs.ESRRESTORE.offset, 0x2);
    expect(rig.at(regs.ESR.offset)).toBe(loads ? 2 : 0);
    rig.put(regs.ESRRESTORE.offset, 0);
    expect(rig.at(regs.ESR.offset)).toBe(0);
  });

  test('R47 the interrupt line follows what FSRRESTORE leaves in FSR', () => {
    const rig = make();
    rig.attach(0);
    rig.set(0, regs.FSRRESTORE, TF);
    expect(rig.secureLine.isHigh).toBe(loads);
    rig.set(0, regs.FSRRESTORE, 0);
    expect(rig.secureLine.isHigh).toBe(false);
  });
});
