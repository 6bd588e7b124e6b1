/** Memory type and shareability of what leaves the SMMU, and which port it takes (R42, R43). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { ACTLR_NO_STALL, NMRR_LINUX, PRRR_LINUX, regs, type BankSetup, type Rig } from './support/rig.ts';

const IOVA = 0x00100000;
const PAGE = 0x40123000;

/** PAR[6:4], PAR[7] and PAR[10], then what the transaction carries. */
type Outcome = readonly [mt: number, sh: number, nos: number, memoryType: string, shareability: string];
const STRONG: Outcome = [1, 1, 0, 'strongly-ordered', 'outer'];
const DEVICE: Outcome = [3, 0, 0, 'device', 'none'];
const DEVICE_OUTER: Outcome = [3, 1, 0, 'device', 'outer'];
const DEVICE_INNER: Outcome = [3, 1, 1, 'device', 'inner'];
const NORMAL: Outcome = [0, 0, 0, 'non-cacheable', 'none'];
const NORMAL_OUTER: Outcome = [0, 1, 0, 'non-cacheable', 'outer'];
const NORMAL_INNER: Outcome = [0, 1, 1, 'non-cacheable', 'inner'];
const cached = (mt: 5 | 6 | 7, shareability: 'none' | 'outer' | 'inner'): Outcome => [
  mt,
  shareability === 'none' ? 0 : 1,
  shareability === 'inner' ? 1 : 0,
  'cacheable',
  shareability,
];

/** Outcomes by class n = {TEX[0], C, B}, each for S=0 and S=1. */
type Classes = readonly (readonly [Outcome, Outcome])[];

const REMAPS: readonly [name: string, prrr: number, nmrr: number, classes: Classes][] = [
  [
    'the kernel’s',
    0xff0a81a8,
    0x40e040e0,
    [
      [STRONG, STRONG],
      [NORMAL, NORMAL_INNER],
      [cached(6, 'none'), cached(6, 'inner')],
      [cached(7, 'none'), cached(7, 'inner')],
      [DEVICE, DEVICE_INNER],
      [STRONG, STRONG],
      [STRONG, STRONG],
      [cached(5, 'none'), cached(5, 'inner')],
    ],
  ],
  [
    'the page-table library’s',
    0x800b8204,
    0x40004000,
    [
      [STRONG, STRONG],
      [DEVICE_OUTER, DEVICE_OUTER],
      [STRONG, STRONG],
      [STRONG, STRONG],
      [NORMAL, NORMAL_OUTER],
      [STRONG, STRONG],
      [STRONG, STRONG],
      [cached(5, 'none'), cached(5, 'inner')],
    ],
  ],
  ['0 and 0', 0, 0, Array.from({ length: 8 }, () => [STRONG, STRONG] as const)],
  [
    // Normal everywhere, outer policies only in classes 0 to 2, NS0=1, NS1=0, no NOS: what the others leave out.
    'PRRR 0x0004AAAA and NMRR 0x00390000',
    0x0004aaaa,
    0x00390000,
    [
      [
        [0, 1, 0, 'cacheable', 'outer'],
        [0, 0, 0, 'cacheable', 'none'],
      ],
      [
        [0, 1, 0, 'cacheable', 'outer'],
        [0, 0, 0, 'cacheable', 'none'],
      ],
      [
        [0, 1, 0, 'cacheable', 'outer'],
        [0, 0, 0, 'cacheable', 'none'],
      ],
      ...Array.from({ length: 5 }, () => [NORMAL_OUTER, NORMAL] as const),
    ],
  ],
  // Memory type 3 is reserved, and taken as strongly ordered.
  ['PRRR 0x0000FFFF', 0x0000ffff, 0xffffffff, Array.from({ length: 8 }, () => [STRONG, STRONG] as const)],
];

/** {TEX[2:0], C, B} without remap, S=0 and S=1; what is not listed is reserved and strongly ordered. */
const PLAIN: Readonly<Record<number, readonly [Outcome, Outcome]>> = {
  0b00001: [DEVICE_OUTER, DEVICE_OUTER],
  0b00010: [cached(6, 'none'), cached(6, 'outer')],
  0b00011: [cached(7, 'none'), cached(7, 'outer')],
  0b00100: [NORMAL, NORMAL_OUTER],
  0b00111: [cached(5, 'none'), cached(5, 'outer')],
  0b01000: [DEVICE, DEVICE],
};

