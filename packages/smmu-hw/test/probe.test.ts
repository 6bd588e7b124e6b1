import { describe, expect, test } from '@jest/globals';
import { Rig, regs } from './rig.ts';

describe('V2P', () => {
  test('R7 the drivers’ probe check: M=1, V2PCFG=1, empty TLB gives PAR = FAULT | TLBMF without a memory access', () => {
    const rig = new Rig();
    // Were it to walk at TTBR0 = 0, it would find this section.
    rig.word(0, 0x40000c06);
    rig.set(0, regs.SCTLR, 1);
    rig.set(0, regs.PAR, 0);
    rig.set(0, regs.ACTLR, 1 << 16);
    rig.set(0, regs.V2PPR, 0);
    expect(rig.get(0, regs.PAR)).toBe(0x11);
    expect(rig.smmu.statistics.walks).toBe(0);
  });

  test('R8 R10 PAR is writable, keeps its value over reads, and 0 stays until the next V2P', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    const par = rig.probe(0, 0x00100000);
    expect([rig.get(0, regs.PAR), rig.get(0, regs.PAR)]).toEqual([par, par]);
    rig.set(0, regs.PAR, 0);
    expect(rig.get(0, regs.PAR)).toBe(0);
    rig.set(0, regs.V2PPR, 0x00100000);
    expect(rig.get(0, regs.PAR)).toBe(par);
  });

  test('R9 a V2P is complete when the next PAR read returns', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    rig.second(0x00101000, 0x40456000 | 0xc36);
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x40123);
    expect(rig.probe(0, 0x00101000) >>> 12).toBe(0x40456);
  });

  test('R11 R12 PAR holds the 4 KiB page for all sizes but the supersection, which has SS=1 and PA[31:24]', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x12345678, 0x87654000 | 0xc36);
    rig.second(0x1235a000, 0x87650000 | 0xc35);
    rig.first(0x124bc000, 0x87600000 | 0x30c06);
    rig.first(0x13abcdef, 0x89000000 | 0x70c06);
    const small = rig.probe(0, 0x12345678);
    const large = rig.probe(0, 0x1235a000);
    const section = rig.probe(0, 0x124bc000);
    const supersection = rig.probe(0, 0x13abcdef);
    expect([small, large, section].map((par) => par & 3)).toEqual([0, 0, 0]);
    expect([small, large, section].map((par) => par >>> 12)).toEqual([0x87654, 0x8765a, 0x876bc]);
    expect(supersection & 3).toBe(2);
    expect(supersection & 0x00fff000).toBe(0);
    // The driver joins PAR[31:24] with VA[23:0].
    expect(((supersection & 0xff000000) | (0x13abcdef & 0xffffff)) >>> 0).toBe(0x89abcdef);
  });

  test('R13 an invalid descriptor gives FAULT and TF, and SL iff the second level was invalid', () => {
    const rig = new Rig();
    rig.attach(0);
    expect(rig.probe(0, 0x00100000)).toBe(0x3);
    rig.second(0x00101000, 0x40456000 | 0xc36);
    expect(rig.probe(0, 0x00100000)).toBe(0x10003);
  });

  test('R14 a failed V2P leaves FSR, FAR and the lines alone, even where a client fault would stall', () => {
    const rig = new Rig();
    rig.attach(0, { actlr: 0x00037072 });
    rig.probe(0, 0x00100000);
    expect([rig.get(0, regs.FSR), rig.get(0, regs.FAR)]).toEqual([0, 0]);
    expect([rig.secureLine.isHigh, rig.nonSecureLine.isHigh]).toEqual([false, false]);
  });

  test('R15 a V2P answers from the TLB, stale or not, until CTX_TLBIALL', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    rig.probe(0, 0x00100000);
    expect(rig.get(0, regs.V2PSR) & 1).toBe(0);
    rig.second(0x00100000, 0x40456000 | 0xc36);
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x40123);
    expect(rig.get(0, regs.V2PSR) & 1).toBe(1);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x40456);
  });

  test('R16 the four operations check privileged and user, read and write', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x00100000, 0x40123000 | 0xc26);
    const fails = [regs.V2PPR, regs.V2PPW, regs.V2PUR, regs.V2PUW].map(
      (register) => rig.probe(0, 0x00100000, register) & 1,
    );
    expect(fails).toEqual([0, 0, 0, 1]);
  });

  test('R65 V2P and a client agree, with a TLB entry and without', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(2, 0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    rig.word(0x40123010, 0xabcd);
    expect(rig.load(2, 0x00100010)).toBe(0xabcd);
    const afterClient = rig.probe(0, 0x00100000);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(rig.probe(0, 0x00100000)).toBe(afterClient);
    expect(rig.load(2, 0x00100010)).toBe(0xabcd);
  });

  test('V2P of a bank with M=0 answers with the address itself', () => {
    const rig = new Rig();
    expect(rig.probe(1, 0x12345000)).toBe(0x12345000);
  });

  test('R12 PAR shows memory type, shareability and NS of the mapping', () => {
    const rig = new Rig();
    rig.attach(0);
    // Class 7 (WB-WA) of the kernel's PRRR/NMRR: normal, S=1 shareable, not outer shareable.
    rig.second(0x00100000, 0x40123000 | 0xc7e);
    const par = rig.probe(0, 0x00100000);
    expect([(par >>> 4) & 7, (par >>> 7) & 1, (par >>> 10) & 1, (par >>> 9) & 1]).toEqual([5, 1, 1, 0]);
    rig.first(0x00200000, 0x40100000 | 0x30c06 | 0x80000);
    expect((rig.probe(0, 0x00200000) >>> 9) & 1).toBe(1);
  });
});
