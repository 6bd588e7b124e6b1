/**
 * The TLB: one for all banks of an instance (R27). An entry is tagged with VMID, ASID and the address and size of its
 * page; a global entry does not look at the ASID. An entry stays until it is replaced or invalidated: it neither knows
 * nor asks what became of its descriptor (R25).
 *
 * A hot path. Nothing is allocated, and an entry is four words side by side in one array: each further array costs
 * about a nanosecond a look-up. There are two look-ups. As long as all entries are of one page size, all global or none,
 * and none is locked, only one set can hold an address and only one key can match: that one stops at the first hit. The
 * other finds every entry that matches, wherever it is. Measured in bench/translate.bench.ts.
 *
 * Long because both look-ups, loading and dropping work on the same words.
 */
import type { Random } from '@iommu-lab/machine';
import { EXTENDED_ADDRESS, SIZE_SHIFT, offsetMask, pageShift } from './attributes.ts';
import type { Leaf } from './leaf.ts';
import {
  CLASSES,
  asidOfKey,
  classOf,
  comparisonOf,
  isGlobalKey,
  keyOf,
  maskOfMeant,
  sizeOfKey,
  valueOfMeant,
  vmidOfKey,
} from './tlb-key.ts';
import type { TranslationOutput } from './translated.ts';

/** `lookup` found nothing. */
export const NO_ENTRY = -1;
/** `lookup` found more than one entry, and the instance notices. */
export const MULTI_HIT = -2;

// Constants of this module for what is used again and again: an imported or exported binding is a variable to the
// compiler, and costs a load and a check at each use.
const NONE = NO_ENTRY;
const HAS_HIGH_ADDRESS = EXTENDED_ADDRESS;
const SIZE_AT = SIZE_SHIFT;

/** The words of an entry: page number, key (0 = free), attribute word, physical page base [31:0]. */
const ENTRY_SHIFT = 2;
const ENTRY_WORDS = 1 << ENTRY_SHIFT;
const KEY = 1;
const ATTRIBUTES = 2;
const ADDRESS = 3;

/** log2 of the page size, by size code. */
const PAGE_SHIFTS: readonly number[] = [12, 16, 20, 24];

/** Everything a TLB holds, as plain data. */
export interface TlbSnapshot {
  readonly entries: readonly {
    readonly index: number;
    readonly key: number;
    readonly page: number;
    readonly leaf: Leaf;
    readonly bank: number;
    readonly isLocked: boolean;
  }[];
  readonly nextVictims: readonly number[];
  readonly random: readonly number[] | null;
}

/** The entries. Entry number = way x sets + set. */
export class Tlb {
  readonly entries: number;
  readonly #setMask: number;
  readonly #ways: number;
  /** Words from one way of a set to the next. */
  readonly #wayWords: number;
  readonly #noticesMultiHit: boolean;
  readonly #random: Random | undefined;
  readonly #words: Int32Array;
  /** PA[39:32] of the page base; counts if the attribute word says so. */
  readonly #highAddresses: Uint8Array;
  /** Bank that loaded the entry. */
  readonly #banks: Uint8Array;
  readonly #locked: Uint8Array;
  readonly #nextVictim: Uint8Array;
  #valid = 0;
  /** No locked entry at or above this index. */
  #lockedEnd = 0;
  /** Valid entries by class. */
  readonly #classes: Int32Array = new Int32Array(CLASSES);
  /** Whether entries of more than one class are in, or locked ones. If not, the class there is: */
  #isMixed = false;
  #shift = 12;
  #tagMask = -1;
  #classBits = 0;

  /** @param random chooses the way to replace; round robin without it. */
  constructor(entries: number, ways: number, noticesMultiHit: boolean, random: Random | undefined) {
    const sets = entries / ways;
    this.entries = entries;
    this.#setMask = sets - 1;
    this.#ways = ways;
    this.#wayWords = sets * ENTRY_WORDS;
    this.#noticesMultiHit = noticesMultiHit;
    this.#random = random;
    this.#words = new Int32Array(entries * ENTRY_WORDS);
    this.#highAddresses = new Uint8Array(entries);
    this.#banks = new Uint8Array(entries);
    this.#locked = new Uint8Array(entries);
    this.#nextVictim = new Uint8Array(sets);
  }

