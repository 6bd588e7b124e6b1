/** What a descriptor allows, and its access flag (R41). */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { AFF, APF, FAULT, SL } from './support/fault-bits.ts';
import { ACTLR_NO_STALL, SECOND, TABLE, regs, type BankSetup, type Rig } from './support/rig.ts';

/** SCTLR: M and TRE; the fields that follow. */
const ON = 0x3;
const AFE = 0x4;
const HAF = 0x8;
const BE = 0x10;
const AFFD = 0x20;

/** Rights by AP[2:0]: privileged read, privileged write, user read, user write. */
const WITHOUT_FLAG = ['----', 'rw--', 'rwr-', 'rwrw', '----', 'r---', 'r-r-', 'r-r-'];
/** With AFE=1 AP[0] is the flag; here it is 1. */
const WITH_FLAG: Record<number, string> = { 1: 'rw--', 3: 'rwrw', 5: 'r---', 7: 'r-r-' };

/** A leaf of each size at IOVA 0x00100000 (or the supersection's first one), without AP: class 1, S=1, nG=1. */
const SIZES = [
  { name: 'small page', va: 0x00100000, word: 0x40123c06, address: 0x40123000, isSecond: true },
  { name: 'large page', va: 0x00100000, word: 0x40120c05, address: 0x40120000, isSecond: true },
  { name: 'section', va: 0x00100000, word: 0x41130006, address: 0x41100000, isSecond: false },
  { name: 'supersection', va: 0x01000000, word: 0x42070006, address: 0x42000000, isSecond: false },
] as const;
type Size = (typeof SIZES)[number];

underEveryReading((make, readings) => {
  const updates = readings.hardwareAccessFlag === 'updates';

  for (const size of SIZES) {
    test(`R41 AFE=0: AP[2:0] of a ${size.name} gives the rights, and 100 gives none`, () => {
      const rig = attached(size, { sctlr: ON });
      expect(WITHOUT_FLAG.map((_, ap) => rightsOf(rig, size, ap))).toEqual(WITHOUT_FLAG);
    });

    test(`R41 AFE=1: AP[2:1] of a ${size.name} gives the rights, and AP[0]=0 is AFF whatever they are`, () => {
      const rig = attached(size, { sctlr: ON | AFE });
      for (const ap of [1, 3, 5, 7]) expect([ap, rightsOf(rig, size, ap)]).toEqual([ap, WITH_FLAG[ap]]);
      for (const ap of [0, 2, 4, 6]) expect([ap, faultOf(rig, size, ap)]).toEqual([ap, AFF | level(size)]);
    });

    test(`R41 AFFD=1: AP[0]=0 of a ${size.name} is no fault, AP[2:1] gives the rights, the word stays`, () => {
      const rig = attached(size, { sctlr: ON | AFE | AFFD });
      for (const ap of [0, 2, 4, 6]) {
        expect([ap, rightsOf(rig, size, ap)]).toEqual([ap, WITH_FLAG[ap + 1]]);
        expect(rig.peek(wordAt(size))).toBe(withRights(size, ap));
      }
    });

    test(`R41 HAF=1: the walker sets AP[0] of a ${size.name} in memory, or AFF if it is so read`, () => {
      for (const endian of [0, BE]) {
        const rig = mapped(size, 2, { sctlr: ON | AFE | HAF | endian });
        expect(rig.addressOf(0, size.va)).toBe(updates ? size.address : 'faulted');
        expect(rig.get(0, regs.FSR)).toBe(updates ? 0 : AFF | level(size));
        const word = rig.peek(wordAt(size));
        const expected = withRights(size, updates ? 3 : 2);
        expect(endian === 0 ? word : swapped(word)).toBe(expected);
      }
    });
  }

  test('R41 HAF=1 changes the replica that the address selects and no other', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, { sctlr: ON | AFE | HAF });
    for (let i = 0; i < 16; i++) rig.second(0x00110000 + i * 0x1000, 0x40120c25);
    rig.translate(0, 0x00113000);
    const words = Array.from({ length: 16 }, (_, i) => rig.peek(SECOND + (0x10 + i) * 4));
    expect(words).toEqual(words.map((_, i) => (updates && i === 3 ? 0x40120c35 : 0x40120c25)));
  });

  test('R41 HAF=1: a flag that is set through the CPU’s cache is seen by the CPU', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, { sctlr: ON | AFE | HAF, ttbr0: TABLE | 0x6a });
    rig.cacheWord(TABLE + 4, 0x41130806);
    expect(rig.addressOf(0, 0x00100000)).toBe(updates ? 0x41100000 : 'faulted');
    expect(rig.cache.cached.read32((TABLE + 4) as never)).toBe(updates ? 0x41130c06 : 0x41130806);
  });

  test('R41 HAF=1: a V2P walks as an access does, and sets the flag too', () => {
    const rig = mapped(SIZES[0], 2, { sctlr: ON | AFE | HAF });
    expect(rig.probe(0, 0x00100000) & 0xfffff0ff).toBe(updates ? 0x40123080 : FAULT | AFF | SL);
    expect(rig.peek(SECOND)).toBe(updates ? 0x40123c36 : 0x40123c26);
  });

  test('R41 HAF=1 without AFE, and with the flag set already, writes nothing', () => {
    for (const [sctlr, ap] of [
      [ON | HAF, 2],
      [ON | AFE | HAF, 3],
    ] as const) {
      const rig = mapped(SIZES[2], ap, { sctlr });
      expect(rig.addressOf(0, 0x00100000)).toBe(SIZES[2].address);
      expect(rig.peek(TABLE + 4)).toBe(withRights(SIZES[2], ap));
    }
  });

  test('R41 HAF=1 and AFFD=1: no fault either way', () => {
    const rig = mapped(SIZES[0], 2, { sctlr: ON | AFE | HAF | AFFD });
    expect(rig.addressOf(0, 0x00100000)).toBe(0x40123000);
    expect(rig.get(0, regs.FSR)).toBe(0);
  });

  test('R41 execute-never stops an instruction fetch and nothing else', () => {
    for (const [word, isSecond] of [
      [0x40123c37, true],
      [0x40128c35, true],
      [0x41130c16, false],
      [0x42070c16, false],
    ] as const) {
      const rig = make();
      rig.route(0, 0);
      rig.attach(0);
      if (isSecond) rig.second(0x01008000, word);
      else rig.first(0x01000000, word);
      expect([rig.translate(0, 0x01008000), rig.translate(0, 0x01008000, { isWrite: true })]).toEqual([
        'done',
        'done',
      ]);
      expect(rig.get(0, regs.FSR)).toBe(0);
      expect(rig.translate(0, 0x01008000, { isInstruction: true })).toBe('faulted');
      expect(rig.get(0, regs.FSR)).toBe(isSecond ? APF | SL : APF);
      expect(rig.field(0, regs.FSYNR1, 'AINST')).toBe(1);
    }
  });

  test('R41 an instruction fetch needs the right to read', () => {
    const rig = mapped(SIZES[0], 1, { sctlr: ON });
    expect(rig.translate(0, 0x00100000, { isInstruction: true, isPrivileged: true })).toBe('done');
    expect(rig.translate(0, 0x00100000, { isInstruction: true })).toBe('faulted');
  });

  test('ACTLR.PRIVCFG 2 and 3 override the privilege, 0 takes what the master drives', () => {
    for (const [code, asUser, asPrivileged] of [
      [0, 'faulted', 'done'],
      [2, 'faulted', 'faulted'],
      [3, 'done', 'done'],
    ] as const) {
      const rig = mapped(SIZES[0], 1, { sctlr: ON, actlr: ACTLR_NO_STALL | (code << 8) });
      expect([code, rig.translate(0, 0x00100000)]).toEqual([code, asUser]);
      expect([code, rig.translate(0, 0x00100000, { isPrivileged: true })]).toEqual([code, asPrivileged]);
    }
  });

  /** Bank 0 with the table that holds the leaf, but no leaf; machine id 0 routed to it. */
  function attached(size: Size, setup: BankSetup): Rig {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, setup);
    const pointer = SECOND | 1;
    if (size.isSecond) rig.first(size.va, isBigEndian(setup) ? swapped(pointer) : pointer);
    return rig;
  }

  /** The same with the leaf in it. */
  function mapped(size: Size, ap: number, setup: BankSetup): Rig {
    const rig = attached(size, setup);
    const word = withRights(size, ap);
    rig.word(wordAt(size), isBigEndian(setup) ? swapped(word) : word);
    return rig;
  }
});

