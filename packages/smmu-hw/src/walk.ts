/**
 * The table walker: ARMv7 short descriptors (R34 to R43). A walk reads one word a level, from memory or from the view
 * that sees the CPU's cache (R54). It allocates nothing.
 */
import { BUS_ERROR, maskOf, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';
import {
  decodeLeaf,
  firstLevelIndex,
  firstLevelKind,
  secondLevelBase,
  secondLevelIndex,
  secondLevelKind,
  type LeafKind,
  type MutableLeafBits,
} from '@iommu-lab/page-table/layout';
import {
  EXECUTE_NEVER,
  NS_DESCRIPTOR,
  SIZE_LARGE,
  SIZE_SECTION,
  SIZE_SHIFT,
  SIZE_SMALL,
  SIZE_SUPERSECTION,
} from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import { memoryTableIndex } from './memory-type.ts';
import { rightsOf } from './permission.ts';
import { FSR } from './regs/index.ts';

/** A walk or translation that succeeded; failures are FSR bits. */
export const NO_FAULT = 0;
export const FAULT_TRANSLATION: number = maskOf(FSR.fields.TF);
const FAULT_ACCESS_FLAG = maskOf(FSR.fields.AFF);
export const FAULT_PERMISSION: number = maskOf(FSR.fields.APF);
export const FAULT_TLB_MISS: number = maskOf(FSR.fields.TLBMF);
const FAULT_WALK_DECODE = maskOf(FSR.fields.HTWDEEF);
/** Set beside the cause when a second-level descriptor was at fault. */
export const SECOND_LEVEL: number = maskOf(FSR.fields.SL);

/** NS stands in bit 19 of a section and in bit 3 of a table pointer. */
const SECTION_NS_SHIFT = 19;
const TABLE_NS_SHIFT = 3;

/** Memory as a walk sees it: past the CPU's cache, and through it. */
export interface WalkMemory {
  readonly memory: MemoryPort;
  readonly snooped: MemoryPort;
}

/** The walker of one instance. */
export class Walker {
  /** Valid after a walk that returned NO_FAULT: the leaf word (its upper bits are the page base), attributes. */
  readonly result: Uint32Array = new Uint32Array(2);
  /** Likewise: the leaf counts for every ASID (nG = 0). */
  isGlobal = false;
  readonly #ports: WalkMemory;
  readonly #bits: MutableLeafBits = { ...decodeLeaf('small', 0) };

  constructor(ports: WalkMemory) {
    this.#ports = ports;
  }

  /** Walks the bank's tables for `va`. @returns NO_FAULT or the FSR bits of the failure. */
  walk(bank: ContextBank, va: number): number {
    const isLower = bank.splitShift === 32 || va >>> bank.splitShift === 0;
    if (isLower ? bank.walkDisabled0 : bank.walkDisabled1) return FAULT_TRANSLATION;
    const base = isLower ? bank.tableBase0 : bank.tableBase1;
    const port = (isLower ? bank.walkSnoops0 : bank.walkSnoops1) ? this.#ports.snooped : this.#ports.memory;

    const firstAt = (base + firstLevelIndex(va) * 4) >>> 0;
    const first = read(port, firstAt, bank.isBigEndian);
    if (first === BUS_ERROR) return FAULT_WALK_DECODE;
    switch (firstLevelKind(first)) {
      case 'invalid':
        return FAULT_TRANSLATION;
      case 'section':
        return this.#leaf(bank, port, firstAt, 'section', first, (first >>> SECTION_NS_SHIFT) & 1, 0);
      case 'supersection':
        return this.#leaf(bank, port, firstAt, 'supersection', first, (first >>> SECTION_NS_SHIFT) & 1, 0);
      case 'table': {
        const secondAt = secondLevelBase(first) + secondLevelIndex(va) * 4;
        const second = read(port, secondAt, bank.isBigEndian);
        if (second === BUS_ERROR) return FAULT_WALK_DECODE | SECOND_LEVEL;
        const kind = secondLevelKind(second);
        if (kind === 'invalid') return FAULT_TRANSLATION | SECOND_LEVEL;
        return this.#leaf(bank, port, secondAt, kind, second, (first >>> TABLE_NS_SHIFT) & 1, SECOND_LEVEL);
      }
    }
  }

  #leaf(
    bank: ContextBank,
    port: MemoryPort,
    at: number,
    kind: LeafKind,
    word: number,
    ns: number,
    level: number,
  ): number {
    const leaf = decodeLeaf(kind, word, this.#bits);
    if (bank.hasAccessFlag && (leaf.ap & 1) === 0) {
      if (bank.updatesAccessFlag) {
        if (!setAccessFlag(port, at, word, level, bank.isBigEndian)) return FAULT_WALK_DECODE | level;
      } else if (!bank.ignoresAccessFlag) {
        return FAULT_ACCESS_FLAG | level;
      }
    }
    const memory = bank.memoryTable[memoryTableIndex(leaf.tex, leaf.c, leaf.b, leaf.shareable)] as number;
    this.result[0] = word;
    this.result[1] =
      rightsOf(leaf.ap, bank.hasAccessFlag) |
      (leaf.executeNever === 1 ? EXECUTE_NEVER : 0) |
      (ns === 1 ? NS_DESCRIPTOR : 0) |
      memory |
      (sizeCode(kind) << SIZE_SHIFT);
    this.isGlobal = leaf.notGlobal === 0;
    return NO_FAULT;
  }
}

function sizeCode(kind: LeafKind): number {
  switch (kind) {
    case 'small':
      return SIZE_SMALL;
    case 'large':
      return SIZE_LARGE;
    case 'section':
      return SIZE_SECTION;
    case 'supersection':
      return SIZE_SUPERSECTION;
  }
}

function read(port: MemoryPort, address: number, isBigEndian: boolean): number {
  const word = port.read32(address as PhysAddr);
  return isBigEndian && word !== BUS_ERROR ? swapBytes(word) : word;
}

/** SCTLR.HAF: the walker itself sets AP[0] in the descriptor it read. */
function setAccessFlag(
  port: MemoryPort,
  at: number,
  word: number,
  level: number,
  isBigEndian: boolean,
): boolean {
  const updated = (word | (level === SECOND_LEVEL ? 1 << 4 : 1 << 10)) >>> 0;
  return port.write32(at as PhysAddr, isBigEndian ? swapBytes(updated) : updated);
}

function swapBytes(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0;
}
