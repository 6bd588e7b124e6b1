/**
 * A second opinion: what one access, or one V2P operation, must come to. Written from the ARMv7 tables (short
 * descriptors, TEX remap, PAR) and the rules of MANUAL.md, as plainly as possible: plain numbers, arithmetic instead
 * of masks, no TLB, no caching of anything. It imports nothing.
 *
 * Long because a second opinion in pieces could not be read next to the manual.
 */

/** How the open points that matter to a single access are read. */
export interface OracleReadings {
  readonly unroutedAccess: string;
  readonly globalErrorLine: string;
  readonly vmidMismatch: string;
  readonly bypassDisable: string;
  readonly clientPortDisable: string;
  readonly stallDisable: string;
  readonly bypassMemory: string;
  readonly multiHit: string;
  readonly failedWalks: string;
  readonly probeMissStatus: string;
  readonly missPolicyTwo: string;
  readonly probeFaults: string;
  readonly probeRights: string;
  readonly furtherFault: string;
  readonly interruptIndexBeyond: string;
  readonly terminatedAccess: string;
  readonly ttbr0Base: string;
  readonly supersections: string;
  readonly hardwareAccessFlag: string;
}

/** The registers an access meets: those of the one bank that is in use, its routing, and the global ones. */
export interface OracleRegisters {
  readonly sctlr: number;
  readonly actlr: number;
  readonly contextidr: number;
  readonly ttbr0: number;
  readonly ttbr1: number;
  readonly ttbcr: number;
  readonly prrr: number;
  readonly nmrr: number;
  readonly cbacr: number;
  readonly cr: number;
  /** M2VCBR of the stream; undefined if it has none. */
  readonly m2vcbr: number | undefined;
  /** Whether the bank that M2VCBR names exists. */
  readonly hasBank: boolean;
}

/** The registers that record what went wrong. */
export interface OracleRecord {
  readonly fsr: number;
  readonly far: number;
  readonly fsynr0: number;
  readonly fsynr1: number;
  readonly esr: number;
  readonly ear: number;
  readonly esynr0: number;
  readonly esynr1: number;
}

export interface OracleAccess {
  readonly address: number;
  readonly isWrite: boolean;
  readonly isPrivileged: boolean;
  readonly isInstruction: boolean;
  readonly isSecure: boolean;
  readonly mid: number;
}

/** A word of memory in memory's byte order; `nothing` answers there, or what is there `refuses`. */
export type ReadWord = (address: number) => number | 'nothing' | 'refuses';

/** A translation somebody may hold on to: what the walk of an access, or its failure, left behind. */
export interface Held {
  readonly vmid: number;
  readonly asid: number;
  readonly isGlobal: boolean;
  readonly page: number;
  readonly log2Bytes: number;
  /** FSR bits if it is a walk that failed, else 0; the rest counts only if it is 0. */
  readonly failure: number;
  readonly physicalPage: number;
  /** Which of privileged read, privileged write, user read, user write are granted: `rw--`. */
  readonly rights: string;
  readonly isExecutable: boolean;
  readonly isNonSecure: boolean;
  readonly memory: Memory;
}

/** Memory type and shareability. `code` is that of the inner type in PAR. */
export interface Memory {
  readonly type: 'strongly-ordered' | 'device' | 'non-cacheable' | 'cacheable';
  readonly code: number;
  readonly shareability: 'none' | 'inner' | 'outer';
}

/** Where an access that is let through goes, and as what. */
export interface OraclePassage {
  readonly address: number;
  readonly memoryType: Memory['type'];
  readonly shareability: Memory['shareability'];
  readonly isSnooped: boolean;
  readonly isNonSecure: boolean;
  readonly isTranslated: boolean;
}

/** What the walker did on its ports, in order. */
export interface OracleWalk {
  readonly reads: readonly { readonly port: 'memory' | 'snooped'; readonly at: number }[];
  /** The descriptor it changed (hardware access flag). */
  readonly update: { readonly at: number; readonly word: number } | undefined;
  /** What the walk left for later accesses. */
  readonly kept: Held | undefined;
}

