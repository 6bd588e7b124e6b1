/**
 * A naive model of tables and TLB, written from the rules of MANUAL.md: lists that are searched from end to end. It
 * imports nothing. Which entry makes room is not predicted: a placement that was seen is judged.
 */

/** How the points that matter here are read, and the shape of the TLB. */
export interface ModelConfig {
  readonly entries: number;
  readonly ways: number;
  readonly multiHitFaults: boolean;
  readonly keepsFailures: boolean;
  readonly perBank: boolean;
  readonly scope: 'vmid' | 'vmid-and-asid' | 'bank';
  readonly asidDropsGlobals: boolean;
  readonly addressDropsGlobals: boolean;
  readonly locks: boolean;
  readonly sparesByCr: boolean;
}

/** The rights a translation can ask for: privileged and user, read and write. */
export type Right = 'pr' | 'pw' | 'ur' | 'uw';

/** One leaf of a table. */
export interface ModelLeaf {
  readonly va: number;
  readonly sizeBytes: number;
  readonly pa: number;
  readonly isGlobal: boolean;
  readonly rights: readonly Right[];
}

/** One TLB entry; a failed walk that is kept has no rights. */
export interface ModelEntry extends ModelLeaf {
  readonly vmid: number;
  readonly asid: number;
  readonly bank: number;
  readonly isFailure: boolean;
}

/** What a bank's registers say. */
export interface ModelBank {
  readonly index: number;
  readonly vmid: number;
  readonly table: ModelTable;
  asid: number;
  /** TLBLCKR without LKE. */
  survive: number;
  floor: number;
}

/** What must come out. Several addresses are possible only where the rules do not say which entry answers. */
export interface ModelAnswer {
  /** Bits of FSR; 0 = translated. */
  readonly fault: number;
  readonly addresses: readonly number[];
  readonly isSuper: boolean;
  /** Indices of the entries that match. */
  readonly matches: readonly number[];
  /** What a walk read and the TLB is to keep. */
  readonly loaded: ModelEntry | undefined;
}

const TF = 0x2;
const APF = 0x8;
const TLBMF = 0x10;
const MHF = 0x80;
const SL = 0x10000;
const PAGE = 0x1000;
const MIB = 0x100000;

/** A two-level table as the list of its leaves; a MiB with a leaf below a MiB has a second-level table. */
export class ModelTable {
  leaves: ModelLeaf[] = [];

  /** Maps a leaf; what it overlaps goes, as a whole. */
  map(leaf: ModelLeaf): void {
    this.unmap(leaf.va, leaf.sizeBytes);
    this.leaves.push(leaf);
  }

  unmap(va: number, sizeBytes: number): void {
    this.leaves = this.leaves.filter((leaf) => leaf.va + leaf.sizeBytes <= va || va + sizeBytes <= leaf.va);
  }

  find(va: number): ModelLeaf | undefined {
    return this.leaves.find((leaf) => covers(leaf, va));
  }

  hasSecondLevel(va: number): boolean {
    const start = va - (va % MIB);
    return this.leaves.some((leaf) => leaf.sizeBytes < MIB && leaf.va >= start && leaf.va < start + MIB);
  }
}

/** The TLB: a list of places. */
export class ModelTlb {
  readonly config: ModelConfig;
  readonly places: (ModelEntry | undefined)[];
  readonly locked: Set<number> = new Set();
  /** CR.TLBIALLCFG and TLBIVMIDCFG. */
  sparesAtAll = false;
  sparesAtVmid = false;

  constructor(config: ModelConfig) {
    this.config = config;
    this.places = Array.from({ length: config.entries }, () => undefined);
  }

  /** R15, R25 to R28, R33: the entries that match, else a walk. */
  translate(bank: ModelBank, va: number, right: Right, mayWalk: boolean): ModelAnswer {
    const matches = this.#matching(bank, va);
    if (matches.length > 1 && this.config.multiHitFaults) return { ...failed(MHF), matches };
    if (matches.length > 0) {
      const found = matches.map((index) => this.places[index] as ModelEntry);
      const smallest = Math.min(...found.map((entry) => entry.sizeBytes));
      const answering = found.filter((entry) => entry.sizeBytes === smallest);
      const answers = answering.map((entry) => answerOf(entry, va, right));
      const first = answers[0] as ModelAnswer;
      const isClear = answers.every(({ fault }) => fault === first.fault);
      const addresses = answers.flatMap((answer) => answer.addresses);
      return { ...first, fault: isClear ? first.fault : -1, addresses, matches };
    }
    if (!mayWalk) return failed(TLBMF);
    const leaf = bank.table.find(va);
    const tags = { vmid: bank.vmid, asid: bank.asid, bank: bank.index };
    if (leaf !== undefined) {
      const loaded: ModelEntry = { ...leaf, ...tags, isFailure: false };
      return { ...answerOf(loaded, va, right), loaded };
    }
    const isSecond = bank.table.hasSecondLevel(va);
    const sizeBytes = isSecond ? PAGE : MIB;
    const nothing = { va: va - (va % sizeBytes), sizeBytes, pa: 0, isGlobal: false, rights: [] };
    const loaded = this.config.keepsFailures ? { ...nothing, ...tags, isFailure: true } : undefined;
    return { ...failed(isSecond ? TF | SL : TF), loaded };
  }

