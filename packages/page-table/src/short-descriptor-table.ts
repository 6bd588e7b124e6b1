/**
 * The writer of ARMv7 short-descriptor tables: maps, unmaps, looks up. One mechanism; the variants are data.
 * Long because mapping and unmapping share the count of live entries, and the checks that come before both.
 */
import { assert, hex, isAligned, LabError, offsetBy, type PhysAddr, type World } from '@iommu-lab/machine';
import { CleanRun } from './clean-run.ts';
import {
  FIRST_LEVEL_BYTES,
  FIRST_LEVEL_ENTRIES,
  firstLevelIndex,
  firstLevelKind,
  leafBytes,
  leafKindOf,
  REPLICAS,
  SECOND_LEVEL_BYTES,
  SECTION_BYTES,
  secondLevelBase,
  secondLevelIndex,
  SMALL_PAGE_BYTES,
  type LeafKind,
} from './layout/short-descriptor.ts';
import { clearLeaves, firstLeaf, leafStart, writeLeaves, type LeafListener } from './leaf-run.ts';
import {
  encodeDescriptor,
  encodePointer,
  LINUX_V7S,
  type LeafAttributes,
  type ShortDescriptorFormat,
} from './short-descriptor-format.ts';
import {
  explainWalk,
  findAddress,
  firstLevelAddress,
  translate,
  type TableWalkStep,
  type Translation,
  type WordReader,
} from './short-descriptor-walk.ts';
import type { TableMemory } from './table-memory.ts';

const ADDRESS_END = 2 ** 32;
const WORD_BYTES = 4;
const NO_TABLES: readonly PhysAddr[] = [];

/**
 * One table: a 16 KiB first level and its second-level tables, for 32-bit addresses.
 *
 * Descriptors are cleaned before an operation returns. A second-level table is filled and cleaned before it is linked,
 * so that a walker meets either the old state of an entry or the new one. Nobody else may write the tables.
 */
export class ShortDescriptorTable {
  readonly format: ShortDescriptorFormat;
  /** Physical address of the first level, 16 KiB aligned: what goes into TTBR0[31:14]. */
  readonly root: PhysAddr;
  readonly #world: World;
  readonly #memory: TableMemory;
  readonly #read: WordReader;
  /** Valid entries in the second-level table of each first-level entry; 0 = there is no such table. */
  readonly #live: Uint16Array = new Uint16Array(FIRST_LEVEL_ENTRIES);
  #secondLevelTables = 0;
  #isDestroyed = false;

  /** An empty table. @throws LabError ENOMEM, or ERANGE when the memory it is given lies above 4 GiB. */
  constructor(world: World, memory: TableMemory, format: ShortDescriptorFormat = LINUX_V7S) {
    this.#world = world;
    this.#memory = memory;
    this.#read = (address) => memory.read32(address);
    this.format = format;
    this.root = this.#allocate(FIRST_LEVEL_BYTES);
  }

  /** Bytes of memory all levels occupy now; tables handed to `freed` no longer count. */
  get tableBytes(): number {
    return this.#isDestroyed ? 0 : FIRST_LEVEL_BYTES + this.#secondLevelTables * SECOND_LEVEL_BYTES;
  }