export interface OracleOutcome extends OracleWalk {
  readonly status: 'done' | 'faulted' | 'parked';
  readonly passage: OraclePassage | undefined;
  /** Cause and SL of a context fault, else 0. */
  readonly cause: number;
  /** What a master sees of it: an error, or (reads give 0, writes are dropped) nothing. */
  readonly isError: boolean;
  readonly record: OracleRecord;
  readonly secureLine: boolean;
  readonly nonSecureLine: boolean;
}

export interface OracleProbe extends OracleWalk {
  readonly par: number;
  readonly record: OracleRecord;
}

const TF = 0x2;
const AFF = 0x4;
const APF = 0x8;
const TLBMF = 0x10;
const HTWDEEF = 0x20;
const HTWSEEF = 0x40;
const MHF = 0x80;
const SL = 0x10000;
const SS = 0x40000000;
const MULTI = 0x80000000;
const ESR_CFG = 0x1;
const ESR_BYPASS = 0x2;

const NO_WALK: OracleWalk = { reads: [], update: undefined, kept: undefined };

const POWERS: readonly number[] = Array.from({ length: 33 }, (_, exponent) => 2 ** exponent);
const bitsOf = (word: number, high: number, low: number): number => {
  const above = Math.floor(word / (POWERS[low] as number));
  const span = POWERS[high - low + 1] as number;
  return above - Math.floor(above / span) * span;
};
const bitOf = (word: number, position: number): boolean => bitsOf(word, position, position) === 1;
const withBits = (word: number, mask: number): number => {
  let result = word;
  for (let position = 0; position < 32; position++) {
    if (bitOf(mask, position) && !bitOf(word, position)) result += 2 ** position;
  }
  return result;
};
const swap = (word: number): number =>
  bitsOf(word, 7, 0) * 2 ** 24 +
  bitsOf(word, 15, 8) * 2 ** 16 +
  bitsOf(word, 23, 16) * 2 ** 8 +
  bitsOf(word, 31, 24);

/** One access, by a TLB that holds `held` and nothing else. */
export function oracleAccess(
  registers: OracleRegisters,
  readings: OracleReadings,
  record: OracleRecord,
  access: OracleAccess,
  readWord: ReadWord,
  held: readonly Held[],
): OracleOutcome {
  const { m2vcbr } = registers;
  const route = m2vcbr ?? 0;
  const isRouted = m2vcbr !== undefined && registers.hasBank;
  const nscfg = bitsOf(route, 23, 22);
  const isNonSecure = nscfg === 3 ? true : nscfg === 2 ? false : !access.isSecure;

  const ends = (
    outcome: Partial<OracleOutcome> & Pick<OracleOutcome, 'status'>,
    after: OracleRecord,
    { reads, update, kept }: OracleWalk = NO_WALK,
  ): OracleOutcome => {
    const isSignalled = bitOf(registers.actlr, 1) && after.fsr !== 0;
    const bankLine = isSignalled ? lineOf(registers, readings) : '';
    const errorLine = after.esr !== 0 ? readings.globalErrorLine : '';
    return {
      status: outcome.status,
      passage: outcome.passage,
      cause: outcome.cause ?? 0,
      isError: outcome.isError ?? outcome.status === 'faulted',
      record: after,
      secureLine: bankLine === 'secure' || errorLine === 'secure',
      nonSecureLine: bankLine === 'non-secure' || errorLine === 'non-secure',
      reads,
      update,
      kept,
    };
  };
  const globalError = (cause: number): OracleOutcome => {
    if (record.esr !== 0) return ends({ status: 'faulted' }, { ...record, esr: withBits(record.esr, MULTI) });
    return ends(
      { status: 'faulted' },
      {
        ...record,
        esr: cause,
        ear: access.address % 2 ** 32,
        esynr0: (access.mid % 256) + bitsOf(route, 4, 0) * 2 ** 16,
        esynr1: syndrome(access, access.isPrivileged, isNonSecure),
      },
    );
  };
  const bypasses = (): OracleOutcome => {
    if (bitOf(route, 16) && readings.bypassDisable === 'global-error') return globalError(ESR_BYPASS);
    const passage = bypass(route, readings, access.address, isNonSecure);
    return ends({ status: 'done', passage }, record);
  };

  if (bitOf(registers.cr, 4) && readings.clientPortDisable === 'bypass') return bypasses();
  if (!isRouted) return readings.unroutedAccess === 'bypass' ? bypasses() : globalError(ESR_CFG);
  if (!bitOf(registers.sctlr, 0)) return bypasses();
  const vmid = bitsOf(route, 4, 0);
  if (vmid !== bitsOf(registers.cbacr, 20, 16) && readings.vmidMismatch === 'global-error') {
    return globalError(ESR_CFG);
  }

  const privcfg = bitsOf(registers.actlr, 9, 8);
  const isPrivileged = privcfg === 3 ? true : privcfg === 2 ? false : access.isPrivileged;
  const { fault, found, walk } = translate(registers, readings, access.address, vmid, {
    policy: bitsOf(registers.actlr, 13, 12),
    right: (isPrivileged ? 0 : 2) + (access.isWrite ? 1 : 0),
    isInstruction: access.isInstruction,
    readWord,
    held,
  });
  if (fault === 0 && found !== undefined) {
    const { type, shareability } = found.memory;
    const passage: OraclePassage = {
      address: found.physicalPage + (access.address % 2 ** found.log2Bytes),
      memoryType: type,
      shareability,
      isSnooped: isRedirected(
        type,
        shareability,
        bitOf(registers.actlr, 6),
        bitOf(registers.actlr, 5),
        bitOf(registers.actlr, 4),
      ),
      isNonSecure: isNonSecure || found.isNonSecure,
      isTranslated: true,
    };
    return ends({ status: 'done', passage }, record, walk);
  }
  const isStalled =
    bitOf(registers.actlr, 14) && !(bitOf(registers.cr, 5) && readings.stallDisable === 'terminates');
  const after = noteContextFault(record, readings, fault, {
    far: access.address % 2 ** 32,
    fsynr0: access.mid % 256,
    fsynr1: syndrome(access, isPrivileged, isNonSecure),
  });
  return ends(
    {
      status: isStalled ? 'parked' : 'faulted',
      cause: fault,
      isError: readings.terminatedAccess === 'error' || bitOf(registers.actlr, 0),
    },
    { ...after, fsr: isStalled ? withBits(after.fsr, SS) : after.fsr },
    walk,
  );
}

