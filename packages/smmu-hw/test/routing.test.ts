/** Which bank an access goes through, and as what (R29 to R31, R56, R57). */
import { expect, test } from '@jest/globals';
import { underEveryReading, type MakeRig } from './support/every-reading.ts';
import { TABLE, regs, type Rig } from './support/rig.ts';

const OTHER_TABLE = 0x40004000;
const IOVA = 0x00100000;

underEveryReading((make, readings) => {
  test('R29 M2VCBR.CBNDX selects the bank, and a change redirects the next access', () => {
    const rig = twoBanks(make);
    rig.route(4, 0);
    expect(rig.addressOf(4, IOVA + 8)).toBe(0x41100008);
    expect(rig.load(4, IOVA)).toBe(0xaa);
    rig.route(4, 1);
    expect(rig.addressOf(4, IOVA + 8)).toBe(0x42200008);
    expect(rig.load(4, IOVA)).toBe(0xbb);
  });

  test('R29 each machine id has its own entry', () => {
    const rig = twoBanks(make);
    for (const mid of [0, 7, 31]) rig.route(mid, mid === 7 ? 1 : 0);
    expect([0, 7, 31].map((mid) => rig.addressOf(mid, IOVA))).toEqual([0x41100000, 0x42200000, 0x41100000]);
  });

  test('R30 several machine ids may use one bank, and see one translation', () => {
    const rig = twoBanks(make);
    for (const mid of [1, 3, 9]) rig.route(mid, 1);
    expect([1, 3, 9].map((mid) => rig.load(mid, IOVA))).toEqual([0xbb, 0xbb, 0xbb]);
    // The table is gone, the entry that the first access loaded serves all three.
    rig.first(IOVA, 0, OTHER_TABLE);
    expect([1, 3, 9].map((mid) => rig.load(mid, IOVA))).toEqual([0xbb, 0xbb, 0xbb]);
  });

  test('R31 NSCFG=3 makes an access non-secure, 2 secure, 0 takes what the master drives', () => {
    const rig = twoBanks(make);
    const seen = (nscfg: number, isSecure: boolean): [boolean, number] => {
      rig.streamEntry(0, { NSCFG: nscfg });
      expect(rig.translate(0, IOVA, { isSecure })).toBe('done');
      const { isNonSecure } = rig.translated();
      expect(rig.translate(0, 0x00500000, { isSecure })).toBe('faulted');
      const syndrome = rig.get(0, regs.FSYNR1);
      rig.set(0, regs.FSR, 0xffffffff);
      return [isNonSecure, syndrome & 0x40];
    };
    expect([3, 2, 0].map((nscfg) => seen(nscfg, false))).toEqual([
      [true, 0x40],
      [false, 0],
      [true, 0x40],
    ]);
    expect([3, 2, 0].map((nscfg) => seen(nscfg, true))).toEqual([
      [true, 0x40],
      [false, 0],
      [false, 0],
    ]);
  });

  test('R31 a secure access through a descriptor with its NS bit set goes on as non-secure', () => {
    const rig = twoBanks(make);
    rig.streamEntry(0, { NSCFG: 0 });
    rig.first(0x00200000, 0x411b0c06);
    rig.translate(0, 0x00200000, { isSecure: true });
    expect(rig.translated().isNonSecure).toBe(true);
    rig.translate(0, IOVA, { isSecure: true });
    expect(rig.translated().isNonSecure).toBe(false);
  });

  test('R56 the bypass fields of M2VCBR clear by read-modify-write, and its other fields stay', () => {
    const rig = make();
    rig.put(0xff004, 0x0ffe0103);
    for (const field of [0x20000, 0x40000, 0x80000, 0x300000, 0x1000000]) {
      rig.put(0xff004, rig.at(0xff004) & ~field);
    }
    expect(rig.at(0xff004)).toBe(0x0ec00103);
    expect([rig.at(0xff000), rig.at(0xff008)]).toEqual([0, 0]);
  });

  test('R56 an access, a fault and an invalidation change nothing in M2VCBR', () => {
    const rig = twoBanks(make);
    rig.put(0xff000, 0x0ffe0000);
    for (const va of [IOVA, 0x00500000]) rig.translate(0, va);
    rig.flush();
    expect(rig.at(0xff000)).toBe(0x0ffe0000);
  });

  test('R57 resetting a bank’s registers leaves M2VCBR and CBACR alone: the routing survives a detach', () => {
    const rig = twoBanks(make);
    rig.put(regs.cbacrOffset(1), 0x01030000);
    rig.route(4, 1, 3);
    for (const register of regs.CONTEXT_REGISTERS) rig.set(1, register, 0);
    expect([rig.at(regs.m2vcbrOffset(4)), rig.at(regs.cbacrOffset(1))]).toEqual([0x00c00103, 0x01030000]);
    rig.attach(1, { ttbr0: OTHER_TABLE, cbacr: 0x01030000 });
    expect(rig.load(4, IOVA)).toBe(0xbb);
  });

  test('open point 4: M2VCBR.VMID other than CBACR.CBVMID translates, or is ESR.CFG', () => {
    const rig = twoBanks(make);
    const isError = readings.vmidMismatch === 'global-error';
    rig.route(0, 0, 3);
    expect(rig.addressOf(0, IOVA)).toBe(isError ? 'faulted' : 0x41100000);
    expect(rig.at(regs.ESR.offset)).toBe(isError ? 1 : 0);
    expect(rig.get(0, regs.FSR)).toBe(0);
    rig.put(regs.cbacrOffset(0), 3 << 16);
    expect(rig.addressOf(0, IOVA)).toBe(0x41100000);
  });

  test('open point 4: what a stream of another VMID loads is tagged with the stream’s VMID', () => {
    const rig = twoBanks(make);
    rig.route(0, 0, 3);
    rig.route(1, 0);
    rig.translate(0, IOVA);
    rig.first(IOVA, 0x43330c06);
    expect(rig.addressOf(0, IOVA)).toBe(readings.vmidMismatch === 'global-error' ? 'faulted' : 0x41100000);
    expect(rig.addressOf(1, IOVA)).toBe(0x43300000);
  });
});

/** Banks 0 and 1 map one IOVA to two pages, which hold 0xAA and 0xBB. */
function twoBanks(make: MakeRig): Rig {
  const rig = make();
  rig.attach(0, { ttbr0: TABLE });
  rig.attach(1, { ttbr0: OTHER_TABLE });
  rig.first(IOVA, 0x41130c06, TABLE);
  rig.first(IOVA, 0x42230c06, OTHER_TABLE);
  rig.word(0x41100000, 0xaa);
  rig.word(0x42200000, 0xbb);
  return rig;
}
