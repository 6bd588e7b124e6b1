/** The V2P operations and PAR (R7 to R16, R65). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { APF, FAULT, MULTI, SL, TF, TLBMF } from './support/fault-bits.ts';
import { ACTLR_ATTACHED, ACTLR_NO_STALL, regs, type Rig } from './support/rig.ts';

/** Privileged read and write, user read and write. */
const OPERATIONS = [regs.V2PPR, regs.V2PPW, regs.V2PUR, regs.V2PUW];
const IOVA = 0x00100000;
const SMALL = 0x40123c36;
const PAGE = 0x40123000;

underEveryReading((make, readings) => {
  const miss = readings.probeMissStatus === 'tlb-miss' ? TLBMF : TF;

  test('R7 the drivers’ probe check: M=1, V2PCFG=1, empty TLB gives FAULT and the miss, and no table is read', () => {
    const rig = make();
    // Were the walker to read at TTBR0 = 0, it would find this section.
    rig.word(0, 0x40000c06);
    rig.set(0, regs.SCTLR, rig.get(0, regs.SCTLR) | 1);
    rig.set(0, regs.PAR, 0);
    rig.set(0, regs.ACTLR, rig.get(0, regs.ACTLR) | 0x10000);
    rig.set(0, regs.V2PPR, 0);
    expect(rig.get(0, regs.PAR)).toBe(readings.probeMissStatus === 'tlb-miss' ? 0x11 : 0x3);
    expect(rig.smmu.statistics.walks).toBe(0);
  });

  test('R7 V2PCFG=3 walks on a TLB miss; 0 and 1 do not, 2 does one or the other', () => {
    for (const [policy, walks] of [
      [0, false],
      [1, false],
      [2, readings.missPolicyTwo === 'walks'],
      [3, true],
    ] as const) {
      const rig = mapped();
      rig.set(0, regs.ACTLR, (ACTLR_NO_STALL & ~0x30000) | (policy << 16));
      expect([policy, rig.probe(0, IOVA) & 0xfffff0ff]).toEqual([policy, walks ? PAGE | 0x80 : miss | FAULT]);
      // TLBMCFG is another field: an access walks, and what it loads answers the V2P.
      expect(rig.addressOf(0, IOVA)).toBe(PAGE);
      expect(rig.probe(0, IOVA) & 0xfffff001).toBe(PAGE);
    }
  });

  test('R8 PAR is writable, and 0 stays until the next V2P', () => {
    const rig = mapped();
    rig.probe(0, IOVA);
    for (const value of [0xffffffff, 0x12345672]) {
      rig.set(0, regs.PAR, value);
      expect((rig.get(0, regs.PAR) & 0xfffff002) >>> 0).toBe((value & 0xfffff002) >>> 0);
    }
    rig.set(0, regs.PAR, 0);
    rig.translate(0, IOVA);
    rig.probe(1, IOVA);
    expect(rig.get(0, regs.PAR)).toBe(0);
    expect(rig.probe(0, IOVA) & 0xfffff001).toBe(PAGE);
  });

  test('R9 a V2P is over when the next PAR read returns', () => {
    const rig = mapped();
    rig.second(IOVA + 0x1000, 0x40456c36);
    expect(rig.probe(0, IOVA) >>> 12).toBe(0x40123);
    expect(rig.probe(0, IOVA + 0x1000) >>> 12).toBe(0x40456);
    expect(rig.probe(0, IOVA + 0x2000)).toBe(FAULT | TF | SL);
  });

  test('R10 PAR keeps its value over reads, accesses and invalidations', () => {
    const rig = mapped();
    const par = rig.probe(0, IOVA);
    expect([rig.get(0, regs.PAR), rig.get(0, regs.PAR), rig.get(0, regs.PAR)]).toEqual([par, par, par]);
    rig.translate(0, IOVA + 0x5000);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(rig.get(0, regs.PAR)).toBe(par);
  });

  test('R11 PAR of a small page, a large page and a section holds the 4 KiB page, and FAULT and SS are 0', () => {
    const rig = allSizes();
    const pars = [0x12345678, 0x1236a678, 0x124bcdef].map((va) => rig.probe(0, va));
    expect(pars.map((par) => par >>> 12)).toEqual([0x87654, 0x8765a, 0x876bc]);
    expect(pars.map((par) => par & 3)).toEqual([0, 0, 0]);
  });

  test('R12 PAR of a supersection has SS=1, PA[31:24], and zeros in 23:12', () => {
    const rig = allSizes();
    const par = rig.probe(0, 0x13abcdef);
    expect((par & 0xfffff003) >>> 0).toBe(0x89000002);
    // The driver joins PAR[31:24] with VA[23:0].
    expect(((par & 0xff000000) | (0x13abcdef & 0xffffff)) >>> 0).toBe(0x89abcdef);
  });

  test('R13 an invalid descriptor gives FAULT and TF, and SL iff the second level was invalid', () => {
    const rig = mapped();
    expect(rig.probe(0, 0x00200000)).toBe(0x3);
    expect(rig.probe(0, IOVA + 0x1000)).toBe(0x10003);
  });

  test('R14 a failed V2P changes PAR alone, or is recorded as a fault that does not stall', () => {
    const rig = mapped({ actlr: ACTLR_ATTACHED });
    const isRecorded = readings.probeFaults === 'recorded';
    expect(rig.probe(0, 0x00205000, regs.V2PUW)).toBe(FAULT | TF);
    expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR), rig.get(0, regs.FSYNR0)]).toEqual(
      isRecorded ? [TF, 0x00205000, 0] : [0, 0, 0],
    );
    expect([rig.field(0, regs.FSYNR1, 'AWRITE'), rig.field(0, regs.FSYNR1, 'APRIV')]).toEqual([
      isRecorded ? 1 : 0,
      0,
    ]);
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([isRecorded, false]);
    // No access is held: the bank goes on.
    expect(rig.addressOf(0, IOVA)).toBe(PAGE);
    expect(rig.probe(0, 0x00206000, regs.V2PPR)).toBe(FAULT | TF);
    expect(rig.get(0, regs.FSR)).toBe(isRecorded ? (MULTI | TF) >>> 0 : 0);
    rig.set(0, regs.FSR, 0xffffffff);
    expect(rig.secureLine.isHigh).toBe(false);
  });

  test('R14 a V2P that succeeds leaves FSR, FAR and the lines alone', () => {
    const rig = mapped();
    expect(rig.translate(0, 0x00200000)).toBe('faulted');
    rig.probe(0, IOVA);
    expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR), rig.secureLine.isHigh]).toEqual([
      TF,
      0x00200000,
      true,
    ]);
  });

  test('R15 a V2P answers from the TLB, stale or not, until CTX_TLBIALL; V2PSR says whether and where it hit', () => {
    const rig = mapped();
    const va = IOVA + 0x5000;
    rig.second(va, SMALL);
    expect([rig.probe(0, va) >>> 12, rig.get(0, regs.V2PSR) & 1]).toEqual([0x40123, 0]);
    rig.probe(0, IOVA);
    rig.second(va, 0x40456c36);
    expect([rig.probe(0, va) >>> 12, rig.get(0, regs.V2PSR) & 1]).toEqual([0x40123, 1]);
    rig.put(regs.TLBRSW.offset, rig.get(0, regs.V2PSR) >>> 8);
    expect(rig.at(regs.TLBTR2.offset) & 0xfffff100).toBe(va | 0x100);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(rig.probe(0, va) >>> 12).toBe(0x40456);
  });

  test('R15 what a V2P found serves the accesses that follow, and the other way round', () => {
    const rig = mapped();
    rig.probe(0, IOVA);
    rig.second(IOVA, 0);
    expect(rig.addressOf(0, IOVA)).toBe(PAGE);
    rig.second(IOVA + 0x1000, 0x40456c36);
    rig.translate(0, IOVA + 0x1000);
    rig.second(IOVA + 0x1000, 0);
    expect(rig.probe(0, IOVA + 0x1000) >>> 12).toBe(0x40456);
  });

  test('R16 the four operations check the right in their name, or none if so read', () => {
    const rights = [0b0000, 0b0011, 0b0111, 0b1111, 0b0000, 0b0001, 0b0101, 0b0101];
    const rig = mapped();
    rights.forEach((allowed, ap) => {
      rig.flush();
      rig.second(IOVA, 0x40123c06 | ((ap & 3) << 4) | ((ap >>> 2) << 9));
      const pars = OPERATIONS.map((register) => rig.probe(0, IOVA, register) & 0xfffff0ff);
      const expected = OPERATIONS.map((_, i) => {
        const isChecked = readings.probeRights === 'checked';
        return isChecked && ((allowed >>> i) & 1) === 0 ? FAULT | APF | SL : PAGE | 0x80;
      });
      expect([ap, pars]).toEqual([ap, expected]);
    });
  });

  test('R16 a permission fault of a section has no SL', () => {
    const rig = mapped();
    rig.first(0x00200000, 0x41130406);
    const isChecked = readings.probeRights === 'checked';
    expect(rig.probe(0, 0x00200000, regs.V2PUR) & 0xfffff0ff).toBe(isChecked ? FAULT | APF : 0x41100080);
    expect(rig.probe(0, 0x00200000, regs.V2PPW) & 0xfffff0ff).toBe(0x41100080);
  });

  test('R16 a V2P uses CBVMID and the bank’s ASID', () => {
    const rig = mapped({ cbacr: 3 << 16, asid: 9 });
    rig.route(0, 0, 3);
    rig.probe(0, IOVA);
    rig.second(IOVA, 0);
    expect(rig.addressOf(0, IOVA)).toBe(PAGE);
    rig.set(0, regs.CONTEXTIDR, 8);
    expect(rig.addressOf(0, IOVA)).toBe('faulted');
    rig.set(0, regs.CONTEXTIDR, 9);
    expect(rig.probe(0, IOVA) >>> 12).toBe(0x40123);
    rig.put(regs.cbacrOffset(0), 4 << 16);
    expect(rig.probe(0, IOVA)).toBe(FAULT | TF | SL);
  });

  test('R16 a V2P of a bank with M=0 answers with the address itself', () => {
    const rig = make();
    expect(rig.probe(1, 0x12345678)).toBe(0x12345000);
    expect(rig.probe(1, 0x92345678)).toBe(0x92345000);
  });

  test('R65 V2P and an access agree on every address, whichever comes first', () => {
    const addresses = [0x12345678, 0x1236a678, 0x124bcdec, 0x13abcdec, 0x13fffffc, 0x124fffe0];
    for (const isProbeFirst of [true, false]) {
      const rig = allSizes();
      for (const va of addresses) {
        const par = isProbeFirst ? rig.probe(0, va) : undefined;
        const accessed = rig.addressOf(0, va);
        expect([va, accessed]).toEqual([va, joined(par ?? rig.probe(0, va), va)]);
      }
    }
  });

  test('R65 V2P and an access agree on what fails', () => {
    const rig = mapped();
    rig.second(IOVA + 0x1000, 0x40123c06);
    for (const [va, cause] of [
      [IOVA + 0x1000, APF | SL],
      [IOVA + 0x2000, TF | SL],
      [0x00200000, TF],
    ] as const) {
      rig.set(0, regs.FSR, 0xffffffff);
      expect(rig.translate(0, va)).toBe('faulted');
      expect(rig.get(0, regs.FSR)).toBe(cause);
      const isForgiven = cause === (APF | SL) && readings.probeRights === 'unchecked';
      expect(rig.probe(0, va, regs.V2PUR) & 0xfffff0ff).toBe(isForgiven ? PAGE | 0x80 : cause | FAULT);
    }
  });

  /** Bank 0 maps IOVA; machine id 0 routed to it. */
  function mapped(setup: Parameters<Rig['attach']>[1] = {}): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, setup);
    rig.second(IOVA, SMALL);
    return rig;
  }

  /** A leaf of each size, all of class 1 and with full access. */
  function allSizes(): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    rig.second(0x12345678, 0x87654c36);
    rig.second(0x1236a678, 0x87650c35);
    rig.first(0x124bcdef, 0x87630c06);
    rig.first(0x13abcdef, 0x89070c06);
    rig.first(0x13ffffff, 0x89070c06);
    return rig;
  }
});

/** The physical address as a driver works it out of PAR. */
function joined(par: number, va: number): number {
  expect(par & FAULT).toBe(0);
  const offsetBits = (par & 2) !== 0 ? 0x00ffffff : 0x00000fff;
  return ((par & ~offsetBits) | (va & offsetBits)) >>> 0;
}