/** A V2P operation that asks for `right` (0 privileged read, 1 privileged write, 2 user read, 3 user write). */
export function oracleProbe(
  registers: OracleRegisters,
  readings: OracleReadings,
  record: OracleRecord,
  page: number,
  right: number,
  readWord: ReadWord,
  held: readonly Held[],
): OracleProbe {
  if (!bitOf(registers.sctlr, 0)) return { ...NO_WALK, par: page, record };
  const { fault, found, walk } = translate(registers, readings, page, bitsOf(registers.cbacr, 20, 16), {
    policy: bitsOf(registers.actlr, 17, 16),
    right: readings.probeRights === 'checked' ? right : undefined,
    isInstruction: false,
    readWord,
    held,
  });
  if (fault !== 0 || found === undefined) {
    const shown = fault === TLBMF && readings.probeMissStatus === 'translation' ? TF : fault;
    const noted = noteContextFault(record, readings, shown, {
      far: page,
      fsynr0: 0,
      fsynr1: (right < 2 ? 2 ** 5 : 0) + (right % 2 === 1 ? 2 ** 8 : 0),
    });
    const { reads, update, kept } = walk;
    return {
      reads,
      update,
      kept,
      par: shown + 1,
      record: readings.probeFaults === 'recorded' ? noted : record,
    };
  }
  const isSuper = found.log2Bytes === 24;
  const address = (found.physicalPage + (page % 2 ** found.log2Bytes)) % 2 ** 32;
  const shown = isSuper ? address - (address % 2 ** 24) : address - (address % 2 ** 12);
  const { code, shareability } = found.memory;
  const { reads, update, kept } = walk;
  return {
    reads,
    update,
    kept,
    record,
    par:
      shown +
      (isSuper ? 2 : 0) +
      code * 2 ** 4 +
      (shareability === 'none' ? 0 : 2 ** 7) +
      (found.isNonSecure ? 2 ** 9 : 0) +
      (shareability === 'inner' ? 2 ** 10 : 0),
  };
}

