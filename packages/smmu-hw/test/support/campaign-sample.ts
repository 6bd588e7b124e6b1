/**
 * Random boards for the campaign against the oracle: how one instance reads the open points, what its memory holds,
 * and the cases tried on it. A sample is a heap of random words, so that fast-check shrinks it; each field is cut out
 * of a word such that 0 means the ordinary. A board has no words at addresses: what stands at an address is a card of
 * a deck, chosen by a hash of the address, so that every table base and every index finds a descriptor, and a wrong
 * address another one.
 */
import fc from 'fast-check';
import { OPEN_POINTS, resolveReadings, type ReadingName, type Readings } from '../../src/readings.ts';

/** What answers at a word: its value (as a little-endian port reads it), or how it fails. */
export type Cell = number | 'nothing' | 'refuses';

/** Registers of one case, as they are written. */
export interface CaseRegisters {
  readonly sctlr: number;
  readonly actlr: number;
  readonly contextidr: number;
  readonly ttbr0: number;
  readonly ttbr1: number;
  readonly ttbcr: number;
  readonly prrr: number;
  readonly nmrr: number;
  readonly bfbcr: number;
  readonly cbacr: number;
  readonly cr: number;
  readonly m2vcbr: number;
  /** Written to FSRRESTORE and ESRRESTORE before the access. */
  readonly fsr: number;
  readonly esr: number;
}

/** One access and what is done around it. */
export interface Case {
  readonly registers: CaseRegisters;
  readonly mid: number;
  readonly address: number;
  readonly length: number;
  readonly isWrite: boolean;
  readonly isPrivileged: boolean;
  readonly isInstruction: boolean;
  readonly isSecure: boolean;
  /** By `translate` alone, or by `access`, which moves the bytes. */
  readonly isAddressPhaseOnly: boolean;
  /** The physical address refuses the access itself. */
  readonly aborts: boolean;
  /** The V2P afterwards finds the TLB emptied. */
  readonly isProbeCold: boolean;
  /** Low bits of what is written to V2Pxx. */
  readonly probeIndex: number;
  /** The table changes under entries that the TLB holds. */
  readonly change: Change | undefined;
}

/**
 * The tables change under an entry that the TLB holds. First the case's address is mapped by a leaf of size code `from`
 * and accessed. Then a leaf of the larger size code `to` stands there, and
 * - `overlap`: another page of it is accessed, so that two entries cover the case's address;
 * - `global`: it is accessed in another address space as a global page, with the same effect;
 * - `stale`: nothing more happens, but that memory types and the access flag are set up otherwise.
 */
export interface Change {
  readonly kind: 'overlap' | 'global' | 'stale';
  readonly from: number;
  readonly to: number;
  readonly fromLeaf: number;
  readonly toLeaf: number;
  readonly pointers: readonly [number, number];
  /** GLOBAL_TLBIALL after the first access. */
  readonly invalidates: boolean;
}

/** A board: one instance, its memory, what is tried. */
export interface Sample {
  readonly readings: Readings;
  readonly banks: number;
  readonly bank: number;
  readonly streams: number;
  readonly fetchBlocks: number;
  /** What stands in the lower half of the address space, and in the upper one. */
  readonly first: readonly Cell[];
  readonly second: readonly Cell[];
  readonly cases: readonly Case[];
}

/** Most cases a board gets; on average it is about the half of that. */
const MOST_CASES = 96;
const CARDS = 32;
const BOARD_WORDS = 12;
const CASE_WORDS = 28;

/** Some random words. fast-check's own arrays of integers make an object of each, and there are millions. */
class Words extends fc.Arbitrary<readonly number[]> {
  readonly #count: number;

  constructor(count: number) {
    super();
    this.#count = count;
  }