underEveryReading((make) => {
  test.each(REMAPS)('R42 TRE=1 with %s PRRR and NMRR: all eight classes', (_name, prrr, nmrr, classes) => {
    const rig = attached({ prrr, nmrr });
    // TEX[2:1] do not count.
    for (const upper of [0, 0b11000]) {
      expect(classes.map((_, n) => [0, 1].map((s) => seen(rig, descriptor(upper | n, s))))).toEqual(classes);
    }
  });

  test('R42 TRE=0: the ARMv7 meaning of TEX, C and B holds, whatever PRRR and NMRR say', () => {
    const rig = attached({ sctlr: 1 });
    const all = Array.from({ length: 16 }, (_, texCb) => texCb);
    expect(all.map((texCb) => [0, 1].map((s) => seen(rig, descriptor(texCb, s))))).toEqual(
      all.map((texCb) => PLAIN[texCb] ?? [STRONG, STRONG]),
    );
  });

  test('R42 TRE=0 and TEX[2]=1: {C, B} is the inner policy, TEX[1:0] the outer one; either makes it cacheable', () => {
    const rig = attached({ sctlr: 1 });
    for (let outer = 0; outer < 4; outer++) {
      const outcomes = [0, 1, 2, 3].map((inner) => seen(rig, descriptor(0b10000 | (outer << 2) | inner, 0)));
      expect([outer, outcomes]).toEqual([
        outer,
        [
          outer === 0 ? NORMAL : [0, 0, 0, 'cacheable', 'none'],
          cached(5, 'none'),
          cached(6, 'none'),
          cached(7, 'none'),
        ],
      ]);
    }
  });

  test('R42 cacheable traffic goes through the CPU’s cache iff the ACTLR bit of its shareability is set', () => {
    const rig = attached();
    // Class 7: S=0 is not shareable; S=1 inner shareable with NOS7=1, outer with NOS7=0.
    for (const [shareability, s, prrr, bit] of [
      ['none', 0, PRRR_LINUX, 0x40],
      ['inner', 1, PRRR_LINUX, 0x20],
      ['outer', 1, PRRR_LINUX - 0x80000000, 0x10],
    ] as const) {
      rig.set(0, regs.PRRR, prrr);
      const all = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70];
      const redirected = all.filter((redirects) => {
        rig.set(0, regs.ACTLR, (ACTLR_NO_STALL & ~0x70) | redirects);
        seen(rig, descriptor(7, s));
        return rig.translated().isSnooped;
      });
      expect(rig.translated().shareability).toBe(shareability);
      expect(redirected).toEqual(all.filter((redirects) => (redirects & bit) !== 0));
    }
  });

  test('R42 of the kernel’s classes the cacheable 2, 3 and 7 go through the CPU’s cache, and no other', () => {
    const rig = attached();
    const snooped = [0, 1, 2, 3, 4, 5, 6, 7].filter((n) =>
      [0, 1].some((s) => {
        seen(rig, descriptor(n, s));
        return rig.translated().isSnooped;
      }),
    );
    expect(snooped).toEqual([2, 3, 7]);
  });

  test('R42 data: a redirected read sees what the CPU has not written back, and a redirected write reaches the CPU', () => {
    const rig = attached();
    rig.second(IOVA, descriptor(7, 1));
    rig.word(PAGE, 0x01d);
    rig.cacheWord(PAGE, 0xd1);
    expect(rig.load(0, IOVA)).toBe(0xd1);
    rig.store(0, IOVA, 0x2e);
    expect(rig.cache.cached.read32(PAGE as never)).toBe(0x2e);
    const past = attached();
    past.second(IOVA, descriptor(1, 1));
    past.word(PAGE, 0x01d);
    past.cacheWord(PAGE, 0xd1);
    expect(past.load(0, IOVA)).toBe(0x01d);
    past.store(0, IOVA, 0x2e);
    expect([past.cache.cached.read32(PAGE as never), past.peek(PAGE)]).toEqual([0xd1, 0x2e]);
  });

  test('R42 a change of PRRR and NMRR counts from the next walk', () => {
    const rig = attached();
    rig.second(IOVA, descriptor(7, 1));
    rig.translate(0, IOVA);
    expect(rig.translated().memoryType).toBe('cacheable');
    rig.set(0, regs.PRRR, 0);
    rig.flush();
    rig.translate(0, IOVA);
    expect(rig.translated().memoryType).toBe('strongly-ordered');
  });

  test('R43 TEX[0] of a large page is bit 12, of a small page bit 6: the 64 KiB write-back of 2011 is class 3', () => {
    const rig = attached();
    const type = (word: number): number => seen(rig, word)[0];
    expect(type(0x40123c7e)).toBe(5);
    expect(type(0x40120c7d)).toBe(7);
    expect(type(0x40121c3d)).toBe(5);
    // Bit 12 of a small page is an address bit.
    expect(type(0x40121c3e)).toBe(7);
  });

  /** Bank 0 with the kernel's PRRR and NMRR unless told; machine id 0 routed to it. */
  function attached(setup: BankSetup = {}): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, { prrr: PRRR_LINUX, nmrr: NMRR_LINUX, ...setup });
    return rig;
  }
});

/** A small page with full access: TEX in bits 8:6, C and B in 3:2, S in 10. */
function descriptor(texCb: number, s: number): number {
  return (PAGE | 0x832 | ((texCb >>> 2) << 6) | ((texCb & 3) << 2) | (s << 10)) >>> 0;
}

/** Maps IOVA with one second-level word, and says what PAR and the transaction make of it. */
function seen(rig: Rig, word: number): Outcome {
  rig.second(IOVA, word);
  rig.flush();
  const par = rig.probe(0, IOVA);
  if (rig.translate(0, IOVA) !== 'done') throw new Error('the access does not pass');
  const { memoryType, shareability } = rig.translated();
  return [(par >>> 4) & 7, (par >>> 7) & 1, (par >>> 10) & 1, memoryType, shareability];
}
