/**
 * Descriptors and what they come to, worked out by hand from the ARMv7 layout of short descriptors: every field of the
 * table pointer and of each leaf at its extremes. All numbers are literals. TEX remap and access flag are off.
 */
import { describe, expect, test } from '@jest/globals';
import { BUS_ERROR, InterruptLine, World, type BusAccess, type MemoryPort } from '@iommu-lab/machine';
import { MsmSmmu, type Readings } from '../src/index.ts';

const ACTLR = 0x0004;
const TTBR0 = 0x0010;
const PAR = 0x001c;
const SCTLR = 0x0000;
const V2P_ALL = [0x0810, 0x0814, 0x0818, 0x081c];
const V2PPR = 0x0810;
const GLOBAL_TLBIALL = 0xfff00;
/** TLBMCFG = V2PCFG = 3. */
const WALK_ALWAYS = 0x33000;
const TABLE = 0x00004000;

/** An instance behind which exactly `words` stand, with the first-level table at TABLE. */
class Bench {
  readonly smmu: MsmSmmu;

  constructor(words: Readonly<Record<number, number>>, readings: Partial<Readings> = {}) {
    const memory: MemoryPort = {
      read: () => false,
      write: () => false,
      read32: (address) => words[address] ?? BUS_ERROR,
      write32: () => false,
    };
    this.smmu = new MsmSmmu(
      new World(),
      { name: 'golden', contextBanks: 1, readings },
      {
        memory,
        snooped: memory,
        secureLine: new InterruptLine('secure'),
        nonSecureLine: new InterruptLine('non-secure'),
      },
    );
    this.smmu.write32(ACTLR, WALK_ALWAYS);
    this.smmu.write32(TTBR0, TABLE);
    this.smmu.write32(SCTLR, 1);
  }

  /** Where an access goes; undefined if nowhere. */
  address(va: number, isInstruction = false): number | undefined {
    this.smmu.write32(GLOBAL_TLBIALL, 0);
    const access: BusAccess = {
      address: va,
      data: new Uint8Array(1),
      offset: 0,
      length: 1,
      isWrite: false,
      streamId: 0,
      attributes: { isPrivileged: true, isInstruction, isSecure: false },
      masterName: 'golden',
      resume: () => {},
    };
    return this.smmu.translate(access) === 'done' ? this.smmu.translated.address : undefined;
  }

  par(va: number, probe: number = V2PPR): number {
    this.smmu.write32(GLOBAL_TLBIALL, 0);
    this.smmu.write32(probe, va);
    return this.smmu.read32(PAR);
  }

  /** Privileged read and write, user read and write: `rw--`. */
  rights(va: number): string {
    return V2P_ALL.map((probe, i) => (this.par(va, probe) % 2 === 0 ? 'rwrw'[i] : '-')).join('');
  }

  isGlobal(va: number): boolean {
    this.par(va);
    return this.smmu.tlbEntries()[0]?.asid === undefined;
  }
}

/** `leaf` in the first-level entry for `va`. */
const first = (leaf: number, va = 0): Record<number, number> => ({ [TABLE + (va >>> 20) * 4]: leaf });
/** A second-level table at 0x8000 holds `leaf` for VA[19:12] = `index`. */
const second = (leaf: number, index = 0): Record<number, number> => ({
  [TABLE]: 0x00008001,
  [0x00008000 + index * 4]: leaf,
});

/** AP[2:0] and the rights it gives, access flag off. */
const RIGHTS = ['----', 'rw--', 'rwr-', 'rwrw', '----', 'r---', 'r-r-', 'r-r-'];

