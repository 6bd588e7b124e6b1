/**
 * Translations worked out by hand from the descriptor words that the Linux drivers write, generation by generation
 * (R37, R41 to R43), and the sizes a leaf has (R63).
 */
import { expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { AFF, FAULT, SL } from './support/fault-bits.ts';
import { HIGH, NMRR_LINUX, PRRR_LINUX, regs, type BankSetup, type Rig } from './support/rig.ts';

/** 2010: TEX remap with empty tables. 2011 to 2015: those of the CPU. From 2018 on: the page-table library's. */
const EMPTY: BankSetup = { sctlr: 3, prrr: 0, nmrr: 0 };
const LINUX: BankSetup = { sctlr: 3, prrr: PRRR_LINUX, nmrr: NMRR_LINUX };
const LIBRARY: BankSetup = { sctlr: 7, prrr: 0x800b8204, nmrr: 0x40004000 };

/** Addresses of the four sizes in the order small, large, section, supersection, and where they lead. */
const IOVAS = [0x12345678, 0x1246a678, 0x125bcde0, 0x13abcde0] as const;
const ADDRESSES = [0x87654678, 0x8765a678, 0x876bcde0, 0x89abcde0] as const;
/** PAR[31:12]; of a supersection PAR[31:24] and zeros. */
const PAR_PAGES = [0x87654000, 0x8765a000, 0x87600000 + 0xbc000, 0x89000000] as const;

type Words = readonly [small: number, large: number, section: number, supersection: number];
/** Rights of privileged read, privileged write, user read, user write. */
type Rights = readonly [number, number, number, number];
const ALL: Rights = [1, 1, 1, 1];
const READ: Rights = [1, 0, 1, 0];
const PRIVILEGED: Rights = [1, 1, 0, 0];

/** PAR[10:4] of a type: MT, SH, NOS. The types of a row are those of its four sizes. */
const STRONGLY_ORDERED = 0x090;
const DEVICE_OUTER = 0x0b0;
const NORMAL_OUTER = 0x080;
const NORMAL_INNER = 0x480;
const WRITE_BACK = 0x4d0;
const WRITE_THROUGH = 0x4e0;
const WRITE_BACK_NO_ALLOCATE = 0x4f0;

type Row = readonly [
  writer: string,
  setup: BankSetup,
  words: Words,
  rights: Rights,
  types: Words,
  isExecutable: boolean,
];

const ROWS: readonly Row[] = [
  [
    '2010, any protection',
    EMPTY,
    [0x87654432, 0x87650431, 0x87610c02, 0x89050c02],
    ALL,
    [STRONGLY_ORDERED, STRONGLY_ORDERED, STRONGLY_ORDERED, STRONGLY_ORDERED],
    true,
  ],
  [
    '2011 class 1, non-cached',
    LINUX,
    [0x87654c36, 0x87650c35, 0x87630c06, 0x89070c06],
    ALL,
    [NORMAL_INNER, NORMAL_INNER, NORMAL_INNER, NORMAL_INNER],
    true,
  ],
  [
    '2011 class 2, write-through',
    LINUX,
    [0x87654c3a, 0x87650c39, 0x87630c0a, 0x89070c0a],
    ALL,
    [WRITE_THROUGH, WRITE_THROUGH, WRITE_THROUGH, WRITE_THROUGH],
    true,
  ],
  [
    '2011 class 3, write-back without allocation',
    LINUX,
    [0x87654c3e, 0x87650c3d, 0x87630c0e, 0x89070c0e],
    ALL,
    [WRITE_BACK_NO_ALLOCATE, WRITE_BACK_NO_ALLOCATE, WRITE_BACK_NO_ALLOCATE, WRITE_BACK_NO_ALLOCATE],
    true,
  ],
  [
    // Bit 6 is not TEX[0] of a large page: that one comes out as class 3 (R43).
    '2011 class 7, write-back',
    LINUX,
    [0x87654c7e, 0x87650c7d, 0x87631c0e, 0x89071c0e],
    ALL,
    [WRITE_BACK, WRITE_BACK_NO_ALLOCATE, WRITE_BACK, WRITE_BACK],
    true,
  ],
  [
    'vendor read-only, non-cached',
    LINUX,
    [0x87654e36, 0x87650e35, 0x87638c06, 0x89078c06],
    READ,
    [NORMAL_INNER, NORMAL_INNER, NORMAL_INNER, NORMAL_INNER],
    true,
  ],
  [
    'library read-write',
    LIBRARY,
    [0x87654c72, 0x87651c31, 0x87631c02, 0x89071c02],
    ALL,
    [NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER],
    true,
  ],
  [
    'library read-only',
    LIBRARY,
    [0x87654e72, 0x87651e31, 0x87639c02, 0x89079c02],
    READ,
    [NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER],
    true,
  ],
  [
    'library cached',
    LIBRARY,
    [0x87654c7e, 0x87651c3d, 0x87631c0e, 0x89071c0e],
    ALL,
    [WRITE_BACK, WRITE_BACK, WRITE_BACK, WRITE_BACK],
    true,
  ],
  [
    'library cached, no execution',
    LIBRARY,
    [0x87654c7f, 0x87659c3d, 0x87631c1e, 0x89071c1e],
    ALL,
    [WRITE_BACK, WRITE_BACK, WRITE_BACK, WRITE_BACK],
    false,
  ],
  [
    'library read-only, no execution',
    LIBRARY,
    [0x87654e73, 0x87659e31, 0x87639c12, 0x89079c12],
    READ,
    [NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER],
    false,
  ],
  [
    'library device',
    LIBRARY,
    [0x87654c36, 0x87650c35, 0x87630c06, 0x89070c06],
    ALL,
    [DEVICE_OUTER, DEVICE_OUTER, DEVICE_OUTER, DEVICE_OUTER],
    true,
  ],
  [
    'library privileged',
    LIBRARY,
    [0x87654c52, 0x87651c11, 0x87631402, 0x89071402],
    PRIVILEGED,
    [NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER, NORMAL_OUTER],
    true,
  ],
];

underEveryReading((make, readings) => {
  test.each(ROWS)('R37 golden words: %s', (_writer, setup, words, rights, types, isExecutable) => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0, setup);
    place(rig, words);
    IOVAS.forEach((va, i) => {
      const by = [{ isPrivileged: true }, { isPrivileged: true, isWrite: true }, {}, { isWrite: true }].map(
        (access) => rig.addressOf(0, va, access),
      );
      expect([va, by]).toEqual([va, rights.map((right) => (right === 1 ? ADDRESSES[i] : 'faulted'))]);
      const fetched = rig.addressOf(0, va, { isInstruction: true, isPrivileged: true });
      expect([va, fetched]).toEqual([va, isExecutable ? ADDRESSES[i] : 'faulted']);
      const superBit = i === 3 ? 2 : 0;
      expect([va, rig.probe(0, va)]).toEqual([va, PAR_PAGES[i]! + types[i]! + superBit]);
    });
  });

  test('R37 golden words: the library without permission bits is an access flag fault', () => {
    const rig = make();
    rig.attach(0, LIBRARY);
    place(rig, [0x87654c42, 0x87651c01, 0x87631002, 0x89071002]);
    expect(IOVAS.map((va) => rig.probe(0, va))).toEqual([
      FAULT | AFF | SL,
      FAULT | AFF | SL,
      FAULT | AFF,
      FAULT | AFF,
    ]);
  });

  test('R37 golden words: the non-secure bits of table pointer, section and supersection show in PAR', () => {
    const rig = make();
    rig.attach(0, LIBRARY);
    place(rig, [0x87654c72, 0x87651c31, 0x876b1c02, 0x890f1c02]);
    expect(IOVAS.map((va) => rig.probe(0, va) & 0x200)).toEqual([0, 0, 0x200, 0x200]);
    rig.flush();
    // The pointers of the two second-level tables, with bit 3.
    rig.first(0x12300000, 0x40010009);
    rig.first(0x12400000, 0x40010409);
    expect(IOVAS.map((va) => rig.probe(0, va) & 0x200)).toEqual([0x200, 0x200, 0x200, 0x200]);
  });

  test('R37 bits 23:20 and 8:5 of a supersection are PA[35:32] and PA[39:36], or do not count', () => {
    const rig = make();
    const isLong = readings.supersections === '40-bit';
    rig.route(0, 0);
    rig.attach(0);
    // 0x41000000, 0x9 in bits 23:20, 0xA in bits 8:5, class 1, full access.
    rig.first(0x13100000, 0x41970d46);
    expect(rig.addressOf(0, 0x13123458)).toBe(isLong ? 0xa941123458 : 0x41123458);
    expect(rig.probe(0, 0x13123000)).toBe(0x41000482);
    rig.put(regs.TLBRSW.offset, (rig.get(0, regs.V2PSR) >>> 8) & 0xff);
    expect(rig.at(regs.TLBTR1.offset) >>> 24).toBe(0x41);
    rig.word(HIGH + 0x10, 0x0f40);
    rig.word(0x41000010, 0x0f32);
    expect(rig.load(0, 0x13000010)).toBe(isLong ? 0x0f40 : 0x0f32);
  });

  test('R37 the TLB keeps all bits of a supersection’s address, of one after another in the same entry', () => {
    const rig = make({ tlbEntries: 1, tlbWays: 1 });
    rig.route(0, 0);
    rig.attach(0);
    const isExtended = readings.supersections === '40-bit';
    // PA[35:32] in bits 23:20: one supersection for each, each looked up twice.
    for (const high of [5, 1, 0, 2]) {
      rig.first(0x01000000, 0x87040c02 | (high << 20));
      rig.flush();
      const expected = 0x87000000 + (isExtended ? high * 0x100000000 : 0);
      expect(rig.addressOf(0, 0x01000000)).toBe(expected);
      expect(rig.addressOf(0, 0x01000000)).toBe(expected);
    }
  });

  test('R37 the same bits of a section belong to its address and its domain', () => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    rig.first(0x13100000, 0x41930d46);
    expect(rig.addressOf(0, 0x13123458)).toBe(0x41923458);
  });

  test.each([
    ['4 KiB', 0x00140000, 0x1000, 0x40123c36],
    ['64 KiB', 0x00140000, 0x10000, 0x40120c35],
    ['1 MiB', 0x01000000, 0x100000, 0x41130c06],
    ['16 MiB', 0x02000000, 0x1000000, 0x42070c06],
  ])('R63 a leaf of %s translates that many bytes and not one more', (_name, iova, sizeBytes, word) => {
    const rig = make();
    rig.route(0, 0);
    rig.attach(0);
    const isSecond = sizeBytes < 0x100000;
    if (isSecond) rig.second(iova, word);
    else rig.first(iova, word);
    const base = rig.addressOf(0, iova) as number;
    // Only the TLB can answer from here on.
    if (isSecond) rig.second(iova, 0);
    else rig.first(iova, 0);
    for (const offset of [4, sizeBytes / 2, sizeBytes - 4]) {
      expect(rig.addressOf(0, iova + offset)).toBe(base + offset);
    }
    expect([rig.addressOf(0, iova + sizeBytes), rig.addressOf(0, iova - 4)]).toEqual(['faulted', 'faulted']);
  });
});

/** Puts the four leaves where `IOVAS` are looked up. */
function place(rig: Rig, [small, large, section, supersection]: Words): void {
  rig.second(IOVAS[0], small, 0x40010000);
  rig.second(IOVAS[1], large, 0x40010400);
  rig.first(IOVAS[2], section);
  rig.first(IOVAS[3], supersection);
}
