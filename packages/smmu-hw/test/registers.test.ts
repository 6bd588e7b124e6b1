/** Where the registers stand and what they keep (R1 to R4, R6, R55). */
import { describe, expect, test } from '@jest/globals';
import { isLabError, maskOf, type Register } from '@iommu-lab/machine';
import { underEveryReading } from './support/every-reading.ts';
import { readWrite, stateOf } from './support/register-state.ts';
import { regs } from './support/rig.ts';

underEveryReading((make, readings) => {
  test('R1 a context register stands at bank x 0x1000 + offset, and banks do not alias', () => {
    const rig = make();
    rig.put(0x1010, 0x40004000);
    rig.put(0x2010, 0x40008000);
    expect([0, 1, 2].map((bank) => rig.get(bank, regs.TTBR0))).toEqual([0, 0x40004000, 0x40008000]);
  });

  test('R1 a bank that does not exist reads 0, ignores writes and alters nothing', () => {
    const rig = make();
    const before = stateOf(rig);
    for (const bank of [3, 4, 128, 254]) {
      for (const register of regs.CONTEXT_REGISTERS) rig.set(bank, register, 0xffffffff);
      expect(regs.CONTEXT_REGISTERS.filter((register) => rig.get(bank, register) !== 0)).toEqual([]);
    }
    expect(stateOf(rig)).toEqual(before);
  });

  test('R1 an offset without register, an unaligned one and one outside the window read 0 and ignore writes', () => {
    const rig = make();
    rig.put(regs.CR.offset, 0x40);
    const before = stateOf(rig);
    const holes = [0x050, 0x7fc, 0x824, 0x1ffc, 0xff080, 0xff80c, 0xffe04, 0xfff7c, 0xffff0];
    const unaligned = [0x001, 0x012, 0x813, 0x1003, 0xff001, 0xff802, 0xfff82, 0xffffd];
    const outside = [-4, -0x1000, 0x100000, 0x100010, 0x7fffffff];
    for (const offset of [...holes, ...unaligned, ...outside]) rig.smmu.write32(offset, 0xffffffff);
    const answering = [...holes, ...unaligned, ...outside].filter((offset) => rig.smmu.read32(offset) !== 0);
    expect(answering).toEqual([]);
    expect(stateOf(rig)).toEqual(before);
  });

  test('R2 M2VCBR stands at 0xFF000 + 4 mid and CBACR at 0xFF800 + 4 bank, up to the last there can be', () => {
    const rig = make({ contextBanks: 255, streams: 512 });
    for (const [offset, value] of [
      [0xff000, 0x00c00000],
      [0xff014, 0x00c00100],
      [0xff7fc, 0x00c0fe1f],
      [0xff800, 0x01000000],
      [0xff808, 0x01050000],
      [0xffbf8, 0x001f0000],
    ] as const) {
      rig.put(offset, value);
      expect(rig.at(offset)).toBe(value);
    }
    expect([4, 6, 510].map((mid) => rig.at(0xff000 + 4 * mid))).toEqual([0, 0, 0]);
    expect([1, 3, 253].map((bank) => rig.at(0xff800 + 4 * bank))).toEqual([0, 0, 0]);
    expect([regs.m2vcbrOffset(511), regs.cbacrOffset(254)]).toEqual([0xff7fc, 0xffbf8]);
  });

  test('R2 entries beyond those that exist read 0', () => {
    const rig = make({ streams: 16 });
    for (const offset of [0xff000 + 4 * 16, 0xff7fc, 0xff800 + 4 * 3, 0xffbf8]) {
      rig.put(offset, 0xffffffff);
      expect(rig.at(offset)).toBe(0);
    }
  });

  test('R3 a read-write register returns what was written, within the bits that have a field', () => {
    const rig = make();
    rig.put(regs.CR.offset, 0x40);
    const context = readWrite(regs.CONTEXT_REGISTERS);
    for (const value of [0xffffffff, 0xa5a5a5a5, 0]) {
      const read = context.map((register) => {
        rig.set(1, register, value);
        return [register.name, rig.get(1, register)];
      });
      expect(read).toEqual(context.map((register) => [register.name, (value & fields(register)) >>> 0]));
    }
    const global = readWrite(regs.GLOBAL_REGISTERS);
    const read = global.map((register) => {
      rig.put(register.offset, 0xffffffff);
      return [register.name, rig.at(register.offset)];
    });
    expect(read).toEqual(global.map((register) => [register.name, fields(register)]));
  });

  test('R3 a field written by read-modify-write changes, and its neighbours do not', () => {
    const rig = make();
    rig.put(regs.CR.offset, 0x40);
    for (const register of readWrite(regs.CONTEXT_REGISTERS)) {
      rig.set(0, register, 0x5a5a5a5a);
      const wrong = Object.entries(register.fields).filter(([, field]) => {
        const inverted = (rig.get(0, register) ^ maskOf(field)) >>> 0;
        rig.set(0, register, inverted);
        return rig.get(0, register) !== inverted;
      });
      expect([register.name, wrong]).toEqual([register.name, []]);
    }
  });

  test('R3 triggers, restore registers and TLBRSW read 0', () => {
    const rig = make();
    for (const register of regs.CONTEXT_REGISTERS.filter((r) => r.access === 'wo')) {
      rig.set(0, register, 0xffffffff);
      expect([register.name, rig.get(0, register)]).toEqual([register.name, 0]);
    }
    for (const { offset } of [regs.ESRRESTORE, regs.TLBRSW, regs.GLOBAL_TLBIALL, regs.TLBIVMID]) {
      rig.put(offset, 0xffffffff);
      expect([offset, rig.at(offset)]).toEqual([offset, 0]);
    }
  });

  test('R4 IDR is not 0, IDR.NCB + 1 is the number of banks, and a write changes neither IDR nor REV', () => {
    for (const [contextBanks, ncb] of [
      [1, 0x00],
      [2, 0x01],
      [3, 0x02],
    ] as const) {
      const rig = make({ contextBanks, revision: 0x21 });
      const idr = rig.at(0xffff8);
      expect(idr).not.toBe(0);
      expect((idr >>> 16) & 0xff).toBe(ncb);
      rig.put(0xffff8, 0);
      rig.put(0xffff4, 0);
      expect([rig.at(0xffff8), rig.at(0xffff4)]).toEqual([idr, 0x21]);
    }
  });

  test('R6 TLBLCKR takes writes while CR.TLBLKCRWE is 1, or always if so read', () => {
    const rig = make();
    const isOpen = readings.lockRegisterGate === 'open';
    rig.set(0, regs.TLBLCKR, 0x00010203);
    expect(rig.get(0, regs.TLBLCKR)).toBe(isOpen ? 0x00010203 : 0);
    rig.put(regs.CR.offset, 0x40);
    rig.set(0, regs.TLBLCKR, 0x00040506);
    expect(rig.get(0, regs.TLBLCKR)).toBe(0x00040506);
    rig.put(regs.CR.offset, 0);
    rig.set(0, regs.TLBLCKR, 0);
    expect(rig.get(0, regs.TLBLCKR)).toBe(isOpen ? 0 : 0x00040506);
  });

  test('R55 a register access with the clock off is an error and changes nothing', () => {
    const rig = make();
    rig.set(0, regs.TTBR0, 0x40000000);
    rig.isClocked = false;
    expect(() => rig.get(0, regs.TTBR0)).toThrow('clock');
    expect(() => rig.set(0, regs.TTBR0, 0)).toThrow('clock');
    expect(
      isLabError(
        caught(() => rig.set(0, regs.TTBR0, 0)),
        'EIO',
      ),
    ).toBe(true);
    rig.isClocked = true;
    expect(rig.get(0, regs.TTBR0)).toBe(0x40000000);
  });
});

describe('the register rows', () => {
  test('no two share an offset', () => {
    const offsets = [...regs.CONTEXT_REGISTERS, ...regs.GLOBAL_REGISTERS].map((r) => r.offset);
    expect(new Set(offsets).size).toBe(offsets.length);
  });
});

/** The bits that have a field; all of a register without fields. */
function fields(register: Register): number {
  const all = Object.values(register.fields);
  return all.length === 0 ? 0xffffffff : all.reduce((mask, field) => (mask | maskOf(field)) >>> 0, 0);
}

function caught(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}