/** PAR[10:0] by {TEX, C, B} without remap, first with S=0, then with S=1: inner type, SH; NOS and NS are 0. */
const MEMORY: readonly (readonly [string, number, number])[] = [
  ['000 0 0 strongly ordered', 0x090, 0x090],
  ['000 0 1 shareable device', 0x0b0, 0x0b0],
  ['000 1 0 write-through', 0x060, 0x0e0],
  ['000 1 1 write-back, no write-allocate', 0x070, 0x0f0],
  ['001 0 0 non-cacheable', 0x000, 0x080],
  ['001 0 1 reserved: strongly ordered', 0x090, 0x090],
  ['001 1 0 implementation defined: strongly ordered', 0x090, 0x090],
  ['001 1 1 write-back, write-allocate', 0x050, 0x0d0],
  ['010 0 0 non-shareable device', 0x030, 0x030],
  ['010 0 1 reserved: strongly ordered', 0x090, 0x090],
  ['010 1 0 reserved: strongly ordered', 0x090, 0x090],
  ['010 1 1 reserved: strongly ordered', 0x090, 0x090],
  ['011 0 0 reserved: strongly ordered', 0x090, 0x090],
  ['011 0 1 reserved: strongly ordered', 0x090, 0x090],
  ['011 1 0 reserved: strongly ordered', 0x090, 0x090],
  ['011 1 1 reserved: strongly ordered', 0x090, 0x090],
  ['100 0 0 outer NC, inner NC', 0x000, 0x080],
  ['100 0 1 outer NC, inner WB-WA', 0x050, 0x0d0],
  ['100 1 0 outer NC, inner WT', 0x060, 0x0e0],
  ['100 1 1 outer NC, inner WB', 0x070, 0x0f0],
  ['101 0 0 outer WB-WA, inner NC', 0x000, 0x080],
  ['101 0 1 outer WB-WA, inner WB-WA', 0x050, 0x0d0],
  ['101 1 0 outer WB-WA, inner WT', 0x060, 0x0e0],
  ['101 1 1 outer WB-WA, inner WB', 0x070, 0x0f0],
  ['110 0 0 outer WT, inner NC', 0x000, 0x080],
  ['110 0 1 outer WT, inner WB-WA', 0x050, 0x0d0],
  ['110 1 0 outer WT, inner WT', 0x060, 0x0e0],
  ['110 1 1 outer WT, inner WB', 0x070, 0x0f0],
  ['111 0 0 outer WB, inner NC', 0x000, 0x080],
  ['111 0 1 outer WB, inner WB-WA', 0x050, 0x0d0],
  ['111 1 0 outer WB, inner WT', 0x060, 0x0e0],
  ['111 1 1 outer WB, inner WB', 0x070, 0x0f0],
];

/** The leaves with nothing but full access, and their fields. */
const LEAVES = [
  {
    kind: 'section',
    words: (leaf: number) => first(leaf),
    plain: 0x00000c02,
    /** AP[2:0] = 0 .. 7 over a leaf without rights. */
    withAp: [0x2, 0x402, 0x802, 0xc02, 0x8002, 0x8402, 0x8802, 0x8c02],
    /** {TEX, C, B} = 0 .. 31 over full access. */
    texCb: (n: number) =>
      0x00000c02 + [0x0000, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000][n >> 2]! + (n % 4) * 4,
    shareable: 0x00010000,
    notGlobal: 0x00020000,
    executeNever: 0x00000010,
    /** Domain and the implementation defined bit: no meaning here. */
    ignored: 0x000003e0,
    supersection: 0,
  },
  {
    kind: 'supersection',
    words: (leaf: number) => first(leaf),
    plain: 0x00040c02,
    withAp: [0x40002, 0x40402, 0x40802, 0x40c02, 0x48002, 0x48402, 0x48802, 0x48c02],
    texCb: (n: number) =>
      0x00040c02 + [0x0000, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000][n >> 2]! + (n % 4) * 4,
    shareable: 0x00010000,
    notGlobal: 0x00020000,
    executeNever: 0x00000010,
    /** The implementation defined bit, and PA[39:32] as long as they do not count. */
    ignored: 0x00f003e0,
    supersection: 2,
  },
  {
    kind: 'large page',
    words: (leaf: number) => second(leaf),
    plain: 0x00000031,
    withAp: [0x01, 0x11, 0x21, 0x31, 0x201, 0x211, 0x221, 0x231],
    texCb: (n: number) =>
      0x00000031 + [0x0000, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000][n >> 2]! + (n % 4) * 4,
    shareable: 0x00000400,
    notGlobal: 0x00000800,
    executeNever: 0x00008000,
    /** Where a small page has its TEX: should be zero. */
    ignored: 0x000001c0,
    supersection: 0,
  },
  {
    kind: 'small page',
    words: (leaf: number) => second(leaf),
    plain: 0x00000032,
    withAp: [0x02, 0x12, 0x22, 0x32, 0x202, 0x212, 0x222, 0x232],
    texCb: (n: number) =>
      0x00000032 + [0x0000, 0x0040, 0x0080, 0x00c0, 0x0100, 0x0140, 0x0180, 0x01c0][n >> 2]! + (n % 4) * 4,
    shareable: 0x00000400,
    notGlobal: 0x00000800,
    executeNever: 0x00000001,
    ignored: 0,
    supersection: 0,
  },
] as const;