  /**
   * Maps `count` pages of `pageSize` bytes from `iova` to `address` on. All or nothing.
   * @throws LabError EINVAL on a size that is no leaf size, a misaligned address, or neither right asked for;
   * ERANGE beyond 32 bits; EEXIST where something is mapped; ENOMEM.
   */
  mapPages(iova: number, address: number, pageSize: number, count: number, attributes: LeafAttributes): void {
    const kind = this.#checkRange(iova, pageSize, count);
    this.#checkTarget(address, pageSize, count, attributes);
    this.#checkVacant(iova, pageSize * count, kind);
    const word = encodeDescriptor(this.format, kind, address, attributes);
    if (pageSize >= SECTION_BYTES) {
      const replicas = entriesOf(kind);
      const start = firstLevelAddress(this.root, iova);
      writeLeaves(this.#memory, start, replicas * count, word, pageSize, replicas);
    } else {
      this.#mapSecondLevel(iova, word, kind, count);
    }
  }

  /**
   * Removes what is mapped in `count` pages of `pageSize` bytes from `iova` on. Stops at the first hole. A leaf that
   * sticks out of the range, at either end, goes whole.
   * @param freed is given each second-level table that became empty, after it is unlinked. The caller frees it once
   * no walker can hold it any more (after the TLB was invalidated).
   * @param removedLeaves hears of every leaf that went, in rows of one size: what a TLB holds is leaves, not ranges.
   * @returns bytes removed.
   * @throws LabError EINVAL on a size that is no leaf size or a misaligned address, ERANGE beyond 32 bits.
   */
  unmapPages(
    iova: number,
    pageSize: number,
    count: number,
    freed: (table: PhysAddr, sizeBytes: number) => void,
    removedLeaves: LeafListener = () => undefined,
  ): number {
    this.#checkRange(iova, pageSize, count);
    const end = iova + pageSize * count;
    const unlinked: PhysAddr[] = [];
    const firstLevelRun = new CleanRun(this.#memory);
    let removed = 0;
    for (let cursor = iova; cursor < end;) {
      const entry = this.#memory.read32(firstLevelAddress(this.root, cursor));
      const kind = firstLevelKind(entry);
      if (kind === 'invalid') break;
      if (kind === 'table') {
        const section = firstLevelIndex(cursor);
        const blockEnd = Math.min(end, nextSection(cursor));
        const table = secondLevelBase(entry) as PhysAddr;
        const start = leafStart(this.#memory, table, cursor);
        const bytes = clearLeaves(this.#memory, table, start, blockEnd, removedLeaves);
        const live = (this.#live[section] as number) - bytes / SMALL_PAGE_BYTES;
        this.#live[section] = live;
        removed += bytes;
        if (live === 0) {
          firstLevelRun.write(firstLevelAddress(this.root, cursor), 0);
          unlinked.push(table);
        }
        cursor = start + bytes;
        if (cursor < blockEnd) break;
      } else {
        const bytes = leafBytes(kind);
        const entries = entriesOf(kind);
        const first = firstLevelIndex(cursor) & -entries;
        for (let i = first; i < first + entries; i++)
          firstLevelRun.write(offsetBy(this.root, i * WORD_BYTES), 0);
        const start = first * SECTION_BYTES;
        removed += bytes;
        removedLeaves(start, bytes, bytes);
        cursor = start + bytes;
      }
    }
    firstLevelRun.finish();
    this.#secondLevelTables -= unlinked.length;
    for (const table of unlinked) freed(table, SECOND_LEVEL_BYTES);
    return removed;
  }

  /** What `iova` is mapped to, or undefined: a look through the CPU's eyes at the tables, never at a TLB. */
  lookup(iova: number): Translation | undefined {
    if (this.#isDestroyed || !isAddress(iova)) return undefined;
    return translate(this.format, this.#read, this.root, iova);
  }

  /** `lookup`'s address alone: it makes no object. */
  addressOf(iova: number): PhysAddr | undefined {
    if (this.#isDestroyed || !isAddress(iova)) return undefined;
    const address = findAddress(this.#memory, this.root, iova);
    return address < 0 ? undefined : (address as PhysAddr);
  }

  /**
   * The walk for `iova` in words.
   * @param read reads memory for it; unless given, the CPU's view. Give the walker's view to see what hardware sees.
   */
  walk(iova: number, read: WordReader = this.#read): readonly TableWalkStep[] {
    if (this.#isDestroyed || !isAddress(iova)) return [];
    return explainWalk(this.format, read, this.root, iova);
  }

  /** Frees all levels. The caller has made sure that no walker uses them. Doing so twice does nothing. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#live.forEach((live, index) => {
      if (live === 0) return;
      const pointer = this.#memory.read32(offsetBy(this.root, index * WORD_BYTES));
      this.#memory.free(secondLevelBase(pointer) as PhysAddr, SECOND_LEVEL_BYTES);
    });
    this.#memory.free(this.root, FIRST_LEVEL_BYTES);
    this.#live.fill(0);
    this.#secondLevelTables = 0;
    this.#isDestroyed = true;
  }

  /** Small and large pages: second-level tables are all allocated before the first descriptor is written. */
  #mapSecondLevel(iova: number, firstWord: number, kind: LeafKind, count: number): void {
    const bytes = leafBytes(kind);
    const end = iova + bytes * count;
    const fresh = this.#allocateMissing(firstLevelIndex(iova), firstLevelIndex(end - 1));
    const pointers = new CleanRun(this.#memory);
    const replicas = entriesOf(kind);
    let word = firstWord;
    let used = 0;
    for (let cursor = iova; cursor < end;) {
      const blockEnd = Math.min(end, nextSection(cursor));
      const section = firstLevelIndex(cursor);
      const pointerAddress = firstLevelAddress(this.root, cursor);
      const live = this.#live[section] as number;
      const table = live === 0 ? fresh[used++] : secondLevelBase(this.#memory.read32(pointerAddress));
      assert(table !== undefined, 'each MiB without a table has been given one');
      const entries = (blockEnd - cursor) / SMALL_PAGE_BYTES;
      const start = table + secondLevelIndex(cursor) * WORD_BYTES;
      writeLeaves(this.#memory, start, entries, word, bytes, replicas);
      this.#live[section] = live + entries;
      if (live === 0) pointers.write(pointerAddress, encodePointer(this.format, table));
      word = (word + (blockEnd - cursor)) >>> 0;
      cursor = blockEnd;
    }
    pointers.finish();
    this.#secondLevelTables += used;
  }

  /** Tables for those MiB, `first` to `last`, that have none, in their order; none at all when one fails. */
  #allocateMissing(first: number, last: number): readonly PhysAddr[] {
    let fresh: PhysAddr[] | undefined;
    try {
      for (let section = first; section <= last; section++) {
        if (this.#live[section] === 0) (fresh ??= []).push(this.#allocate(SECOND_LEVEL_BYTES));
      }
    } catch (error) {
      for (const table of fresh ?? NO_TABLES) this.#memory.free(table, SECOND_LEVEL_BYTES);
      throw error;
    }
    return fresh ?? NO_TABLES;
  }

  #allocate(sizeBytes: number): PhysAddr {
    if (this.#world.fail('page-table.table')) {
      throw new LabError('ENOMEM', 'no memory for a page table', { sizeBytes });
    }
    const table = this.#memory.allocate(sizeBytes);
    if (table + sizeBytes > ADDRESS_END) {
      this.#memory.free(table, sizeBytes);
      throw new LabError('ERANGE', 'a short-descriptor table must lie below 4 GiB', { table: hex(table) });
    }
    assert(isAligned(table, sizeBytes), 'a table is aligned to its size');
    return table;
  }

  #checkRange(iova: number, pageSize: number, count: number): LeafKind {
    if (this.#isDestroyed) throw new LabError('EINVAL', 'the table was destroyed');
    const kind = leafKindOf(pageSize);
    if (kind === undefined || !Number.isSafeInteger(count) || count < 1) {
      throw new LabError('EINVAL', 'not a number of pages of a leaf size', { pageSize, count });
    }
    checkAddress('IOVA', iova, pageSize, count);
    return kind;
  }

  #checkTarget(address: number, pageSize: number, count: number, attributes: LeafAttributes): void {
    if (!attributes.read && !attributes.write) {
      throw new LabError('EINVAL', 'a mapping allows reads or writes or both');
    }
    checkAddress('physical address', address, pageSize, count);
  }

  #checkVacant(iova: number, sizeBytes: number, kind: LeafKind): void {
    const end = iova + sizeBytes;
    for (let cursor = iova; cursor < end; cursor = nextSection(cursor)) {
      const entry = this.#memory.read32(firstLevelAddress(this.root, cursor));
      const found = firstLevelKind(entry);
      if (found === 'invalid') continue;
      if (found !== 'table' || kind === 'section' || kind === 'supersection') throw occupied(cursor);
      const last = secondLevelIndex(Math.min(end, nextSection(cursor)) - 1);
      const taken = firstLeaf(this.#memory, secondLevelBase(entry), secondLevelIndex(cursor), last);
      if (taken <= last) throw occupied(firstLevelIndex(cursor) * SECTION_BYTES + taken * SMALL_PAGE_BYTES);
    }
  }
}

function entriesOf(kind: LeafKind): number {
  return kind === 'large' || kind === 'supersection' ? REPLICAS : 1;
}

function nextSection(iova: number): number {
  return (firstLevelIndex(iova) + 1) * SECTION_BYTES;
}

function isAddress(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value < ADDRESS_END;
}

function checkAddress(what: string, address: number, pageSize: number, count: number): void {
  if (!Number.isSafeInteger(address) || address < 0 || (address & (pageSize - 1)) !== 0) {
    throw new LabError('EINVAL', `${what} is not a multiple of the page size`, { address, pageSize });
  }
  if (address + pageSize * count > ADDRESS_END) {
    throw new LabError('ERANGE', `${what} range leaves 32 bits`, { address, pageSize, count });
  }
}

function occupied(iova: number): LabError {
  return new LabError('EEXIST', `something is mapped at ${hex(iova)}`, { iova });
}
