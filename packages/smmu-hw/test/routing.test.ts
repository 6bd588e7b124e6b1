import { describe, expect, test } from '@jest/globals';
import { ACTLR_NO_STALL, NMRR_LINUX, PRRR_LINUX, Rig, TABLE, regs } from './rig.ts';

const OTHER_TABLE = 0x40004000;

/** Banks 0 and 1 map the same IOVA to two pages, which hold 0xAA and 0xBB. */
function twoBanks(): Rig {
  const rig = new Rig();
  rig.attach(0, { ttbr0: TABLE });
  rig.attach(1, { ttbr0: OTHER_TABLE });
  rig.first(0x00100000, 0x41000000 | 0x30c06, TABLE);
  rig.first(0x00100000, 0x42000000 | 0x30c06, OTHER_TABLE);
  rig.word(0x41000000, 0xaa);
  rig.word(0x42000000, 0xbb);
  return rig;
}

describe('routing', () => {
  test('R29 M2VCBR.CBNDX selects the bank, and a change redirects the next access', () => {
    const rig = twoBanks();
    rig.route(4, 0);
    expect(rig.load(4, 0x00100000)).toBe(0xaa);
    rig.route(4, 1);
    expect(rig.load(4, 0x00100000)).toBe(0xbb);
  });

  test('R30 several machine ids may use one bank', () => {
    const rig = twoBanks();
    for (const mid of [1, 3, 9]) rig.route(mid, 1);
    expect([1, 3, 9].map((mid) => rig.load(mid, 0x00100000))).toEqual([0xbb, 0xbb, 0xbb]);
    expect(rig.smmu.statistics.walks).toBe(1);
  });

  test('R31 NSCFG=3 forces non-secure, 2 secure, 0 takes what the master drives', () => {
    const rig = new Rig();
    const seen = [3, 2, 0].map((nscfg) => {
      rig.attach(0);
      rig.set(0, regs.FSRRESTORE, 0);
      rig.put(regs.m2vcbrOffset(0), nscfg << 22);
      rig.load(0, 0x00500000);
      return rig.field(0, regs.FSYNR1, 'APROTNS');
    });
    expect(seen).toEqual([1, 0, 1]);
  });

  test('R32 with M=0 an access passes untranslated', () => {
    const rig = new Rig();
    rig.route(0, 2);
    rig.word(0x40123450, 0x600d);
    expect(rig.load(0, 0x40123450)).toBe(0x600d);
    expect(rig.store(0, 0x40123454, 0x1234).state).toBe('done');
    expect(rig.peek(0x40123454)).toBe(0x1234);
    expect(rig.load(0, 0x90000000)).toBeUndefined();
    expect(rig.get(2, regs.FSR)).toBe(0);
    expect(rig.smmu.statistics).toMatchObject({ bypasses: 3, translations: 0, walks: 0 });
  });

  test('R32 a bypassing access looks into the CPU’s cache iff the stream’s bypass attributes redirect it', () => {
    const rig = new Rig();
    rig.cache.cached.write32(0x40200000 as never, 0xd1);
    const load = (m2vcbr: number): number | undefined => {
      rig.put(regs.m2vcbrOffset(0), m2vcbr);
      return rig.load(0, 0x40200000);
    };
    const { M2VCBR } = regs;
    const bit = (field: { shift: number }, value = 1): number => value << field.shift;
    expect(load(0)).toBe(0);
    expect(load(bit(M2VCBR.fields.BPRCNSH))).toBe(0xd1);
    expect(load(bit(M2VCBR.fields.BPRCOSH))).toBe(0);
    expect(load(bit(M2VCBR.fields.BPRCOSH) | bit(M2VCBR.fields.BPSHCFG, 1))).toBe(0xd1);
    expect(load(bit(M2VCBR.fields.BPRCISH) | bit(M2VCBR.fields.BPSHCFG, 2))).toBe(0xd1);
    expect(load(bit(M2VCBR.fields.BPRCNSH) | bit(M2VCBR.fields.BPMTCFG))).toBe(0);
    expect(
      load(bit(M2VCBR.fields.BPRCNSH) | bit(M2VCBR.fields.BPMTCFG) | bit(M2VCBR.fields.BPMEMTYPE, 5)),
    ).toBe(0xd1);
  });

  test('R33 TLBMCFG other than 3: a TLB miss is a TLBMF fault', () => {
    for (const mode of [0, 1, 2]) {
      const rig = twoBanks();
      rig.route(0, 0);
      rig.set(0, regs.ACTLR, (ACTLR_NO_STALL & ~0x3000) | (mode << 12));
      expect(rig.load(0, 0x00100000)).toBeUndefined();
      expect(rig.get(0, regs.FSR)).toBe(1 << 4);
      // What the TLB has is used all the same.
      rig.probe(0, 0x00100000);
      expect(rig.load(0, 0x00100000)).toBe(0xaa);
    }
  });

  test('an unrouted machine id or bank is ESR.CFG with EAR and ESYNR, a second one adds MULTI', () => {
    const rig = new Rig({ streams: 16 });
    expect(rig.load(16, 0x1000)).toBeUndefined();
    expect(rig.at(regs.ESR.offset)).toBe(1);
    expect(rig.at(regs.EAR.offset)).toBe(0x1000);
    expect(rig.at(regs.ESYNR0.offset)).toBe(16);
    rig.route(5, 3, 7);
    expect(rig.store(5, 0x2000, 1).state).toBe('faulted');
    expect(rig.at(regs.ESR.offset)).toBe(0x80000001);
    expect(rig.at(regs.EAR.offset)).toBe(0x1000);
    rig.put(regs.ESR.offset, 0x80000001);
    expect(rig.at(regs.ESR.offset)).toBe(0);
    rig.store(5, 0x2000, 1);
    expect(rig.at(regs.EAR.offset)).toBe(0x2000);
    expect(rig.at(regs.ESYNR0.offset)).toBe(5 | (7 << 16));
    expect(rig.at(regs.ESYNR1.offset) & 0x100).toBe(0x100);
    expect(rig.smmu.statistics.globalErrors).toBe(3);
  });

  test('BYPASSD=1: what would bypass is ESR.BYPASS, or passes if so configured', () => {
    const rig = new Rig();
    rig.put(regs.m2vcbrOffset(0), 1 << 16);
    expect(rig.load(0, 0x40000000)).toBeUndefined();
    expect(rig.at(regs.ESR.offset)).toBe(2);
    const lenient = new Rig({ bypassDisable: 'ignored' });
    lenient.put(regs.m2vcbrOffset(0), 1 << 16);
    expect(lenient.load(0, 0x40000000)).toBe(0);
  });

  test('a VMID that is not the bank’s translates, or is ESR.CFG if so configured', () => {
    for (const vmidMismatch of ['allowed', 'global-error'] as const) {
      const rig = new Rig({ vmidMismatch });
      rig.attach(0);
      rig.first(0x00100000, 0x41000000 | 0x30c06);
      rig.route(0, 0, 3);
      expect(rig.load(0, 0x00100000)).toBe(vmidMismatch === 'allowed' ? 0 : undefined);
      expect(rig.at(regs.ESR.offset)).toBe(vmidMismatch === 'allowed' ? 0 : 1);
    }
  });

  test('R56 bypass fields of M2VCBR clear by read-modify-write, other fields untouched', () => {
    const rig = new Rig();
    rig.put(regs.m2vcbrOffset(1), 0x0ffe0103);
    const cleared = rig.at(regs.m2vcbrOffset(1)) & ~0x013e0000;
    rig.put(regs.m2vcbrOffset(1), cleared);
    expect(rig.at(regs.m2vcbrOffset(1))).toBe(cleared);
    expect(cleared & 0xff1f).toBe(0x0103);
  });

  test('R57 resetting a bank’s registers leaves its routing intact', () => {
    const rig = twoBanks();
    rig.route(4, 1);
    const before = [rig.at(regs.m2vcbrOffset(4)), rig.at(regs.cbacrOffset(1))];
    for (const register of regs.CONTEXT_REGISTERS) rig.set(1, register, 0);
    expect([rig.at(regs.m2vcbrOffset(4)), rig.at(regs.cbacrOffset(1))]).toEqual(before);
    rig.attach(1, { ttbr0: OTHER_TABLE });
    expect(rig.load(4, 0x00100000)).toBe(0xbb);
  });
});