describe.each(LEAVES)(
  'a $kind',
  ({ words, plain, withAp, texCb, shareable, notGlobal, executeNever, ignored, supersection }) => {
    test('R41 AP[2:0] gives the four rights', () => {
      const rights = withAp.map((leaf) => new Bench(words(leaf)).rights(0));
      expect(rights).toEqual(RIGHTS);
    });

    test.each(MEMORY.map(([title, ...pars], n) => [title, n, pars] as const))(
      'R42, R43 TEX C B %s',
      (_, n, pars) => {
        const leaf = texCb(n);
        const seen = [leaf, leaf + shareable].map((word) => new Bench(words(word)).par(0) - supersection);
        expect(seen).toEqual(pars);
      },
    );

    test('R27 nG=0 is global, nG=1 is not', () => {
      expect([plain, plain + notGlobal].map((leaf) => new Bench(words(leaf)).isGlobal(0))).toEqual([
        true,
        false,
      ]);
    });

    test('R41 XN stops instruction fetches and nothing else', () => {
      const fetched = [plain, plain + executeNever].map((leaf) => new Bench(words(leaf)).address(0, true));
      expect(fetched).toEqual([0, undefined]);
      expect(new Bench(words(plain + executeNever)).address(0)).toBe(0);
    });

    test('R40 the fields that do not count change nothing', () => {
      const seen = [plain, plain + ignored].map((leaf) => {
        const bench = new Bench(words(leaf));
        return [bench.par(0x00000fff), bench.rights(0), bench.address(0x00000fff), bench.address(0, true)];
      });
      expect(seen).toEqual([
        [0x090 + supersection, 'rwrw', 0xfff, 0],
        [0x090 + supersection, 'rwrw', 0xfff, 0],
      ]);
    });
  },
);

describe('addresses', () => {
  test.each<[string, Record<number, number>, number, number]>([
    ['a section at 0, first byte', first(0x00000c02), 0x00000000, 0x00000000],
    ['a section at 0, last byte', first(0x00000c02), 0x000fffff, 0x000fffff],
    ['a section with PA[31:20] all ones, first byte', first(0xfff00c02), 0x00000000, 0xfff00000],
    ['a section with PA[31:20] all ones, last byte', first(0xfff00c02), 0x000fffff, 0xffffffff],
    ['a section with PA[20] alone', first(0x00100c02), 0x00012345, 0x00112345],
    ['a section with PA[31] alone', first(0x80000c02), 0x00012345, 0x80012345],
    ['a section of the last first-level entry', first(0x87600c02, 0xffffffff), 0xffffffff, 0x876fffff],
    ['a supersection at 0, last byte', first(0x00040c02, 0x00f00000), 0x00ffffff, 0x00ffffff],
    ['a supersection with PA[31:24] all ones, first byte', first(0xff040c02), 0x00000000, 0xff000000],
    [
      'a supersection with PA[31:24] all ones, last byte',
      first(0xff040c02, 0x00f00000),
      0x00ffffff,
      0xffffffff,
    ],
    ['a supersection with PA[24] alone', first(0x01040c02, 0x00100000), 0x00123456, 0x01123456],
    ['a supersection at the end of the address space', first(0x89040c02, 0xffabcdef), 0xffabcdef, 0x89abcdef],
    ['a large page at 0, last byte', second(0x00000031, 0x0f), 0x0000ffff, 0x0000ffff],
    ['a large page with PA[31:16] all ones, first byte', second(0xffff0031), 0x00000000, 0xffff0000],
    ['a large page with PA[31:16] all ones, last byte', second(0xffff0031, 0x0f), 0x0000ffff, 0xffffffff],
    ['a large page with PA[16] alone', second(0x00010031, 0x01), 0x00001234, 0x00011234],
    ['a large page in the last second-level entry', second(0x12340031, 0xff), 0x000fffff, 0x1234ffff],
    ['a small page at 0, last byte', second(0x00000032), 0x00000fff, 0x00000fff],
    ['a small page with PA[31:12] all ones, first byte', second(0xfffff032), 0x00000000, 0xfffff000],
    ['a small page with PA[31:12] all ones, last byte', second(0xfffff032), 0x00000fff, 0xffffffff],
    ['a small page with PA[12] alone', second(0x00001032), 0x00000abc, 0x00001abc],
    ['a small page with PA[15] alone: XN of a large page', second(0x00008032), 0x00000abc, 0x00008abc],
    ['a small page with XN, bit 0 of its type', second(0x87654033), 0x00000678, 0x87654678],
    ['a small page in the last second-level entry', second(0x87654032, 0xff), 0x000ff678, 0x87654678],
  ])('R37 %s', (_, words, va, address) => {
    expect(new Bench(words).address(va)).toBe(address);
  });

  test.each<[string, Record<number, number>, number, number]>([
    [
      'the worked example of a small page',
      { 0x448c: 0x00008001, 0x8114: 0x87654032 },
      0x12345678,
      0x87654090,
    ],
    ['a section: PA[19:12] from the address', { 0x448c: 0x87600c02 }, 0x12345678, 0x87645090],
    [
      'a large page: PA[15:12] from the address',
      { 0x448c: 0x00008001, 0x8114: 0x87650031 },
      0x12345678,
      0x87655090,
    ],
    ['the worked example of a supersection', { 0x44a8: 0x89040c02 }, 0x12abcdef, 0x89000092],
    ['a section with NS, bit 19', { 0x448c: 0x87680c02 }, 0x12345678, 0x87645290],
    ['a supersection with NS, bit 19', { 0x44a8: 0x890c0c02 }, 0x12abcdef, 0x89000292],
    ['a table pointer with NS, bit 3', { 0x448c: 0x00008009, 0x8114: 0x87654032 }, 0x12345678, 0x87654290],
  ])('R11, R12 PAR of %s', (_, words, va, par) => {
    expect(new Bench(words).par(va)).toBe(par);
  });
});