function lineOf(registers: OracleRegisters, readings: OracleReadings): string {
  const index = bitsOf(registers.cbacr, 31, 24);
  if (index === 0) return 'secure';
  if (index === 1) return 'non-secure';
  return readings.interruptIndexBeyond === 'non-secure' ? 'non-secure' : '';
}

function syndrome(access: OracleAccess, isPrivileged: boolean, isNonSecure: boolean): number {
  return (
    (isPrivileged ? 2 ** 5 : 0) +
    (isNonSecure ? 2 ** 6 : 0) +
    (access.isInstruction ? 2 ** 7 : 0) +
    (access.isWrite ? 2 ** 8 : 0)
  );
}

function noteContextFault(
  record: OracleRecord,
  readings: OracleReadings,
  cause: number,
  who: Pick<OracleRecord, 'far' | 'fsynr0' | 'fsynr1'>,
): OracleRecord {
  if (record.fsr === 0) return { ...record, ...who, fsr: cause };
  const fsr = withBits(record.fsr, MULTI);
  if (readings.furtherFault === 'first-kept') return { ...record, fsr };
  return { ...record, ...who, fsr: withBits(fsr, cause) };
}

function isRedirected(
  type: Memory['type'],
  shareability: Memory['shareability'],
  nonShareable: boolean,
  inner: boolean,
  outer: boolean,
): boolean {
  if (type !== 'cacheable') return false;
  return shareability === 'none' ? nonShareable : shareability === 'inner' ? inner : outer;
}

function bypass(
  route: number,
  readings: OracleReadings,
  address: number,
  isNonSecure: boolean,
): OraclePassage {
  const bpsh = bitsOf(route, 21, 20);
  const shareability = bpsh === 1 ? 'outer' : bpsh === 2 ? 'inner' : 'none';
  const code = bitsOf(route, 27, 25);
  const byCode = [
    'non-cacheable',
    'strongly-ordered',
    '',
    'device',
    '',
    'cacheable',
    'cacheable',
    'cacheable',
  ];
  const memoryType = (bitOf(route, 24) ? byCode[code] : readings.bypassMemory) as Memory['type'];
  return {
    address,
    memoryType,
    shareability,
    isSnooped: isRedirected(memoryType, shareability, bitOf(route, 19), bitOf(route, 18), bitOf(route, 17)),
    isNonSecure,
    isTranslated: false,
  };
}

interface Question {
  /** TLBMCFG or V2PCFG. */
  readonly policy: number;
  /** Position in `Held.rights`; undefined = any will do. */
  readonly right: number | undefined;
  readonly isInstruction: boolean;
  readonly readWord: ReadWord;
  readonly held: readonly Held[];
}

interface Answer {
  readonly fault: number;
  readonly found: Held | undefined;
  readonly walk: OracleWalk;
}

function translate(
  registers: OracleRegisters,
  readings: OracleReadings,
  address: number,
  vmid: number,
  question: Question,
): Answer {
  const fails = (fault: number, walk: OracleWalk = NO_WALK): Answer => ({ fault, found: undefined, walk });
  if (address >= 2 ** 32) return fails(TF);
  const asid = bitsOf(registers.contextidr, 7, 0);
  const matching = question.held.filter(
    (one) =>
      one.vmid === vmid &&
      (one.isGlobal || one.asid === asid) &&
      address >= one.page &&
      address < one.page + 2 ** one.log2Bytes,
  );
  if (matching.length > 1 && readings.multiHit === 'fault') return fails(MHF);
  let found = matching.reduce<Held | undefined>(
    (best, one) => (best === undefined || one.log2Bytes < best.log2Bytes ? one : best),
    undefined,
  );
  let walked: OracleWalk = NO_WALK;
  if (found === undefined) {
    const { policy } = question;
    if (policy !== 3 && !(policy === 2 && readings.missPolicyTwo === 'walks')) return fails(TLBMF);
    const result = walk(registers, readings, address, vmid, asid, question.readWord);
    if (result.fault !== 0) return fails(result.fault, result);
    walked = result;
    found = result.kept as Held;
  }
  if (found.failure !== 0) return fails(found.failure, walked);
  const isAllowed = question.right === undefined || found.rights[question.right] !== '-';
  if (!isAllowed || (question.isInstruction && !found.isExecutable)) {
    return fails(APF + (found.log2Bytes < 20 ? SL : 0), walked);
  }
  return { fault: 0, found, walk: walked };
}