  /**
   * Takes over a load that was seen at `index` (undefined = nowhere).
   * @returns what is wrong about the place, and whether an entry had to go for it
   */
  place(
    bank: ModelBank,
    entry: ModelEntry,
    index: number | undefined,
  ): { wrong?: string; hasReplaced: boolean } {
    const sets = this.config.entries / this.config.ways;
    const set = (entry.va / entry.sizeBytes) % sets;
    const floor = this.config.locks ? bank.floor : 0;
    const usable = [...this.places.keys()].filter(
      (place) => place % sets === set && place >= floor && !this.locked.has(place),
    );
    const free = usable.filter((place) => this.places[place] === undefined);
    if (index === undefined) {
      return { ...(usable.length > 0 ? { wrong: 'it was not kept' } : {}), hasReplaced: false };
    }
    const hasReplaced = this.places[index] !== undefined;
    this.places[index] = entry;
    if (!usable.includes(index)) return { wrong: `index ${index} may not be used`, hasReplaced };
    if (free.length > 0 && !free.includes(index))
      return { wrong: 'a free place was passed over', hasReplaced };
    return { hasReplaced };
  }

  /** R17: an entry that was found or loaded stands at `index` from now on. */
  lock(bank: ModelBank, entry: ModelEntry, matches: readonly number[], index: number): void {
    for (const match of matches) this.#drop(match);
    this.#drop(index);
    this.places[index] = { ...entry, bank: bank.index };
    this.locked.add(index);
  }

  // R18 to R23.

  contextAll(bank: ModelBank): void {
    const { scope } = this.config;
    this.#dropWhere((bank.survive & 2) !== 0, (entry) => {
      if (scope === 'bank') return entry.bank === bank.index;
      if (entry.vmid !== bank.vmid) return false;
      return scope === 'vmid' || entry.isGlobal || entry.asid === bank.asid;
    });
  }

  asid(bank: ModelBank, asid: number): void {
    this.#dropWhere((bank.survive & 4) !== 0, (entry) => {
      if (entry.vmid !== bank.vmid) return false;
      return entry.isGlobal ? this.config.asidDropsGlobals : entry.asid === asid;
    });
  }

  address(bank: ModelBank, va: number, asid: number): void {
    this.#dropWhere(false, (entry) => {
      if (entry.vmid !== bank.vmid || !covers(entry, va)) return false;
      return entry.isGlobal ? this.config.addressDropsGlobals : entry.asid === asid;
    });
  }

  addressAllAsids(bank: ModelBank, va: number): void {
    this.#dropWhere((bank.survive & 8) !== 0, (entry) => entry.vmid === bank.vmid && covers(entry, va));
  }

  globalAll(): void {
    this.#dropWhere(this.config.sparesByCr && this.sparesAtAll, () => true);
  }

  vmid(vmid: number): void {
    this.#dropWhere(this.config.sparesByCr && this.sparesAtVmid, (entry) => entry.vmid === vmid);
  }

  #matching(bank: ModelBank, va: number): number[] {
    return [...this.places.keys()].filter((index) => {
      const entry = this.places[index];
      if (entry === undefined || entry.vmid !== bank.vmid || !covers(entry, va)) return false;
      if (this.config.perBank && entry.bank !== bank.index) return false;
      return entry.isGlobal || entry.asid === bank.asid;
    });
  }

  #dropWhere(sparesLocked: boolean, isMeant: (entry: ModelEntry) => boolean): void {
    this.places.forEach((entry, index) => {
      if (entry === undefined || !isMeant(entry)) return;
      if (!(sparesLocked && this.locked.has(index))) this.#drop(index);
    });
  }

  #drop(index: number): void {
    this.places[index] = undefined;
    this.locked.delete(index);
  }
}

function covers(leaf: ModelLeaf, va: number): boolean {
  return va >= leaf.va && va < leaf.va + leaf.sizeBytes;
}

function failed(fault: number): ModelAnswer {
  return { fault, addresses: [], isSuper: false, matches: [], loaded: undefined };
}

function answerOf(entry: ModelEntry, va: number, right: Right): ModelAnswer {
  const level = entry.sizeBytes < MIB ? SL : 0;
  if (entry.isFailure) return failed(TF | level);
  if (!entry.rights.includes(right)) return failed(APF | level);
  const address = entry.pa + (va - entry.va);
  return { ...failed(0), addresses: [address], isSuper: entry.sizeBytes === 16 * MIB };
}