  /** The entry that translates the 32-bit address `va` for `tag`, NO_ENTRY or MULTI_HIT. */
  lookup(tag: number, va: number): number {
    if (this.#isMixed) return this.#search(tag, va);
    const words = this.#words;
    const key = (tag & this.#tagMask) | this.#classBits;
    const page = va >>> this.#shift;
    const step = this.#wayWords;
    for (let at = (page & this.#setMask) * ENTRY_WORDS; at < words.length; at += step) {
      // Not `at / ENTRY_WORDS`: that is a division of doubles, and costs as much as the rest of the turn.
      if (words[at] === page && words[at + KEY] === key) return at >> ENTRY_SHIFT;
    }
    return NONE;
  }

  /** Puts the translation of `va` by `entry` into `output`. */
  read(entry: number, va: number, output: TranslationOutput): void {
    const words = this.#words;
    const attributes = words[entry * ENTRY_WORDS + ATTRIBUTES] as number;
    const low = ((words[entry * ENTRY_WORDS + ADDRESS] as number) | (va & offsetMask(attributes))) >>> 0;
    output.attributes = attributes;
    output.physical[0] =
      (attributes & HAS_HIGH_ADDRESS) === 0
        ? low
        : low + (this.#highAddresses[entry] as number) * 0x100000000;
  }

  /**
   * Loads a translation that `lookup` did not find, unless no way of its set may be used.
   * @param floor the load may not use an index below it (TLBLCKR.FLOOR)
   */
  insert(tag: number, va: number, leaf: Leaf, bank: number, floor: number): void {
    const set = (va >>> pageShift(leaf.attributes)) & this.#setMask;
    const entry = floor === 0 && this.#lockedEnd === 0 ? this.#victim(set) : this.#victimAbove(set, floor);
    if (entry !== NONE) this.#place(entry, tag, va, leaf, bank);
  }

  /** Loads a translation at `index` and keeps it there; what `lookup` finds for it now goes (R17). */
  lock(index: number, tag: number, va: number, leaf: Leaf, bank: number): void {
    const present = this.lookup(tag, va);
    if (present >= 0) this.drop(present);
    this.#place(index, tag, va, leaf, bank);
    this.#locked[index] = 1;
    this.#lockedEnd = Math.max(this.#lockedEnd, index + 1);
    this.#classify();
  }

  /** Frees `entry`; harmless on a free one. */
  drop(entry: number): void {
    const key = this.#key(entry);
    if (key === 0) return;
    this.#words[entry * ENTRY_WORDS + KEY] = 0;
    this.#valid--;
    this.#leaveClass(key);
    if (this.#locked[entry] === 0) return;
    this.#locked[entry] = 0;
    while (this.#lockedEnd > 0 && this.#locked[this.#lockedEnd - 1] === 0) this.#lockedEnd--;
    this.#classify();
  }

  /**
   * Frees the entries of a VMID (or EVERY) and an ASID (or EVERY, or GLOBALS).
   * @param sparesLocked not the locked ones
   * @returns how many
   */
  dropAll(vmid: number, asid: number, sparesLocked: boolean): number {
    const mask = maskOfMeant(vmid, asid);
    const value = valueOfMeant(vmid, asid);
    let dropped = 0;
    for (let entry = 0; entry < this.entries; entry++) {
      if ((this.#key(entry) & mask) !== value) continue;
      if (sparesLocked && this.#locked[entry] === 1) continue;
      this.drop(entry);
      dropped++;
    }
    return dropped;
  }

  /** Frees those of the entries so meant whose page holds `va`, of whatever size. */
  dropCovering(va: number, vmid: number, asid: number, sparesLocked: boolean): number {
    const mask = maskOfMeant(vmid, asid);
    const value = valueOfMeant(vmid, asid);
    let dropped = 0;
    for (let size = 0; size < 4; size++) {
      if (!this.#isInUse(size)) continue;
      const page = va >>> (PAGE_SHIFTS[size] as number);
      for (let entry = page & this.#setMask; entry < this.entries; entry += this.#setMask + 1) {
        if (this.#locked[entry] === 1 || (this.#key(entry) & mask) !== value) continue;
        if (this.sizeCode(entry) !== size || !this.covers(entry, va)) continue;
        this.drop(entry);
        dropped++;
      }
    }
    if (sparesLocked) return dropped;
    for (let entry = this.#lockedEnd - 1; entry >= 0; entry--) {
      if (this.#locked[entry] === 0 || (this.#key(entry) & mask) !== value) continue;
      if (!this.covers(entry, va)) continue;
      this.drop(entry);
      dropped++;
    }
    return dropped;
  }

  /** Frees the entries that `bank` loaded. */
  dropLoadedBy(bank: number, sparesLocked: boolean): number {
    let dropped = 0;
    for (let entry = 0; entry < this.entries; entry++) {
      if (!this.isValid(entry) || this.#banks[entry] !== bank) continue;
      if (sparesLocked && this.#locked[entry] === 1) continue;
      this.drop(entry);
      dropped++;
    }
    return dropped;
  }

  /** Empty, as at power-on: the order of replacement starts over too. */
  reset(): void {
    this.#words.fill(0);
    this.#locked.fill(0);
    this.#classes.fill(0);
    this.#nextVictim.fill(0);
    this.#valid = 0;
    this.#lockedEnd = 0;
    this.#random?.restore();
    this.#classify();
  }

  isValid(entry: number): boolean {
    return this.#key(entry) !== 0;
  }

  isGlobal(entry: number): boolean {
    return isGlobalKey(this.#key(entry));
  }

  isLocked(entry: number): boolean {
    return this.#locked[entry] === 1;
  }

  vmid(entry: number): number {
    return vmidOfKey(this.#key(entry));
  }

  /** 0 for a global entry. */
  asid(entry: number): number {
    return asidOfKey(this.#key(entry));
  }

  /** Position in LEAF_SIZES. */
  sizeCode(entry: number): number {
    return sizeOfKey(this.#key(entry));
  }

  /** Bank that loaded the entry. */
  bank(entry: number): number {
    return this.#banks[entry] as number;
  }

  /** Attribute word. */
  attributes(entry: number): number {
    return this.#words[entry * ENTRY_WORDS + ATTRIBUTES] as number;
  }

  /** First address of the entry's page. */
  page(entry: number): number {
    const number = this.#words[entry * ENTRY_WORDS] as number;
    return (number << (PAGE_SHIFTS[this.sizeCode(entry)] as number)) >>> 0;
  }

  /** What the entry holds. */
  leaf(entry: number): Leaf {
    const attributes = this.attributes(entry);
    return {
      low: this.#words[entry * ENTRY_WORDS + ADDRESS] as number,
      high: (attributes & HAS_HIGH_ADDRESS) === 0 ? 0 : (this.#highAddresses[entry] as number),
      attributes,
      isGlobal: this.isGlobal(entry),
    };
  }

  /** Whether `va` lies in the page of a valid entry, whatever its tags. */
  covers(entry: number, va: number): boolean {
    const page = va >>> (PAGE_SHIFTS[this.sizeCode(entry)] as number);
    return this.isValid(entry) && this.#words[entry * ENTRY_WORDS] === page;
  }

  snapshot(): TlbSnapshot {
    const entries: TlbSnapshot['entries'][number][] = [];
    for (let index = 0; index < this.entries; index++) {
      if (!this.isValid(index)) continue;
      entries.push({
        index,
        key: this.#key(index),
        page: this.page(index),
        leaf: this.leaf(index),
        bank: this.bank(index),
        isLocked: this.isLocked(index),
      });
    }
    return { entries, nextVictims: [...this.#nextVictim], random: this.#random?.snapshot() ?? null };
  }

  restore(snapshot: TlbSnapshot): void {
    this.reset();
    for (const { index, key, page, leaf, bank, isLocked } of snapshot.entries) {
      this.#write(index, key, page, leaf, bank);
      this.#valid++;
      this.#enterClass(key);
      if (!isLocked) continue;
      this.#locked[index] = 1;
      this.#lockedEnd = index + 1;
    }
    this.#nextVictim.set(snapshot.nextVictims);
    if (snapshot.random !== null) this.#random?.restore(snapshot.random);
    this.#classify();
  }

  #key(entry: number): number {
    return this.#words[entry * ENTRY_WORDS + KEY] as number;
  }

  /** Looks at every entry that may hold `va`; of several, the smallest page answers, if that is not a fault. */
  #search(tag: number, va: number): number {
    let found = NONE;
    for (let size = 0; size < 4; size++) {
      if (!this.#isInUse(size)) continue;
      const own = keyOf(tag, size, false);
      const global = keyOf(tag, size, true);
      const page = va >>> (PAGE_SHIFTS[size] as number);
      const set = page & this.#setMask;
      for (let entry = set; entry < this.entries; entry += this.#setMask + 1) {
        if (!this.#matches(entry, page, own, global)) continue;
        if (found !== NONE) return this.#noticesMultiHit ? MULTI_HIT : found;
        found = entry;
      }
      // Locked entries stand at the index they were given, whatever their set.
      for (let entry = 0; entry < this.#lockedEnd; entry++) {
        if (this.#locked[entry] === 0 || (entry & this.#setMask) === set) continue;
        if (!this.#matches(entry, page, own, global)) continue;
        if (found !== NONE) return this.#noticesMultiHit ? MULTI_HIT : found;
        found = entry;
      }
    }
    return found;
  }

  #matches(entry: number, page: number, own: number, global: number): boolean {
    const key = this.#key(entry);
    return (key === own || key === global) && this.#words[entry * ENTRY_WORDS] === page;
  }

  #place(entry: number, tag: number, va: number, leaf: Leaf, bank: number): void {
    const key = keyOf(tag, (leaf.attributes >>> SIZE_AT) & 3, leaf.isGlobal);
    const old = this.#key(entry);
    // Most loads replace an entry of their own class: nothing to count then.
    if (old === 0 || classOf(old) !== classOf(key) || this.#locked[entry] === 1) {
      this.drop(entry);
      this.#valid++;
      this.#enterClass(key);
    }
    this.#write(entry, key, va, leaf, bank);
  }

  #write(entry: number, key: number, va: number, leaf: Leaf, bank: number): void {
    const words = this.#words;
    const at = entry * ENTRY_WORDS;
    words[at] = va >>> pageShift(leaf.attributes);
    words[at + KEY] = key;
    words[at + ATTRIBUTES] = leaf.attributes;
    words[at + ADDRESS] = leaf.low;
    this.#banks[entry] = bank;
    if (leaf.high !== 0) this.#highAddresses[entry] = leaf.high;
  }

  #victim(set: number): number {
    if (this.#valid < this.entries) {
      for (let entry = set; entry < this.entries; entry += this.#setMask + 1) {
        if (!this.isValid(entry)) return entry;
      }
    }
    return this.#replaced(set);
  }

  /** A place that is not locked and not below `floor`. */
  #victimAbove(set: number, floor: number): number {
    const isUsable = (entry: number): boolean => entry >= floor && this.#locked[entry] === 0;
    let usable = 0;
    for (let entry = set; entry < this.entries; entry += this.#setMask + 1) {
      if (!isUsable(entry)) continue;
      if (!this.isValid(entry)) return entry;
      usable++;
    }
    if (usable === 0) return NONE;
    let entry = this.#replaced(set);
    while (!isUsable(entry)) entry = this.#replaced(set);
    return entry;
  }

  /** Whose turn it is to be replaced in a full set. */
  #replaced(set: number): number {
    const sets = this.#setMask + 1;
    if (this.#random !== undefined) return set + this.#random.integer(0, this.#ways - 1) * sets;
    const way = this.#nextVictim[set] as number;
    this.#nextVictim[set] = way + 1 === this.#ways ? 0 : way + 1;
    return set + way * sets;
  }

  #isInUse(size: number): boolean {
    return (this.#classes[size * 2] as number) + (this.#classes[size * 2 + 1] as number) > 0;
  }

  #enterClass(key: number): void {
    const count = (this.#classes[classOf(key)] as number) + 1;
    this.#classes[classOf(key)] = count;
    if (count === 1) this.#classify();
  }

  #leaveClass(key: number): void {
    const count = (this.#classes[classOf(key)] as number) - 1;
    this.#classes[classOf(key)] = count;
    if (count === 0) this.#classify();
  }

  /** Sets up the quick look-up, or that there is none. */
  #classify(): void {
    let used = 0;
    let last = 0;
    for (let each = 0; each < CLASSES; each++) {
      if (this.#classes[each] === 0) continue;
      used++;
      last = each;
    }
    const { tagMask, bits } = comparisonOf(last);
    this.#isMixed = used > 1 || this.#lockedEnd > 0;
    this.#shift = PAGE_SHIFTS[last >>> 1] as number;
    this.#tagMask = tagMask;
    this.#classBits = bits;
  }
}