function isBigEndian(setup: BankSetup): boolean {
  return ((setup.sctlr ?? 0) & BE) !== 0;
}

/** AP[1:0] and AP[2] stand in bits 5:4 and 9 at the second level, in 11:10 and 15 at the first. */
function withRights(size: Size, ap: number): number {
  return size.isSecond
    ? size.word | ((ap & 3) << 4) | ((ap >>> 2) << 9)
    : size.word | ((ap & 3) << 10) | ((ap >>> 2) << 15);
}

function wordAt(size: Size): number {
  return size.isSecond ? SECOND : TABLE + (size.va >>> 20) * 4;
}

function level(size: Size): number {
  return size.isSecond ? SL : 0;
}

/** Maps the leaf with `ap`. */
function map(rig: Rig, size: Size, ap: number): void {
  rig.word(wordAt(size), withRights(size, ap));
  rig.flush();
}

/** Which of the four kinds of data access `ap` lets pass; the others must be permission faults of the right level. */
function rightsOf(rig: Rig, size: Size, ap: number): string {
  map(rig, size, ap);
  return [
    { isPrivileged: true, isWrite: false },
    { isPrivileged: true, isWrite: true },
    { isPrivileged: false, isWrite: false },
    { isPrivileged: false, isWrite: true },
  ]
    .map((access) => {
      rig.set(0, regs.FSR, 0xffffffff);
      if (rig.addressOf(0, size.va, access) === size.address) return access.isWrite ? 'w' : 'r';
      expect(rig.get(0, regs.FSR)).toBe(APF | level(size));
      return '-';
    })
    .join('');
}

/** The cause with which every access fails. */
function faultOf(rig: Rig, size: Size, ap: number): number {
  map(rig, size, ap);
  rig.set(0, regs.FSR, 0xffffffff);
  expect(rig.translate(0, size.va, { isPrivileged: true })).toBe('faulted');
  return rig.get(0, regs.FSR);
}

function swapped(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0;
}
