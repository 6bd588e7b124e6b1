/**
 * The table walker: ARMv7 short descriptors (R34 to R43). A walk reads one word a level, from memory or from the view
 * that sees the CPU's cache (R54), or has the block fetch buffer read them. A hot path: it allocates nothing.
 */
import { SLAVE_ERROR, maskOf, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';
import {
  LARGE_PAGE_LAYOUT,
  SECTION_LAYOUT,
  SMALL_PAGE_LAYOUT,
  firstLevelIndex,
  firstLevelKind,
  leafAccess,
  leafExecuteNever,
  leafMemoryClass,
  leafNotGlobal,
  secondLevelBase,
  secondLevelIndex,
  secondLevelKind,
  supersectionHighBits,
  type LeafLayout,
} from '@iommu-lab/page-table/layout';
import {
  EXECUTE_NEVER,
  EXTENDED_ADDRESS,
  NS_DESCRIPTOR,
  SIZE_LARGE,
  SIZE_SECTION,
  SIZE_SHIFT,
  SIZE_SMALL,
  SIZE_SUPERSECTION,
  offsetMask,
} from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import type { FetchBuffer } from './fetch-buffer.ts';
import type { MutableLeaf } from './leaf.ts';
import { rightsOf } from './permission.ts';
import { FSR } from './regs/index.ts';

/** A walk or translation that succeeded; failures are FSR bits. */
export const NO_FAULT = 0;
export const FAULT_TRANSLATION: number = maskOf(FSR.fields.TF);
const FAULT_ACCESS_FLAG = maskOf(FSR.fields.AFF);
export const FAULT_PERMISSION: number = maskOf(FSR.fields.APF);
export const FAULT_TLB_MISS: number = maskOf(FSR.fields.TLBMF);
const FAULT_WALK_DECODE = maskOf(FSR.fields.HTWDEEF);
const FAULT_WALK_SLAVE = maskOf(FSR.fields.HTWSEEF);
export const FAULT_MULTI_HIT: number = maskOf(FSR.fields.MHF);
/** Set beside the cause when a second-level descriptor was at fault. */
export const SECOND_LEVEL: number = maskOf(FSR.fields.SL);

// What a walk uses again and again, as constants of this module: an imported or exported binding is a variable to the
// compiler, and costs a load and a check at each use.
const OK = NO_FAULT;
const LEVEL_TWO = SECOND_LEVEL;
const NEVER = EXECUTE_NEVER;
const NS = NS_DESCRIPTOR;
const SIZE_AT = SIZE_SHIFT;

/** What a word is taken for that could not be read. */
const INVALID_DESCRIPTOR = 0;
/** NS stands in bit 19 of a section and in bit 3 of a table pointer. */
const SECTION_NS_SHIFT = 19;
const TABLE_NS_SHIFT = 3;
/** AP[0], the access flag, in a leaf of the first and of the second level. */
const FIRST_LEVEL_AF = 1 << 10;
const SECOND_LEVEL_AF = 1 << 4;

/** Memory as a walk sees it: past the CPU's cache, and through it. */
export interface WalkMemory {
  readonly memory: MemoryPort;
  readonly snooped: MemoryPort;
}

/** The walker of one instance. */
export class Walker {
  /** What the last walk that returned NO_FAULT found. */
  readonly leaf: MutableLeaf = { low: 0, high: 0, attributes: 0, isGlobal: false };
  /** Valid after a translation fault: a descriptor said so, as opposed to a walk that is disabled. */
  foundInvalid = false;
  readonly #memory: MemoryPort;
  readonly #snooped: MemoryPort;
  readonly #buffer: FetchBuffer;
  readonly #hasExtendedAddresses: boolean;
  /** Why the last word could not be read; 0 if it could. */
  #readError = 0;

  /** @param hasExtendedAddresses supersections reach 40 bits */
  constructor(ports: WalkMemory, buffer: FetchBuffer, hasExtendedAddresses: boolean) {
    this.#memory = ports.memory;
    this.#snooped = ports.snooped;
    this.#buffer = buffer;
    this.#hasExtendedAddresses = hasExtendedAddresses;
  }

  /** Walks the bank's tables for `va`. @returns NO_FAULT or the FSR bits of the failure. */
  walk(bank: ContextBank, va: number): number {
    const isLower = bank.splitShift === 32 || va >>> bank.splitShift === 0;
    this.foundInvalid = false;
    if (isLower ? bank.walkDisabled0 : bank.walkDisabled1) return FAULT_TRANSLATION;
    const isSnooped = isLower ? bank.walkSnoops0 : bank.walkSnoops1;
    const at = (isLower ? bank.tableBase0 : bank.tableBase1) | (firstLevelIndex(va) << 2);
    const word = this.#read(bank, isSnooped, 0, at);
    switch (firstLevelKind(word)) {
      case 'table':
        return this.#secondLevel(bank, isSnooped, va, word);
      case 'section':
        return this.#leaf(bank, isSnooped, at, word, SECTION_LAYOUT, SIZE_SECTION, sectionNs(word));
      case 'supersection':
        return this.#leaf(bank, isSnooped, at, word, SECTION_LAYOUT, SIZE_SUPERSECTION, sectionNs(word));
      case 'invalid':
        return this.#noDescriptor();
    }
  }

  #secondLevel(bank: ContextBank, isSnooped: boolean, va: number, first: number): number {
    const at = secondLevelBase(first) | (secondLevelIndex(va) << 2);
    const word = this.#read(bank, isSnooped, 1, at);
    switch (secondLevelKind(word)) {
      case 'small':
        return this.#leaf(bank, isSnooped, at, word, SMALL_PAGE_LAYOUT, SIZE_SMALL, tableNs(first));
      case 'large':
        return this.#leaf(bank, isSnooped, at, word, LARGE_PAGE_LAYOUT, SIZE_LARGE, tableNs(first));
      case 'invalid':
        return this.#noDescriptor() | LEVEL_TWO;
    }
  }

  #leaf(
    bank: ContextBank,
    isSnooped: boolean,
    at: number,
    word: number,
    layout: LeafLayout,
    size: number,
    ns: number,
  ): number {
    const access = leafAccess(layout, word);
    if (bank.hasAccessFlag && (access & 1) === 0) {
      const fault = this.#accessFlag(bank, isSnooped, at, word, size);
      if (fault !== OK) return fault;
    }
    const { leaf } = this;
    const attributes =
      rightsOf(access, bank.hasAccessFlag) |
      (leafExecuteNever(layout, word) === 1 ? NEVER : 0) |
      (ns === 1 ? NS : 0) |
      (bank.memoryTable[leafMemoryClass(layout, word)] as number) |
      (size << SIZE_AT);
    leaf.attributes = attributes;
    leaf.low = word & ~offsetMask(attributes);
    leaf.high = 0;
    leaf.isGlobal = leafNotGlobal(layout, word) === 0;
    if (this.#hasExtendedAddresses && size === SIZE_SUPERSECTION) this.#extend(word);
    return OK;
  }

  /** PA[39:32] of a supersection. */
  #extend(word: number): void {
    const high = supersectionHighBits(word);
    if (high === 0) return;
    this.leaf.high = high;
    this.leaf.attributes |= EXTENDED_ADDRESS;
  }

  /** AP[0] is 0: a fault, unless software waived it (AFFD) or has the walker set the bit (HAF). */
  #accessFlag(bank: ContextBank, isSnooped: boolean, at: number, word: number, size: number): number {
    const level = size < SIZE_SECTION ? LEVEL_TWO : 0;
    if (!bank.updatesAccessFlag) return bank.ignoresAccessFlag ? OK : FAULT_ACCESS_FLAG | level;
    const updated = word | (level === LEVEL_TWO ? SECOND_LEVEL_AF : FIRST_LEVEL_AF);
    const stored = (bank.isBigEndian ? swapBytes(updated) : updated) >>> 0;
    const port = isSnooped ? this.#snooped : this.#memory;
    // The word may come from the fetch buffer: what stands in memory by now is not overwritten with it.
    const read = (bank.isBigEndian ? swapBytes(word) : word) >>> 0;
    if (bank.prefetches && port.read32((at >>> 0) as PhysAddr) !== read) return OK;
    if (!port.write32((at >>> 0) as PhysAddr, stored)) return FAULT_WALK_DECODE | level;
    if (this.#buffer.exists) this.#buffer.write32(at >>> 0, stored);
    return OK;
  }

  /**
   * The word at `at`, signed, as `at` is: what does not fit a small integer would be an object at each call, and so
   * would a word that may come from either of two calls. A word that cannot be read is an invalid descriptor.
   */
  #read(bank: ContextBank, isSnooped: boolean, level: number, at: number): number {
    const port = isSnooped ? this.#snooped : this.#memory;
    if (bank.prefetches) return this.#readAhead(bank, port, isSnooped, level, at >>> 0);
    const word = port.read32((at >>> 0) as PhysAddr);
    if (word < 0) return this.#unreadable(word);
    return bank.isBigEndian ? swapBytes(word) : word | 0;
  }

  #readAhead(
    bank: ContextBank,
    port: MemoryPort,
    isSnooped: boolean,
    level: number,
    address: number,
  ): number {
    const word = this.#buffer.read32(port, isSnooped, level, address);
    if (word < 0) return this.#unreadable(word);
    return bank.isBigEndian ? swapBytes(word) : word | 0;
  }

  #unreadable(answer: number): number {
    this.#readError = answer;
    return INVALID_DESCRIPTOR;
  }

  /** The fault of a descriptor that is invalid, or could not be read. */
  #noDescriptor(): number {
    const error = this.#readError;
    this.#readError = 0;
    if (error === SLAVE_ERROR) return FAULT_WALK_SLAVE;
    if (error !== 0) return FAULT_WALK_DECODE;
    this.foundInvalid = true;
    return FAULT_TRANSLATION;
  }
}

function sectionNs(word: number): number {
  return (word >>> SECTION_NS_SHIFT) & 1;
}

function tableNs(word: number): number {
  return (word >>> TABLE_NS_SHIFT) & 1;
}

function swapBytes(word: number): number {
  return (word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24);
}
