/** The table walk: what starts it, what it reads, and how it fails (R33, R36, R38 to R40). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { FAULT, HTWDEEF, HTWSEEF, SL, TF, TLBMF } from './support/fault-bits.ts';
import { ACTLR_NO_STALL, SECOND, TABLE, regs, type Rig } from './support/rig.ts';

const IOVA = 0x00100000;
/** No memory answers there. */
const HOLE = 0x90000000;
/** TTBR attributes with which walks go through the CPU's cache. */
const SNOOPED = 0x6a;
const BIG_ENDIAN = 0x10;

underEveryReading((make, readings) => {
  test('R33 TLBMCFG=3 walks on a TLB miss; 0 and 1 make it a TLBMF fault, 2 one or the other', () => {
    for (const [policy, walks] of [
      [0, false],
      [1, false],
      [2, readings.missPolicyTwo === 'walks'],
      [3, true],
    ] as const) {
      const rig = attached();
      rig.first(IOVA, 0x41130c06);
      rig.set(0, regs.ACTLR, withMissPolicy(policy));
      expect([policy, rig.addressOf(0, IOVA)]).toEqual([policy, walks ? 0x41100000 : 'faulted']);
      expect([policy, rig.get(0, regs.FSR)]).toEqual([policy, walks ? 0 : TLBMF]);
    }
  });

  test('R33 what the TLB has is used whatever TLBMCFG says', () => {
    for (const policy of [0, 1, 2, 3]) {
      const rig = attached();
      rig.first(IOVA, 0x41130c06);
      rig.translate(0, IOVA);
      rig.set(0, regs.ACTLR, withMissPolicy(policy));
      rig.first(IOVA, 0);
      expect(rig.addressOf(0, IOVA)).toBe(0x41100000);
    }
  });

  test('R36 first-level types 00 and 11 are TF', () => {
    const rig = attached();
    for (const word of [0x00000000, 0xfffffffc, 0x87630c04, 0x87630c07, 0x00000003, 0xffffffff]) {
      rig.first(IOVA, word);
      rig.flush();
      expect(failure(rig)).toBe(TF);
    }
  });

  test('R36 second-level type 00 is TF and SL', () => {
    const rig = attached();
    for (const word of [0x00000000, 0xfffffffc, 0x40123c34]) {
      rig.second(IOVA, word);
      rig.flush();
      expect(failure(rig)).toBe(TF | SL);
    }
  });

  test('R36 second-level types 01, 10 and 11 are leaves, the lowest bit of a small page being XN', () => {
    const rig = attached();
    for (const word of [0x40120c35, 0x40120c36, 0x40120c37]) {
      rig.second(IOVA, word);
      rig.flush();
      expect(rig.addressOf(0, IOVA)).toBe(0x40120000);
    }
  });

  test('R38 each of the 16 replicas of a large page and of a supersection gives the same translation', () => {
    const rig = attached();
    for (let i = 0; i < 16; i++) {
      // The others are not there.
      rig.second(0x00110000 + i * 0x1000, 0x40120c35);
      rig.first(0x01000000 + i * 0x100000, 0x46070c06);
      expect(rig.addressOf(0, 0x00110044 + i * 0x1000)).toBe(0x40120044 + i * 0x1000);
      expect(rig.addressOf(0, 0x01000044 + i * 0x100000)).toBe(0x46000044 + i * 0x100000);
      rig.second(0x00110000 + i * 0x1000, 0);
      rig.first(0x01000000 + i * 0x100000, 0);
      rig.flush();
    }
  });

  test('R39 a walk believes the one replica the address selects, whatever its neighbours say', () => {
    const rig = attached();
    for (let i = 0; i < 16; i++) rig.second(0x00110000 + i * 0x1000, 0x40120c35);
    rig.second(0x00113000, 0);
    rig.second(0x00114000, 0x40990c35);
    expect(rig.addressOf(0, 0x00113000)).toBe('faulted');
    rig.flush();
    expect(rig.addressOf(0, 0x00114044)).toBe(0x40994044);
    rig.flush();
    expect(rig.addressOf(0, 0x00115044)).toBe(0x40125044);
  });

  test('R40 the domain of a section and of a table pointer does not count', () => {
    const rig = attached();
    for (let domain = 0; domain < 16; domain++) {
      rig.flush();
      rig.first(IOVA, 0x41130c06 | (domain << 5));
      rig.second(0x00200000, 0x40123c36);
      rig.first(0x00200000, (SECOND | 1 | (domain << 5)) >>> 0);
      expect([rig.addressOf(0, IOVA), rig.addressOf(0, 0x00200000)]).toEqual([0x41100000, 0x40123000]);
    }
  });

  test('a first level where nothing answers is HTWDEEF, a second level HTWDEEF and SL', () => {
    for (const attributes of [0, SNOOPED]) {
      const rig = attached({ ttbr0: (HOLE | attributes) >>> 0 });
      expect(failure(rig)).toBe(HTWDEEF);
      rig.set(0, regs.TTBR0, (TABLE | attributes) >>> 0);
      rig.first(IOVA, HOLE | 1);
      rig.flush();
      expect(failure(rig)).toBe(HTWDEEF | SL);
    }
  });

  test('a first level that refuses is HTWSEEF, a second level HTWSEEF and SL', () => {
    for (const attributes of [0, SNOOPED]) {
      const rig = attached({ ttbr0: (TABLE | attributes) >>> 0 });
      rig.second(IOVA, 0x40123c36);
      rig.refused.add(TABLE + 4);
      expect(failure(rig)).toBe(HTWSEEF);
      rig.refused.clear();
      rig.refused.add(SECOND);
      rig.flush();
      expect(failure(rig)).toBe(HTWSEEF | SL);
      rig.refused.clear();
      rig.flush();
      expect(rig.addressOf(0, IOVA)).toBe(0x40123000);
    }
  });

  test('a table that refuses or is not there fails big-endian walks alike', () => {
    const rig = attached({ ttbr0: HOLE, sctlr: 3 | BIG_ENDIAN });
    expect(failure(rig)).toBe(HTWDEEF);
    rig.set(0, regs.TTBR0, TABLE);
    rig.refused.add(TABLE + 4);
    expect(failure(rig)).toBe(HTWSEEF);
    rig.refused.clear();
    rig.refused.add(SECOND);
    rig.first(IOVA, 0x01000140);
    expect(failure(rig)).toBe(HTWSEEF | SL);
  });

  test('SCTLR.BE makes the walker read big-endian words, at both levels and for all four sizes', () => {
    const rig = attached({ sctlr: 3 | BIG_ENDIAN });
    // 0x40010001, 0x87654C36 and 0x87650C35; then 0x87630C06 and 0x89070C06: most significant byte first.
    rig.first(0x12300000, 0x01000140);
    rig.word(SECOND + 0x45 * 4, 0x364c6587);
    rig.word(SECOND + 0x6a * 4, 0x350c6587);
    rig.first(0x12500000, 0x060c6387);
    rig.first(0x13a00000, 0x060c0789);
    expect(rig.addressOf(0, 0x12345678)).toBe(0x87654678);
    expect(rig.addressOf(0, 0x1236a678)).toBe(0x8765a678);
    expect(rig.addressOf(0, 0x125bcde0)).toBe(0x876bcde0);
    expect(rig.addressOf(0, 0x13abcde0)).toBe(0x89abcde0);
    rig.set(0, regs.SCTLR, 3);
    rig.flush();
    expect(rig.addressOf(0, 0x12345678)).toBe('faulted');
  });

  test('an IOVA above 32 bits is TF, whatever the tables map below', () => {
    const rig = attached();
    rig.first(IOVA, 0x41130c06);
    expect(rig.addressOf(0, IOVA)).toBe(0x41100000);
    expect(rig.addressOf(0, 0x100000000 + IOVA)).toBe('faulted');
    expect(rig.get(0, regs.FSR)).toBe(TF);
  });

  /** Bank 0 attached to the empty table, machine id 0 routed to it. */
  function attached(setup: Parameters<Rig['attach']>[1] = {}): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, setup);
    return rig;
  }
});

function withMissPolicy(policy: number): number {
  return (ACTLR_NO_STALL & ~0x3000) | (policy << 12);
}

/** The cause with which an access to IOVA fails; a V2P must give the same one, with a TLB entry or without. */
function failure(rig: Rig): number {
  rig.set(0, regs.FSR, 0xffffffff);
  expect(rig.translate(0, IOVA)).toBe('faulted');
  const cause = rig.get(0, regs.FSR);
  expect(rig.get(0, regs.FAR)).toBe(IOVA);
  rig.set(0, regs.FSR, 0xffffffff);
  expect(rig.probe(0, IOVA)).toBe(cause | FAULT);
  rig.flush();
  expect(rig.probe(0, IOVA)).toBe(cause | FAULT);
  return cause;
}
