import { describe, expect, test } from '@jest/globals';
import { isLabError, maskOf, type Register } from '@iommu-lab/machine';
import { MsmSmmu } from '../src/index.ts';
import { Rig, regs } from './rig.ts';

function implemented(register: Register): number {
  const fields = Object.values(register.fields);
  return fields.length === 0 ? 0xffffffff : fields.reduce((mask, f) => (mask | maskOf(f)) >>> 0, 0);
}

describe('register decode', () => {
  test('R1 a context register stands at bank x 0x1000 + offset, and banks do not alias', () => {
    const rig = new Rig();
    rig.put(0x1010, 0x40004000);
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.TTBR0))).toEqual([0, 0x40004000, 0]);
  });

  test('R1 a bank that does not exist reads 0, ignores writes and alters no other', () => {
    const rig = new Rig();
    const before = rig.smmu.statistics;
    rig.set(3, regs.SCTLR, 1);
    rig.set(254, regs.TTBR0, 0xffffffff);
    expect(rig.get(3, regs.SCTLR)).toBe(0);
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.SCTLR))).toEqual([0, 0, 0]);
    expect(rig.smmu.statistics).toEqual(before);
  });

  test('R2 M2VCBR stands at 0xFF000 + 4 mid and CBACR at 0xFF800 + 4 bank', () => {
    const rig = new Rig();
    rig.put(0xff000 + 4 * 5, 0x00c00100);
    rig.put(0xff800 + 4 * 2, 0x01050000);
    expect(regs.m2vcbrOffset(5)).toBe(0xff014);
    expect(regs.cbacrOffset(2)).toBe(0xff808);
    expect(rig.at(regs.m2vcbrOffset(5))).toBe(0x00c00100);
    expect(rig.at(regs.cbacrOffset(2))).toBe(0x01050000);
    expect(rig.at(regs.m2vcbrOffset(4))).toBe(0);
    expect(rig.at(regs.cbacrOffset(1))).toBe(0);
  });

  test('R2 entries beyond those that exist read 0', () => {
    const rig = new Rig({ streams: 16 });
    rig.put(regs.m2vcbrOffset(16), 0xffffffff);
    rig.put(regs.cbacrOffset(3), 0xffffffff);
    expect(rig.at(regs.m2vcbrOffset(16))).toBe(0);
    expect(rig.at(regs.cbacrOffset(3))).toBe(0);
  });

  test('R3 every read-write register returns what was written, within its implemented bits', () => {
    const rig = new Rig();
    rig.put(regs.CR.offset, 0x40);
    for (const register of regs.CONTEXT_REGISTERS.filter((r) => r.access === 'rw')) {
      for (const value of [0xffffffff, 0xa5a5a5a5, 0]) {
        rig.set(1, register, value);
        expect([register.name, rig.get(1, register)]).toEqual([
          register.name,
          (value & implemented(register)) >>> 0,
        ]);
      }
    }
    for (const register of regs.GLOBAL_REGISTERS.filter((r) => r.access === 'rw')) {
      rig.put(register.offset, 0xffffffff);
      expect([register.name, rig.at(register.offset)]).toEqual([register.name, implemented(register)]);
    }
  });

  test('R3 triggers read 0, and no two rows share an offset', () => {
    const rig = new Rig();
    for (const register of regs.CONTEXT_REGISTERS.filter((r) => r.access === 'wo')) {
      rig.set(0, register, 0xffffffff);
      expect(rig.get(0, register)).toBe(0);
    }
    const offsets = [...regs.CONTEXT_REGISTERS, ...regs.GLOBAL_REGISTERS].map((r) => r.offset);
    expect(new Set(offsets).size).toBe(offsets.length);
  });

  test('R4 IDR.NCB + 1 is the number of banks; IDR and REV ignore writes', () => {
    for (const contextBanks of [1, 2, 3]) {
      const rig = new Rig({ contextBanks, revision: 0x21 });
      const idr = rig.at(regs.IDR.offset);
      expect(((idr >>> 16) & 0xff) + 1).toBe(contextBanks);
      rig.put(regs.IDR.offset, 0);
      rig.put(regs.REV.offset, 0);
      expect(rig.at(regs.IDR.offset)).toBe(idr);
      expect(rig.at(regs.REV.offset)).toBe(0x21);
    }
  });

  test('R5 after the drivers’ reset sequence CR reads 0x40 and the bank registers read 0', () => {
    const rig = new Rig();
    const bankRegisters = [
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
    rig.put(regs.CR.offset, 0x40);
    for (const bank of [0, 1, 2]) {
      for (const register of bankRegisters) if (register !== regs.SCTLR) rig.set(bank, register, 0xffffffff);
    }
    rig.put(regs.ESRRESTORE.offset, 0);
    rig.put(regs.CR.offset, 0);
    rig.put(regs.TESTBUSCR.offset, 0);
    rig.put(regs.TLBRSW.offset, 0);
    rig.put(regs.GLOBAL_TLBIALL.offset, 0);
    rig.put(regs.RPU_ACR.offset, 0);
    rig.put(regs.CR.offset, rig.at(regs.CR.offset) | 0x40);
    for (const bank of [0, 1, 2]) for (const register of bankRegisters) rig.set(bank, register, 0);
    expect(rig.at(regs.CR.offset)).toBe(0x40);
    for (const bank of [0, 1, 2]) {
      expect(bankRegisters.map((register) => rig.get(bank, register))).toEqual(bankRegisters.map(() => 0));
      expect(rig.get(bank, regs.FSR)).toBe(0);
    }
    expect(rig.secureLine.isHigh || rig.nonSecureLine.isHigh).toBe(false);
  });

  test('R6 TLBLCKR takes writes only while CR.TLBLKCRWE is 1', () => {
    const rig = new Rig();
    rig.set(0, regs.TLBLCKR, 0x00010203);
    expect(rig.get(0, regs.TLBLCKR)).toBe(0);
    rig.put(regs.CR.offset, 0x40);
    rig.set(0, regs.TLBLCKR, 0x00010203);
    rig.put(regs.CR.offset, 0);
    rig.set(0, regs.TLBLCKR, 0);
    expect(rig.get(0, regs.TLBLCKR)).toBe(0x00010203);
  });

  test('R46 FSR is write-1-to-clear; the old handlers’ 0x4000000F clears bits 1, 2, 3 and 30 only', () => {
    const rig = new Rig();
    rig.set(0, regs.FSRRESTORE, 0xffffffff);
    const all = rig.get(0, regs.FSR);
    expect(all).toBe(implemented(regs.FSR));
    rig.set(0, regs.FSR, 0x4000000f);
    expect(rig.get(0, regs.FSR)).toBe((all & ~0x4000000f) >>> 0);
    rig.set(0, regs.FSR, rig.get(0, regs.FSR));
    expect(rig.get(0, regs.FSR)).toBe(0);
  });

  test('R47 FSRRESTORE and ESRRESTORE load the status registers', () => {
    const rig = new Rig();
    rig.set(1, regs.FSRRESTORE, 0x2);
    rig.put(regs.ESRRESTORE.offset, 0x1);
    expect(rig.get(1, regs.FSR)).toBe(2);
    expect(rig.at(regs.ESR.offset)).toBe(1);
    rig.set(1, regs.FSRRESTORE, 0);
    rig.put(regs.ESRRESTORE.offset, 0);
    expect(rig.get(1, regs.FSR)).toBe(0);
    expect(rig.at(regs.ESR.offset)).toBe(0);
  });

  test('reset() is power-on: registers, routing, TLB, lines', () => {
    const rig = new Rig();
    rig.route(0, 1);
    rig.attach(1, { cbacr: 0x01000000 });
    expect(rig.load(0, 0x1000)).toBeUndefined();
    expect(rig.nonSecureLine.isHigh).toBe(true);
    rig.smmu.reset();
    expect(rig.nonSecureLine.isHigh).toBe(false);
    expect(rig.get(1, regs.FSR)).toBe(0);
    expect(rig.get(1, regs.SCTLR)).toBe(0);
    expect(rig.at(regs.m2vcbrOffset(0))).toBe(0);
    expect(rig.at(regs.cbacrOffset(1))).toBe(0);
    expect(rig.at(regs.IDR.offset)).not.toBe(0);
    expect(rig.smmu.tlbEntries()).toEqual([]);
  });

  test('a configuration that does not fit is EINVAL', () => {
    const { smmu, ...board } = new Rig();
    expect(smmu.config.tlbEntries).toBe(64);
    const bad = [
      { contextBanks: 0 },
      { contextBanks: 256 },
      { contextBanks: 2, streams: 513 },
      { contextBanks: 2, tlbEntries: 512 },
      { contextBanks: 2, tlbEntries: 60, tlbWays: 4 },
    ];
    for (const config of bad) {
      const make = () =>
        new MsmSmmu(
          board.world,
          { name: 'bad', ...config },
          {
            memory: board.memory,
            snooped: board.cache.snooped,
            secureLine: board.secureLine,
            nonSecureLine: board.nonSecureLine,
          },
        );
      let error: unknown;
      try {
        make();
      } catch (thrown) {
        error = thrown;
      }
      expect(isLabError(error, 'EINVAL')).toBe(true);
    }
  });
});
