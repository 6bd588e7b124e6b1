/**
 * The TLB: one for all banks of an instance (R27). An entry is tagged with VMID, ASID and the address and size of its
 * page; a global entry does not look at the ASID. An entry stays until it is replaced or invalidated: it neither knows
 * nor asks what became of its descriptor (R25). Failed translations are never kept.
 */
import type { Random } from '@iommu-lab/machine';
import { SIZE_SHIFT } from './attributes.ts';

/** `lookup` found nothing. */
export const NO_ENTRY = -1;

const VALID = 1 << 16;
const SIZE_IN_KEY = 14;
const GLOBAL = 1 << 13;
const VMID_IN_KEY = 8;
const VMID_BITS = 0x1f << VMID_IN_KEY;
const ASID_BITS = 0xff;

/** log2 of the page size, and the mask of a page's address, by size code. */
const PAGE_SHIFTS: readonly number[] = [12, 16, 20, 24];
const PAGE_MASKS: readonly number[] = [-0x1000, -0x10000, -0x100000, -0x1000000];

/** The entries, as parallel arrays by index: a look-up allocates nothing. */
export class Tlb {
  readonly entries: number;
  /** Physical page base, and attribute word, by entry. */
  readonly addresses: Uint32Array;
  readonly attributes: Uint32Array;
  /** Bank that loaded the entry. */
  readonly banks: Uint8Array;

  readonly #ways: number;
  readonly #setMask: number;
  readonly #random: Random | undefined;
  /** Valid, size, global, VMID, ASID; 0 = free. */
  readonly #keys: Int32Array;
  readonly #pages: Int32Array;
  readonly #nextVictim: Uint8Array;
  /** Entries in use by size code, so that a lookup skips sizes nobody uses. */
  readonly #inUse: Int32Array = new Int32Array(4);

  /** @param random chooses the way to replace; round robin without it. */
  constructor(entries: number, ways: number, random: Random | undefined) {
    this.entries = entries;
    this.#ways = ways;
    this.#setMask = entries / ways - 1;
    this.#random = random;
    this.addresses = new Uint32Array(entries);
    this.attributes = new Uint32Array(entries);
    this.banks = new Uint8Array(entries);
    this.#keys = new Int32Array(entries);
    this.#pages = new Int32Array(entries);
    this.#nextVictim = new Uint8Array(entries / ways);
  }

  /** The entry that translates `va`, or NO_ENTRY. If two sizes match, the smaller page (fixed choice). */
  lookup(vmid: number, asid: number, va: number): number {
    const tag = VALID | (vmid << VMID_IN_KEY);
    for (let size = 0; size < 4; size++) {
      if (this.#inUse[size] === 0) continue;
      const key = tag | (size << SIZE_IN_KEY);
      const page = va & (PAGE_MASKS[size] as number);
      const first = ((va >>> (PAGE_SHIFTS[size] as number)) & this.#setMask) * this.#ways;
      for (let entry = first; entry < first + this.#ways; entry++) {
        if (this.#pages[entry] !== page) continue;
        const found = this.#keys[entry];
        if (found === (key | asid) || found === (key | GLOBAL)) return entry;
      }
    }
    return NO_ENTRY;
  }

  /** Loads a translation that `lookup` did not find. @returns the entry. */
  insert(
    vmid: number,
    asid: number,
    isGlobal: boolean,
    va: number,
    address: number,
    attributes: number,
    bank: number,
  ): number {
    const size = (attributes >>> SIZE_SHIFT) & 3;
    const set = (va >>> (PAGE_SHIFTS[size] as number)) & this.#setMask;
    const entry = this.#victim(set);
    this.drop(entry);
    this.#keys[entry] = VALID | (size << SIZE_IN_KEY) | (vmid << VMID_IN_KEY) | (isGlobal ? GLOBAL : asid);
    this.#pages[entry] = va & (PAGE_MASKS[size] as number);
    this.addresses[entry] = address;
    this.attributes[entry] = attributes;
    this.banks[entry] = bank;
    this.#inUse[size] = (this.#inUse[size] as number) + 1;
    return entry;
  }

  /** Physical address of `va` through `entry`. */
  output(entry: number, va: number): number {
    const mask = PAGE_MASKS[this.sizeCode(entry)] as number;
    return (((this.addresses[entry] as number) & mask) | (va & ~mask)) >>> 0;
  }

  /** Frees `entry`; harmless on a free one. */
  drop(entry: number): void {
    if (!this.isValid(entry)) return;
    const size = this.sizeCode(entry);
    this.#inUse[size] = (this.#inUse[size] as number) - 1;
    this.#keys[entry] = 0;
  }

  /** Empty, as at power-on: the order of replacement starts over too. */
  reset(): void {
    this.#keys.fill(0);
    this.#inUse.fill(0);
    this.#nextVictim.fill(0);
  }

  isValid(entry: number): boolean {
    return this.#keys[entry] !== 0;
  }

  isGlobal(entry: number): boolean {
    return ((this.#keys[entry] as number) & GLOBAL) !== 0;
  }

  vmid(entry: number): number {
    return ((this.#keys[entry] as number) & VMID_BITS) >>> VMID_IN_KEY;
  }

  /** 0 for a global entry. */
  asid(entry: number): number {
    return (this.#keys[entry] as number) & ASID_BITS;
  }

  /** Position in LEAF_SIZES. */
  sizeCode(entry: number): number {
    return ((this.#keys[entry] as number) >>> SIZE_IN_KEY) & 3;
  }

  /** First address of the entry's page. */
  page(entry: number): number {
    return (this.#pages[entry] as number) >>> 0;
  }

  /** Whether `va` lies in the entry's page, whatever its tags. */
  covers(entry: number, va: number): boolean {
    return this.isValid(entry) && this.#pages[entry] === (va & (PAGE_MASKS[this.sizeCode(entry)] as number));
  }

  #victim(set: number): number {
    const first = set * this.#ways;
    for (let entry = first; entry < first + this.#ways; entry++) {
      if (!this.isValid(entry)) return entry;
    }
    if (this.#random !== undefined) return first + this.#random.integer(0, this.#ways - 1);
    const way = this.#nextVictim[set] as number;
    this.#nextVictim[set] = (way + 1) % this.#ways;
    return first + way;
  }
}
