/**
 * A second opinion: what one access through an empty TLB must come to, written straight from the ARMv7 tables
 * (short descriptors, TEX remap) and as plainly as possible. It imports nothing.
 */
export interface OracleBank {
  readonly sctlr: number;
  readonly actlr: number;
  readonly ttbcr: number;
  readonly ttbr0: number;
  readonly ttbr1: number;
  readonly prrr: number;
  readonly nmrr: number;
}

export interface OracleAccess {
  readonly va: number;
  readonly isWrite: boolean;
  readonly isPrivileged: boolean;
  readonly isInstruction: boolean;
}

export interface OracleResult {
  /** Physical address, or undefined on a fault. */
  readonly address: number | undefined;
  readonly isSupersection: boolean;
  /** Looks into the CPU's cache. */
  readonly isSnooped: boolean;
  /** FSR after a fault, else 0. */
  readonly fsr: number;
  /** Descriptor the walker must have changed (hardware access flag). */
  readonly update: { readonly at: number; readonly word: number } | undefined;
}

/** Reads a word in the byte order of memory; undefined where nothing is. */
export type ReadWord = (address: number) => number | undefined;

const bitsOf = (word: number, high: number, low: number): number =>
  Math.floor(word / 2 ** low) % 2 ** (high - low + 1);

function fault(fsr: number): OracleResult {
  return { address: undefined, isSupersection: false, isSnooped: false, fsr, update: undefined };
}

export function oracle(bank: OracleBank, access: OracleAccess, readRaw: ReadWord): OracleResult {
  const sctlr = (position: number): boolean => bitsOf(bank.sctlr, position, position) === 1;
  const afe = sctlr(2);
  const swap = (word: number): number =>
    bitsOf(word, 7, 0) * 2 ** 24 +
    bitsOf(word, 15, 8) * 2 ** 16 +
    bitsOf(word, 23, 16) * 2 ** 8 +
    bitsOf(word, 31, 24);
  const order = (word: number): number => (sctlr(4) ? swap(word) : word);
  const read = (address: number): number | undefined => {
    const word = readRaw(address);
    return word === undefined ? undefined : order(word);
  };

  // Which table.
  if (bitsOf(bank.actlr, 13, 12) !== 3) return fault(0x10);
  const n = bitsOf(bank.ttbcr, 2, 0);
  const usesFirst = n === 0 || bitsOf(access.va, 31, 32 - n) === 0;
  if (bitsOf(bank.ttbcr, usesFirst ? 4 : 5, usesFirst ? 4 : 5) === 1) return fault(0x2);
  const ttbr = usesFirst ? bank.ttbr0 : bank.ttbr1;

  // Levels.
  let at = bitsOf(ttbr, 31, 14) * 2 ** 14 + bitsOf(access.va, 31, 20) * 4;
  let word = read(at);
  if (word === undefined) return fault(0x20);
  let kind: 'section' | 'supersection' | 'large' | 'small';
  let level = 0;
  const type = bitsOf(word, 1, 0);
  if (type === 0 || type === 3) return fault(0x2);
  if (type === 2) {
    kind = bitsOf(word, 18, 18) === 1 ? 'supersection' : 'section';
  } else {
    level = 0x10000;
    at = bitsOf(word, 31, 10) * 2 ** 10 + bitsOf(access.va, 19, 12) * 4;
    word = read(at);
    if (word === undefined) return fault(0x20 + level);
    if (bitsOf(word, 1, 0) === 0) return fault(0x2 + level);
    kind = bitsOf(word, 1, 1) === 1 ? 'small' : 'large';
  }

  // Fields, by kind.
  const shape = {
    section: { size: 20, tex: 12, ap: 10, ap2: 15, s: 16, xn: 4 },
    supersection: { size: 24, tex: 12, ap: 10, ap2: 15, s: 16, xn: 4 },
    large: { size: 16, tex: 12, ap: 4, ap2: 9, s: 10, xn: 15 },
    small: { size: 12, tex: 6, ap: 4, ap2: 9, s: 10, xn: 0 },
  }[kind];
  const address = bitsOf(word, 31, shape.size) * 2 ** shape.size + bitsOf(access.va, shape.size - 1, 0);
  const ap2 = bitsOf(word, shape.ap2, shape.ap2);
  const ap1 = bitsOf(word, shape.ap + 1, shape.ap + 1);
  const ap0 = bitsOf(word, shape.ap, shape.ap);

  // Access flag.
  let update: OracleResult['update'];
  if (afe && ap0 === 0) {
    if (sctlr(3)) update = { at, word: order(word + 2 ** shape.ap) };
    else if (!sctlr(5)) return fault(0x4 + level);
  }

  // Rights: [privileged read, privileged write, user read, user write].
  const table: Record<string, string> = afe
    ? { '00': 'rw--', '01': 'rwrw', '10': 'r---', '11': 'r-r-' }
    : {
        '000': '----',
        '001': 'rw--',
        '010': 'rwr-',
        '011': 'rwrw',
        '100': '----',
        '101': 'r---',
        '110': 'r-r-',
        '111': 'r-r-',
      };
  const rights = table[afe ? `${ap2}${ap1}` : `${ap2}${ap1}${ap0}`] as string;
  const override = bitsOf(bank.actlr, 9, 8);
  const isPrivileged = override === 3 ? true : override === 2 ? false : access.isPrivileged;
  const isAllowed = rights[(isPrivileged ? 0 : 2) + (access.isWrite ? 1 : 0)] !== '-';
  const isFetchable = !(access.isInstruction && bitsOf(word, shape.xn, shape.xn) === 1);
  if (!isAllowed || !isFetchable) return { ...fault(0x8 + level), update };

  // Memory type, then the redirect bit of its shareability.
  const tex = bitsOf(word, shape.tex + 2, shape.tex);
  const cb = bitsOf(word, 3, 2);
  const s = bitsOf(word, shape.s, shape.s);
  let isCacheable = false;
  let isShareable = s === 1;
  let isInnerOnly = false;
  if (sctlr(1)) {
    const nr = (tex % 2) * 4 + cb;
    isCacheable =
      bitsOf(bank.prrr, 2 * nr + 1, 2 * nr) === 2 &&
      (bitsOf(bank.nmrr, 2 * nr + 1, 2 * nr) !== 0 || bitsOf(bank.nmrr, 2 * nr + 17, 2 * nr + 16) !== 0);
    isShareable = bitsOf(bank.prrr, 18 + s, 18 + s) === 1;
    isInnerOnly = bitsOf(bank.prrr, 24 + nr, 24 + nr) === 1;
  } else if (tex >= 4) {
    isCacheable = cb !== 0 || tex % 4 !== 0;
  } else {
    isCacheable = (tex === 0 && cb >= 2) || (tex === 1 && cb === 3);
  }
  const position = !isShareable ? 6 : isInnerOnly ? 5 : 4;
  const isSnooped = isCacheable && bitsOf(bank.actlr, position, position) === 1;
  return { address, isSupersection: kind === 'supersection', isSnooped, fsr: 0, update };
}