describe('the table pointer', () => {
  test.each<[string, Record<number, number>, number]>([
    ['base 0', { [TABLE]: 0x00000001, 0x00000000: 0x11111032 }, 0x00000000],
    ['base 0, last entry', { [TABLE]: 0x00000001, 0x000003fc: 0x11111032 }, 0x000ff000],
    ['base bits 31:10 all ones', { [TABLE]: 0xfffffc01, 0xfffffc00: 0x11111032 }, 0x00000000],
    ['base bits 31:10 all ones, last entry', { [TABLE]: 0xfffffc01, 0xfffffffc: 0x11111032 }, 0x000ff000],
    ['base bit 10 alone', { [TABLE]: 0x00000401, 0x00000404: 0x11111032 }, 0x00001000],
    ['base bit 31 alone', { [TABLE]: 0x80000001, 0x80000200: 0x11111032 }, 0x00080000],
    [
      'bits 9:2 all ones: domain, NS and what should be zero',
      { [TABLE]: 0x000083fd, 0x00008000: 0x11111032 },
      0x00000000,
    ],
  ])('R36, R40 %s', (_, words, va) => {
    expect(new Bench(words).address(va)).toBe(0x11111000);
  });
});

describe('PA[39:32] of a supersection', () => {
  const ROWS: readonly (readonly [string, number, number])[] = [
    ['PA[32], bit 20', 0x00140c02, 0x01_00123456],
    ['PA[33], bit 21', 0x00240c02, 0x02_00123456],
    ['PA[34], bit 22', 0x00440c02, 0x04_00123456],
    ['PA[35], bit 23', 0x00840c02, 0x08_00123456],
    ['PA[36], bit 5', 0x00040c22, 0x10_00123456],
    ['PA[37], bit 6', 0x00040c42, 0x20_00123456],
    ['PA[38], bit 7', 0x00040c82, 0x40_00123456],
    ['PA[39], bit 8', 0x00040d02, 0x80_00123456],
    ['PA[39:24] all ones', 0xfff40de2, 0xff_ff123456],
  ];

  test.each(ROWS)('R37 counts in a 40-bit instance: %s', (_, leaf, address) => {
    const bench = new Bench(first(leaf, 0x00100000), { supersections: '40-bit' });
    expect(bench.address(0x00123456)).toBe(address);
    // PAR has no place for it.
    expect(bench.par(0x00123456)).toBe(leaf >= 0xff000000 ? 0xff000092 : 0x00000092);
  });

  test.each(ROWS)('R37 does not count in a 32-bit instance: %s', (_, leaf) => {
    const bench = new Bench(first(leaf, 0x00100000), { supersections: '32-bit' });
    expect(bench.address(0x00123456)).toBe(leaf >= 0xff000000 ? 0xff123456 : 0x00123456);
  });

  test('R37 a section has no such bits: its domain and PA[23:20] stay what they are', () => {
    const bench = new Bench(first(0x00f00de2), { supersections: '40-bit' });
    expect(bench.address(0x00012345)).toBe(0x00f12345);
  });
});

describe('first-level types', () => {
  test.each<[string, number, number | undefined]>([
    ['00 with all other bits set', 0xfffffffc, undefined],
    ['11 with all other bits set', 0xffffffff, undefined],
    ['10 with bit 18 clear is a section', 0x00300c02, 0x00300000],
    ['10 with bit 18 set is a supersection', 0x00340c02, 0x00000000],
  ])('R36 %s', (_, word, address) => {
    expect(new Bench(first(word)).address(0)).toBe(address);
  });
});