function walk(
  registers: OracleRegisters,
  readings: OracleReadings,
  va: number,
  vmid: number,
  asid: number,
  readWord: ReadWord,
): OracleWalk & { readonly fault: number } {
  const { sctlr } = registers;
  const isBigEndian = bitOf(sctlr, 4);
  const order = (word: number): number => (isBigEndian ? swap(word) : word);
  const reads: { port: 'memory' | 'snooped'; at: number }[] = [];
  const none = { reads, update: undefined, kept: undefined };
  const tags = { vmid, asid };

  // Which table.
  const n = bitsOf(registers.ttbcr, 2, 0);
  const usesFirst = n === 0 || bitsOf(va, 31, 32 - n) === 0;
  if (bitOf(registers.ttbcr, usesFirst ? 4 : 5)) return { ...none, fault: TF };
  const ttbr = usesFirst ? registers.ttbr0 : registers.ttbr1;
  const isCacheable = bitOf(ttbr, 0) || bitOf(ttbr, 6) || bitsOf(ttbr, 4, 3) !== 0;
  const port = bitOf(ttbr, 1) && isCacheable ? 'snooped' : 'memory';
  const lowest = usesFirst && readings.ttbr0Base === 'by-ttbcr-n' ? 14 - n : 14;
  const base = bitsOf(ttbr, 31, lowest) * 2 ** lowest;
  const read = (at: number): number | 'nothing' | 'refuses' => {
    reads.push({ port, at });
    const word = readWord(at);
    return typeof word === 'number' ? order(word) : word;
  };
  const failsToRead = (word: 'nothing' | 'refuses'): number => (word === 'nothing' ? HTWDEEF : HTWSEEF);
  const failedWalk = (log2Bytes: number, failure: number): OracleWalk & { readonly fault: number } => {
    const kept: Held = {
      ...tags,
      isGlobal: false,
      page: va - (va % 2 ** log2Bytes),
      log2Bytes,
      failure,
      physicalPage: 0,
      rights: '----',
      isExecutable: false,
      isNonSecure: false,
      memory: STRONGLY_ORDERED,
    };
    return { ...none, kept: readings.failedWalks === 'kept' ? kept : undefined, fault: failure };
  };

  // Levels.
  let at = base + bitsOf(va, usesFirst ? 31 - n : 31, 20) * 4;
  const first = read(at);
  if (typeof first !== 'number') return { ...none, fault: failsToRead(first) };
  let kind: 'section' | 'supersection' | 'large' | 'small';
  let level = 0;
  let word = first;
  const type = bitsOf(first, 1, 0);
  if (type === 0 || type === 3) return failedWalk(20, TF);
  if (type === 2) {
    kind = bitOf(first, 18) ? 'supersection' : 'section';
  } else {
    level = SL;
    at = bitsOf(first, 31, 10) * 2 ** 10 + bitsOf(va, 19, 12) * 4;
    const second = read(at);
    if (typeof second !== 'number') return { ...none, fault: failsToRead(second) + level };
    if (bitsOf(second, 1, 0) === 0) return failedWalk(12, TF + level);
    kind = bitOf(second, 1) ? 'small' : 'large';
    word = second;
  }

  // Fields, by kind.
  const shape = SHAPES[kind];
  let physicalPage = bitsOf(word, 31, shape.size) * 2 ** shape.size;
  if (kind === 'supersection' && readings.supersections === '40-bit') {
    physicalPage += bitsOf(word, 8, 5) * 2 ** 36 + bitsOf(word, 23, 20) * 2 ** 32;
  }
  const ap2 = bitsOf(word, shape.ap2, shape.ap2);
  const ap1 = bitsOf(word, shape.ap + 1, shape.ap + 1);
  const ap0 = bitsOf(word, shape.ap, shape.ap);

  // Access flag.
  const hasAccessFlag = bitOf(sctlr, 2);
  let update: OracleWalk['update'];
  if (hasAccessFlag && ap0 === 0) {
    if (bitOf(sctlr, 3) && readings.hardwareAccessFlag === 'updates') {
      update = { at, word: order(word + 2 ** shape.ap) };
    } else if (!bitOf(sctlr, 5)) {
      return { ...none, fault: AFF + level };
    }
  }

  const kept: Held = {
    ...tags,
    isGlobal: !bitOf(word, shape.ng),
    page: va - (va % 2 ** shape.size),
    log2Bytes: shape.size,
    failure: 0,
    physicalPage,
    rights: hasAccessFlag
      ? (WITH_ACCESS_FLAG[ap2 * 2 + ap1] as string)
      : (WITHOUT_ACCESS_FLAG[ap2 * 4 + ap1 * 2 + ap0] as string),
    isExecutable: !bitOf(word, shape.xn),
    isNonSecure: bitOf(first, type === 2 ? 19 : 3),
    memory: bitOf(sctlr, 1)
      ? remapped(
          bitsOf(word, shape.tex, shape.tex) * 4 + bitsOf(word, 3, 2),
          bitsOf(word, shape.s, shape.s),
          registers.prrr,
          registers.nmrr,
        )
      : plain(bitsOf(word, shape.tex + 2, shape.tex), bitsOf(word, 3, 2), bitOf(word, shape.s)),
  };
  return { reads, update, kept, fault: 0 };
}

