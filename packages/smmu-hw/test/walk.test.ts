import { describe, expect, test } from '@jest/globals';
import { ACTLR_NO_STALL, Rig, SECOND, TABLE, regs } from './rig.ts';

const BIT_TF = 1 << 1;
const BIT_AFF = 1 << 2;
const BIT_APF = 1 << 3;
const BIT_HTWDEEF = 1 << 5;
const BIT_SL = 1 << 16;

describe('golden translations, from descriptor words worked out by hand', () => {
  test('R37 a small page: PA[31:12] of the descriptor, VA[11:0] (class 1 non-cached, 0xC36)', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x12345678, 0x87654000 | 0xc36);
    expect(rig.probe(0, 0x12345678) >>> 12).toBe(0x87654);
  });

  test('R37 a large page: PA[31:16] of the descriptor, VA[15:0] (0xC35)', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x1234a000, 0x87650000 | 0xc35);
    expect(rig.probe(0, 0x1234a000) >>> 12).toBe(0x8765a);
  });

  test('R37 a section: PA[31:20] of the descriptor, VA[19:0] (0x30C06)', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.first(0x123bc000, 0x87600000 | 0x30c06);
    expect(rig.probe(0, 0x123bc000) >>> 12).toBe(0x876bc);
  });

  test('R37 a supersection: PA[31:24] of the descriptor, VA[23:0] (0x70C06)', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(0, 0);
    rig.first(0x12123458, 0x41000000 | 0x70c06);
    rig.word(0x41123458, 0xcafe0001);
    expect(rig.probe(0, 0x12123000) & 0xff000003).toBe(0x41000002);
    expect(rig.load(0, 0x12123458)).toBe(0xcafe0001);
  });

  test('R37 data moves to the byte, through each of the four sizes', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(3, 0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    rig.second(0x00110000, 0x40120000 | 0xc35, SECOND);
    rig.first(0x00200000, 0x40100000 | 0x30c06);
    for (let i = 0; i < 16; i++) rig.first(0x01000000 + i * 0x100000, 0x40000000 | 0x70c06);
    rig.store(3, 0x00100044, 0x11111111);
    expect(rig.peek(0x40123044)).toBe(0x11111111);
    // One word, seen through all of them.
    for (let i = 0; i < 16; i++) rig.second(0x00110000 + i * 0x1000, 0x40120000 | 0xc35, SECOND);
    expect(rig.load(3, 0x00113044)).toBe(0x11111111);
    expect(rig.load(3, 0x00223044)).toBe(0x11111111);
    expect(rig.load(3, 0x01123044)).toBe(0x11111111);
  });

  test.each([
    ['R41 AFE=0 AP=011, full access', 3, 0xc36, [1, 1, 1, 1]],
    ['R41 AFE=0 AP=111, read-only', 3, 0xe36, [1, 0, 1, 0]],
    ['R41 AFE=0 AP=001, privileged only', 3, 0xc16, [1, 1, 0, 0]],
    ['R41 AFE=0 AP=010, user read-only', 3, 0xc26, [1, 1, 1, 0]],
    ['R41 AFE=0 AP=101, privileged read', 3, 0xe16, [1, 0, 0, 0]],
    ['R41 AFE=0 AP=110, all read', 3, 0xe26, [1, 0, 1, 0]],
    ['R41 AFE=0 AP=000, nothing', 3, 0xc06, [0, 0, 0, 0]],
    ['R41 AFE=1 v7s RW (0xC72)', 7, 0xc72, [1, 1, 1, 1]],
    ['R41 AFE=1 v7s RO (0xE72)', 7, 0xe72, [1, 0, 1, 0]],
    ['R41 AFE=1 v7s RW PRIV (0xC52)', 7, 0xc52, [1, 1, 0, 0]],
    ['R41 AFE=1 v7s RO PRIV', 7, 0xe52, [1, 0, 0, 0]],
  ])('%s', (_name, sctlr, bits, rights) => {
    const rig = new Rig();
    rig.attach(0, { sctlr });
    rig.second(0x00100000, 0x40123000 | bits);
    const probes = [regs.V2PPR, regs.V2PPW, regs.V2PUR, regs.V2PUW];
    const pars = probes.map((register) => rig.probe(0, 0x00100000, register));
    expect(pars.map((par) => 1 - (par & 1))).toEqual(rights);
    const failures = pars.filter((par) => (par & 1) === 1);
    expect(failures).toEqual(failures.map(() => 1 | BIT_APF | BIT_SL));
  });

  test('R41 AFE=1 and AP[0]=0 is an access flag fault; AFFD lets it pass, HAF sets the flag', () => {
    const noFlag = 0x40123000 | 0xc62;
    const rig = new Rig();
    rig.attach(0, { sctlr: 7 });
    rig.second(0x00100000, noFlag);
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_AFF | BIT_SL);
    rig.attach(0, { sctlr: 7 | 0x20 });
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x40123);
    rig.set(0, regs.CTX_TLBIALL, 0);
    rig.attach(0, { sctlr: 7 | 0x08 });
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x40123);
    expect(rig.peek(SECOND)).toBe(noFlag | 0x10);
  });

  test('R36 first-level types 00 and 11 fault without SL, second-level type 00 with SL', () => {
    const rig = new Rig();
    rig.attach(0);
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_TF);
    rig.first(0x00100000, 0x87600003);
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_TF);
    rig.second(0x00100000, 0x40123000);
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_TF | BIT_SL);
  });

  test('a walk into a hole of the address space is HTWDEEF, of the level that read there', () => {
    const rig = new Rig();
    rig.attach(0, { ttbr0: 0x90000000 });
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_HTWDEEF);
    rig.attach(0);
    rig.first(0x00100000, 0x90000001);
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_HTWDEEF | BIT_SL);
  });

  test('R38 R39 the walker reads the replica the address selects, and no other', () => {
    const rig = new Rig();
    rig.attach(0);
    for (let i = 0; i < 16; i++) rig.second(0x00110000 + i * 0x1000, 0x40120000 | 0xc35);
    rig.second(0x00113000, 0);
    rig.second(0x00114000, 0x40990000 | 0xc35);
    expect(rig.probe(0, 0x00113000)).toBe(1 | BIT_TF | BIT_SL);
    expect(rig.probe(0, 0x00114000) >>> 12).toBe(0x40994);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(rig.probe(0, 0x0011f000) >>> 12).toBe(0x4012f);
  });

  test('R40 domain fields do not matter', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.first(0x00100000, 0x87600000 | 0x30c06 | (0xf << 5));
    rig.second(0x00200000, 0x40123000 | 0xc36);
    rig.first(0x00200000, SECOND | 1 | (0xf << 5));
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x87600);
    expect(rig.probe(0, 0x00200000) >>> 12).toBe(0x40123);
  });

  test('R34 N=1 splits at 2 GiB; with equal bases the result is that of N=0', () => {
    const results = [0, 1].map((ttbcr) => {
      const rig = new Rig();
      rig.attach(0, { ttbcr, ttbr1: TABLE });
      rig.first(0x00100000, 0x41100000 | 0x30c06);
      rig.first(0x80100000, 0x42200000 | 0x30c06);
      return [0x00100000, 0x80100000, 0x7ff00000, 0xfff00000].map((va) => rig.probe(0, va));
    });
    expect(results[1]).toEqual(results[0]);
    const rig = new Rig();
    rig.attach(0, { ttbcr: 1, ttbr1: 0x40004000 });
    rig.first(0x80100000, 0x41100000 | 0x30c06, TABLE);
    rig.first(0x80100000, 0x42200000 | 0x30c06, 0x40004000);
    expect(rig.probe(0, 0x80100000) >>> 12).toBe(0x42200);
  });

  test('R34 PD0 and PD1 turn a walk of that half into a translation fault', () => {
    const rig = new Rig();
    rig.first(0x00100000, 0x41100000 | 0x30c06);
    rig.first(0x80100000, 0x42200000 | 0x30c06);
    rig.attach(0, { ttbcr: 0x11, ttbr1: TABLE });
    expect(rig.probe(0, 0x00100000)).toBe(1 | BIT_TF);
    expect(rig.probe(0, 0x80100000) >>> 12).toBe(0x42200);
    rig.set(0, regs.CTX_TLBIALL, 0);
    rig.attach(0, { ttbcr: 0x21, ttbr1: TABLE });
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x41100);
    expect(rig.probe(0, 0x80100000)).toBe(1 | BIT_TF);
  });

  test('R35 the low 14 bits of TTBR0 are attributes and never part of the address', () => {
    const rig = new Rig();
    rig.attach(0, { ttbr0: TABLE | 0x3fff });
    rig.first(0x00100000, 0x41100000 | 0x30c06);
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x41100);
    const architectural = new Rig({ ttbr0Base: 'by-ttbcr-n' });
    architectural.attach(0, { ttbr0: TABLE + 0x2000, ttbcr: 1 });
    architectural.first(0x00100000, 0x41100000 | 0x30c06, TABLE + 0x2000);
    expect(architectural.probe(0, 0x00100000) >>> 12).toBe(0x41100);
  });

  test('R63 the four sizes a leaf can have are 4 KiB, 64 KiB, 1 MiB and 16 MiB', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.second(0x00100000, 0x40123000 | 0xc36);
    rig.second(0x00110000, 0x40120000 | 0xc35);
    rig.first(0x00200000, 0x40100000 | 0x30c06);
    rig.first(0x01000000, 0x40000000 | 0x70c06);
    for (const va of [0x00100000, 0x00110000, 0x00200000, 0x01000000]) rig.probe(0, va);
    const sizes = rig.smmu.tlbEntries().map((entry) => entry.sizeBytes);
    expect(sizes.sort((a, b) => a - b)).toEqual([0x1000, 0x10000, 0x100000, 0x1000000]);
  });

  test('execute-never stops an instruction fetch and nothing else', () => {
    const rig = new Rig();
    rig.attach(0, { sctlr: 7 });
    rig.route(0, 0);
    rig.second(0x00100000, 0x40123000 | 0xc73);
    const fetch = (isInstruction: boolean) =>
      rig.master(0, { isInstruction }).read(0x00100000, new Uint8Array(4)).state;
    expect(fetch(false)).toBe('done');
    expect(fetch(true)).toBe('faulted');
    expect(rig.get(0, regs.FSR)).toBe(BIT_APF | BIT_SL);
    expect(rig.field(0, regs.FSYNR1, 'AINST')).toBe(1);
  });

  test('SCTLR.BE makes the walker read big-endian descriptors', () => {
    const rig = new Rig();
    rig.attach(0, { sctlr: 3 | 0x10 });
    // 0x41130C06 stored with its most significant byte first.
    rig.first(0x00100000, 0x060c1341);
    expect(rig.probe(0, 0x00100000) >>> 12).toBe(0x41100);
  });

  test('ACTLR.PRIVCFG overrides the privilege of accesses', () => {
    const rig = new Rig();
    rig.route(0, 0);
    rig.second(0x00100000, 0x40123000 | 0xc16);
    rig.attach(0);
    expect(rig.load(0, 0x00100000)).toBeUndefined();
    rig.attach(0, { actlr: ACTLR_NO_STALL | (3 << 8) });
    expect(rig.load(0, 0x00100000)).toBe(0);
    rig.attach(0, { actlr: ACTLR_NO_STALL | (2 << 8) });
    expect(rig.master(0, { isPrivileged: true }).read(0x00100000, new Uint8Array(4)).state).toBe('faulted');
  });
});