  override generate(random: fc.Random): fc.Value<readonly number[]> {
    return new fc.Value(
      Array.from({ length: this.#count }, () => random.nextInt() >>> 0),
      undefined,
    );
  }

  override canShrinkWithoutContext(value: unknown): value is readonly number[] {
    return Array.isArray(value);
  }

  override shrink(words: readonly number[]): fc.Stream<fc.Value<readonly number[]>> {
    return fc.stream(smallerWords(words)).map((smaller) => new fc.Value(smaller, undefined));
  }
}

/** `words` with one of them smaller: 0 first, then half of its bits, then fewer. */
function* smallerWords(words: readonly number[]): Generator<readonly number[]> {
  for (const smaller of [() => 0, (word: number) => word >>> 16, halved, withoutLowestBit]) {
    for (const [i, word] of words.entries()) if (word !== 0) yield words.with(i, smaller(word));
  }
}

const halved = (word: number): number => word >>> 1;
const withoutLowestBit = (word: number): number => (word & (word - 1)) >>> 0;

/** Random samples. */
export const samples: fc.Arbitrary<Sample> = fc
  .record({
    board: new Words(BOARD_WORDS),
    first: new Words(2 * CARDS),
    second: new Words(2 * CARDS),
    cases: fc.array(new Words(CASE_WORDS), { minLength: 1, maxLength: MOST_CASES, size: 'max' }),
  })
  .map(({ board, first, second, cases }) => {
    const draw = new Draw(board);
    const readings = drawReadings(draw);
    const banks = 1 + draw.below(4);
    const bank = draw.below(banks);
    const streams = draw.oneOf([32, 512, 1]);
    const fetchBlocks = draw.percent(15) ? 1 + draw.below(16) : 0;
    return {
      readings,
      banks,
      bank,
      streams,
      fetchBlocks,
      first: deck(first, firstLevelCell),
      second: deck(second, secondLevelCell),
      cases: cases.map((drawn) => drawCase(new Draw(drawn), banks, bank, streams)),
    };
  });

/** Card of the deck for a word's address. */
export function cardAt(sample: Sample, address: number): Cell {
  const deck = address < 0x80000000 ? sample.first : sample.second;
  return deck[Math.imul(address >>> 2, 0x9e3779b1) >>> 27] as Cell;
}

/** Cuts small choices out of random words, in order; from a word that is 0, each comes out 0. */
class Draw {
  readonly #words: readonly number[];
  #at = -1;
  #rest = 0;
  #range = 1;

  constructor(from: readonly number[]) {
    this.#words = from;
  }

  /** 0 .. count - 1. */
  below(count: number): number {
    if (this.#range < count * 64) {
      this.#rest = this.whole() >>> 2;
      this.#range = 2 ** 30;
    }
    const value = this.#rest % count;
    this.#rest = (this.#rest / count) | 0;
    this.#range = (this.#range / count) | 0;
    return value;
  }

  /** True for about `share` of a hundred; false from 0. */
  percent(share: number): boolean {
    return this.below(100) >= 100 - share;
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** A whole word. */
  whole(): number {
    this.#at++;
    return this.#words[this.#at % this.#words.length] as number;
  }
}

function drawReadings(draw: Draw): Readings {
  const names = Object.keys(OPEN_POINTS) as ReadingName[];
  const chosen = names
    .filter(() => draw.percent(25))
    .map((name) => [name, draw.oneOf<string | number>(OPEN_POINTS[name].values.slice(1))]);
  return resolveReadings(Object.fromEntries(chosen) as Partial<Readings>);
}

/** Mostly full access with the access flag set, else any of the eight. */
function drawAp(draw: Draw): number {
  return draw.percent(33) ? draw.below(8) : 3;
}

function leafOfFirstLevel(bits: number, ap: number): number {
  return ((bits & ~0x8c03) | 2 | ((ap & 3) << 10) | ((ap >> 2) << 15)) >>> 0;
}

function leafOfSecondLevel(bits: number, ap: number, type: number): number {
  return ((bits & ~0x233) | type | ((ap & 3) << 4) | ((ap >> 2) << 9)) >>> 0;
}

/** Cards of a deck, each from two words. */
function deck(words: readonly number[], cell: (draw: Draw, bits: number) => Cell): readonly Cell[] {
  return Array.from({ length: CARDS }, (_, i) =>
    cell(new Draw([words[2 * i] as number]), words[2 * i + 1] as number),
  );
}

function firstLevelCell(draw: Draw, bits: number): Cell {
  const kind = draw.below(100);
  const ap = drawAp(draw);
  if (kind < 38) return leafOfFirstLevel(bits, ap);
  // The second level stands in the upper half.
  if (kind < 90) return ((bits & ~3) | 0x80000001) >>> 0;
  if (kind < 94) return ((bits & ~3) | (draw.below(2) * 3)) >>> 0;
  return kind < 97 ? 'nothing' : 'refuses';
}

function secondLevelCell(draw: Draw, bits: number): Cell {
  const kind = draw.below(100);
  const ap = drawAp(draw);
  if (kind < 49) return leafOfSecondLevel(bits, ap, 2 + draw.below(2));
  if (kind < 85) return leafOfSecondLevel(bits, ap, 1);
  if (kind < 91) return (bits & ~3) >>> 0;
  return kind < 96 ? 'nothing' : 'refuses';
}

function drawCase(draw: Draw, banks: number, bank: number, streams: number): Case {
  const change = draw.percent(8) ? drawChange(draw) : undefined;
  // A change of tables says little if the access does not come as far as the TLB.
  const isPlain = change !== undefined;
  const rarely = (share: number): boolean => draw.percent(share) && !isPlain;

  const vmid = draw.below(32);
  const actlr =
    draw.below(2) | // CFERE
    (draw.below(2) << 1) | // CFEIE
    (draw.below(8) << 4) | // RCxSH
    ((draw.percent(30) ? draw.below(4) : 0) << 8) | // PRIVCFG
    ((rarely(4) ? draw.below(3) : 3) << 12) | // TLBMCFG
    ((draw.percent(5) ? 1 : 0) << 14) | // CFCFG
    ((draw.percent(20) ? draw.below(4) : 3) << 16) | // V2PCFG
    (draw.percent(30) ? draw.whole() & 0x00f48c0c : 0); // PTSHCFG, DNA, DNLV2PA, TIPCF, HUME, PTMxxx
  const sctlr =
    (rarely(6) ? 0 : 1) |
    (draw.below(4) << 1) | // TRE, AFE
    ((draw.percent(15) ? 1 : 0) << 3) | // HAF
    ((draw.percent(25) ? 1 : 0) << 4) | // BE
    ((draw.percent(15) ? 1 : 0) << 5); // AFFD
  const ttbcr = draw.below(8) | ((rarely(6) ? draw.below(4) : 0) << 4);
  const cr = ((rarely(4) ? 1 : 0) << 4) | ((draw.percent(20) ? 1 : 0) << 5) | (draw.below(16) << 6);
  const cbvmid = rarely(8) ? draw.below(32) : vmid;
  const cbndx = rarely(2) ? banks + draw.below(256 - banks) : bank;
  const mid = rarely(2) ? streams + draw.below(1000) : draw.below(streams);
  const cbacr =
    (draw.whole() & 0x31f) | (cbvmid << 16) | ((draw.percent(20) ? draw.below(256) : draw.below(2)) << 24);
  const m2vcbr =
    vmid |
    (cbndx << 8) |
    ((draw.percent(40) ? 1 : 0) << 16) | // BYPASSD
    (draw.below(32) << 17) | // BPRCxSH, BPSHCFG
    (draw.oneOf([3, 0, 2, 1]) << 22) | // NSCFG
    (draw.below(2) << 24) | // BPMTCFG
    (draw.oneOf([0, 1, 3, 5, 6, 7]) << 25); // BPMEMTYPE; 2 and 4 have no meaning
  const length = 1 + draw.below(64);
  const ranks = draw.below(8);
  const isPrivileged = draw.below(2) === 1;
  const isWrite = draw.below(2) === 1;
  const isInstruction = draw.percent(20);
  const isSecure = draw.below(2) === 1;
  const isAddressPhaseOnly = draw.below(2) === 1;
  const aborts = draw.percent(3);
  const isProbeCold = draw.below(2) === 1;
  const hasStatus = draw.percent(3);
  const hasError = draw.percent(3);
  const isLong = draw.percent(1) && !isPlain && ((actlr >>> 12) & 3) === 3;
  // Addresses with few bits set at the top are frequent: TTBCR.N looks at the top.
  const va = draw.whole() >>> ranks;
  const page = va - (va % 0x1000);
  const address = Math.min(va, page + 0x1000 - length) + (isLong ? 2 ** 32 : 0);
  return {
    registers: {
      sctlr,
      actlr: actlr >>> 0,
      contextidr: draw.whole(),
      // The first level stands in the lower half.
      ttbr0: draw.whole() & 0x7fffffff,
      ttbr1: draw.whole() & 0x7fffffff,
      ttbcr,
      prrr: draw.whole(),
      nmrr: draw.whole(),
      // A changed table is not seen through what was fetched ahead.
      bfbcr: isPlain ? 0 : draw.below(2),
      cbacr: cbacr >>> 0,
      cr,
      m2vcbr: m2vcbr >>> 0,
      fsr: hasStatus ? draw.whole() : 0,
      esr: hasError ? draw.whole() : 0,
    },
    mid,
    address,
    length,
    isWrite,
    isPrivileged,
    isInstruction,
    isSecure,
    isAddressPhaseOnly,
    aborts,
    isProbeCold,
    probeIndex: draw.below(0x1000),
    change,
  };
}

function drawChange(draw: Draw): Change {
  const kind = draw.oneOf(['overlap', 'global', 'stale', 'overlap', 'global'] as const);
  const from = draw.below(3);
  const to = from + 1 + draw.below(3 - from);
  const leaf = (size: number, isGlobal: boolean): number => {
    const bits = draw.whole();
    if (size < 2) {
      const word = leafOfSecondLevel(bits & ~0x800, 3, size === 1 ? 1 : 2 + draw.below(2));
      return isGlobal ? word : word | 0x800;
    }
    const word = leafOfFirstLevel(bits & ~0x60000, 3) | (size === 3 ? 0x40000 : 0);
    return isGlobal ? word : word | 0x20000;
  };
  const pointer = (): number => ((draw.whole() & ~3) | 0x80000001) >>> 0;
  return {
    kind,
    from,
    to,
    fromLeaf: leaf(from, kind !== 'global' && draw.below(2) === 1) >>> 0,
    toLeaf: leaf(to, kind === 'global' || draw.below(2) === 1) >>> 0,
    pointers: [pointer(), pointer()],
    invalidates: draw.percent(15),
  };
}