/** Where the fields of a leaf stand: log2 of its size, lowest bits of TEX and AP, and single bits. */
const SHAPES = {
  section: { size: 20, tex: 12, ap: 10, ap2: 15, s: 16, ng: 17, xn: 4 },
  supersection: { size: 24, tex: 12, ap: 10, ap2: 15, s: 16, ng: 17, xn: 4 },
  large: { size: 16, tex: 12, ap: 4, ap2: 9, s: 10, ng: 11, xn: 15 },
  small: { size: 12, tex: 6, ap: 4, ap2: 9, s: 10, ng: 11, xn: 0 },
} as const;

/** By AP[2:1] and by AP[2:0]: privileged read, privileged write, user read, user write. */
const WITH_ACCESS_FLAG: readonly string[] = ['rw--', 'rwrw', 'r---', 'r-r-'];
const WITHOUT_ACCESS_FLAG: readonly string[] = [
  '----',
  'rw--',
  'rwr-',
  'rwrw',
  '----',
  'r---',
  'r-r-',
  'r-r-',
];

const STRONGLY_ORDERED: Memory = { type: 'strongly-ordered', code: 1, shareability: 'outer' };

/** Normal memory of two cache policies: 0 non-cacheable, 1 WB-WA, 2 WT, 3 WB no WA. */
function normal(inner: number, outer: number, shareability: Memory['shareability']): Memory {
  const type = inner === 0 && outer === 0 ? 'non-cacheable' : 'cacheable';
  return { type, code: [0, 5, 6, 7][inner] as number, shareability };
}

/** TRE=1: class `n` through PRRR and NMRR. */
function remapped(n: number, s: number, prrr: number, nmrr: number): Memory {
  const share = (isShareable: boolean): Memory['shareability'] =>
    !isShareable ? 'none' : bitOf(prrr, 24 + n) ? 'inner' : 'outer';
  const type = bitsOf(prrr, 2 * n + 1, 2 * n);
  if (type === 1) return { type: 'device', code: 3, shareability: share(bitOf(prrr, 16 + s)) };
  if (type !== 2) return STRONGLY_ORDERED;
  const inner = bitsOf(nmrr, 2 * n + 1, 2 * n);
  const outer = bitsOf(nmrr, 2 * n + 17, 2 * n + 16);
  return normal(inner, outer, share(bitOf(prrr, 18 + s)));
}

/** TRE=0: what TEX, C and B mean by themselves; what is reserved is strongly ordered. */
function plain(tex: number, cb: number, s: boolean): Memory {
  const share = s ? 'outer' : 'none';
  if (tex >= 4) return normal(cb, tex - 4, share);
  if (tex === 0 && cb === 1) return { type: 'device', code: 3, shareability: 'outer' };
  if (tex === 2 && cb === 0) return { type: 'device', code: 3, shareability: 'none' };
  if (tex === 0 && cb === 2) return normal(2, 2, share);
  if (tex === 0 && cb === 3) return normal(3, 3, share);
  if (tex === 1 && cb === 0) return normal(0, 0, share);
  if (tex === 1 && cb === 3) return normal(1, 1, share);
  return STRONGLY_ORDERED;
}