describe('coherence', () => {
  /** Whether a read through a mapping with `bits` sees what stands in the CPU's cache only. */
  function seesCache(
    bits: number,
    actlr: number,
    registers: { prrr?: number; nmrr?: number; sctlr?: number } = {},
  ): boolean {
    const rig = new Rig();
    rig.route(0, 0);
    rig.attach(0, { actlr, ...registers });
    rig.second(0x00100000, 0x40123000 | bits);
    rig.cache.cached.write32(0x40123000 as never, 0xd1);
    return rig.load(0, 0x00100000) === 0xd1;
  }

  const NO_REDIRECT = ACTLR_NO_STALL & ~0x70;

  test('R42 TEX remap and the redirect bits together decide whether an access looks into the CPU’s cache', () => {
    expect(seesCache(0xc7e, ACTLR_NO_STALL)).toBe(true);
    expect(seesCache(0xc7e, NO_REDIRECT)).toBe(false);
    expect(seesCache(0xc36, ACTLR_NO_STALL)).toBe(false);
    // Class 7 with S=1 is inner shareable (NOS7=1): RCISH counts, RCOSH and RCNSH do not.
    expect(seesCache(0xc7e, NO_REDIRECT | 0x20)).toBe(true);
    expect(seesCache(0xc7e, NO_REDIRECT | 0x50)).toBe(false);
    // NOS7=0 makes it outer shareable, S=0 (NS0=0) non-shareable.
    expect(seesCache(0xc7e, NO_REDIRECT | 0x10, { prrr: PRRR_LINUX & 0x7fffffff })).toBe(true);
    expect(seesCache(0x87e, NO_REDIRECT | 0x40)).toBe(true);
    expect(seesCache(0x87e, NO_REDIRECT | 0x30)).toBe(false);
  });

  test('R42 PRRR = NMRR = 0 makes everything strongly ordered: nothing is looked up in the cache', () => {
    expect(seesCache(0xc7e, ACTLR_NO_STALL, { prrr: 0, nmrr: 0 })).toBe(false);
    const rig = new Rig();
    rig.attach(0, { prrr: 0, nmrr: 0 });
    rig.second(0x00100000, 0x40123000 | 0xc7e);
    rig.probe(0, 0x00100000);
    expect(rig.smmu.tlbEntries()[0]?.memoryType).toBe('strongly-ordered');
  });

  test('R43 TEX[0] of a large page is bit 12: the 64 KiB WB-WA of 2011 decodes as class 3', () => {
    const type = (bits: number): number => {
      const rig = new Rig();
      rig.attach(0);
      rig.second(0x00110000, 0x40120000 | bits);
      return (rig.probe(0, 0x00110000) >>> 4) & 7;
    };
    expect(type(0xc7e)).toBe(5);
    expect(type(0xc7d)).toBe(7);
    expect(type(0x1c3d)).toBe(5);
  });

  test('without TEX remap the ARMv7 meaning of TEX, C and B holds', () => {
    const type = (tex: number, cb: number): string | undefined => {
      const rig = new Rig();
      rig.attach(0, { sctlr: 1, prrr: PRRR_LINUX, nmrr: NMRR_LINUX });
      rig.second(0x00100000, 0x40123000 | 0xc32 | (tex << 6) | (cb << 2));
      rig.probe(0, 0x00100000);
      return rig.smmu.tlbEntries()[0]?.memoryType;
    };
    expect(type(0, 0)).toBe('strongly-ordered');
    expect(type(0, 1)).toBe('device');
    expect(type(0, 3)).toBe('cacheable');
    expect(type(1, 0)).toBe('non-cacheable');
    expect(type(1, 3)).toBe('cacheable');
    expect(type(2, 0)).toBe('device');
    expect(type(5, 1)).toBe('cacheable');
    expect(type(4, 0)).toBe('non-cacheable');
  });

  test('R54 with TTBR attributes 0 the walker does not see descriptors that are in the cache only; with 0x6A it does', () => {
    for (const [attributes, sees] of [
      [0x00, false],
      [0x02, false],
      [0x48, false],
      [0x6a, true],
    ] as const) {
      const rig = new Rig();
      rig.attach(0, { ttbr0: TABLE | attributes });
      rig.cache.cached.write32((TABLE + 4) as never, 0x41000000 | 0x30c06);
      expect([attributes, rig.probe(0, 0x00100000) & 1]).toEqual([attributes, sees ? 0 : 1]);
      rig.cache.clean((TABLE + 4) as never, 4);
      expect(rig.probe(0, 0x00100000) & 1).toBe(0);
    }
  });
});
