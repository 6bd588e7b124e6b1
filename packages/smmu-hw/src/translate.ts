/**
 * Address translation past the TLB's answer: walks, loads, rights. Accesses and V2P operations share it (R65).
 * A hot path: nothing is allocated, the result stands in `output`.
 */
import { FAILED_WALK, SIZE_SECTION, SIZE_SHIFT, SIZE_SMALL, offsetMask } from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import { isAllowed } from './permission.ts';
import { addressIn } from './leaf.ts';
import type { SmmuStatistics } from './statistics.ts';
import type { TranslationOutput } from './translated.ts';
import { MULTI_HIT, NO_ENTRY, type Tlb } from './tlb.ts';
import {
  FAULT_MULTI_HIT,
  FAULT_PERMISSION,
  FAULT_TLB_MISS,
  FAULT_TRANSLATION,
  NO_FAULT,
  SECOND_LEVEL,
  type Walker,
} from './walk.ts';

// Constants of this module: see tlb.ts.
const OK = NO_FAULT;
const MULTIPLE = MULTI_HIT;

/** The translation path of one instance, past the TLB's quick answer. */
export class Translator {
  /** After NO_FAULT: physical address and attribute word. */
  readonly output: TranslationOutput;
  readonly #tlb: Tlb;
  readonly #walker: Walker;
  readonly #statistics: SmmuStatistics;
  readonly #keepsFailedWalks: boolean;

  /** @param keepsFailedWalks a walk that finds nothing goes into the TLB as well (R26) */
  constructor(
    output: TranslationOutput,
    tlb: Tlb,
    walker: Walker,
    statistics: SmmuStatistics,
    keepsFailedWalks: boolean,
  ) {
    this.output = output;
    this.#tlb = tlb;
    this.#walker = walker;
    this.#statistics = statistics;
    this.#keepsFailedWalks = keepsFailedWalks;
  }

  /**
   * What an access comes to for whose address the TLB had no single entry: a walk, or a fault.
   * @param entry what `Tlb.lookup` said
   * @returns NO_FAULT or FSR bits
   */
  miss(bank: ContextBank, tag: number, va: number, entry: number): number {
    if (entry === MULTIPLE) return FAULT_MULTI_HIT;
    this.#statistics.misses++;
    if (!bank.walksOnMiss) return this.#unwalked(FAULT_TLB_MISS);
    const fault = this.#walk(bank, tag, va);
    if (fault === OK) this.load(bank, tag, va);
    return fault;
  }

  /** The whole of a V2P operation but for rights: look-up, and a walk as V2PCFG says, whose result is not loaded yet. */
  probe(bank: ContextBank, tag: number, va: number): number {
    const entry = this.#tlb.lookup(tag, va);
    this.#statistics.probes++;
    if (entry === MULTIPLE) return FAULT_MULTI_HIT;
    if (entry !== NO_ENTRY) {
      this.#tlb.read(entry, va, this.output);
      return OK;
    }
    this.#statistics.misses++;
    return bank.probeWalksOnMiss ? this.#walk(bank, tag, va) : this.#unwalked(FAULT_TLB_MISS);
  }

  /** Puts what was just walked for `va` into the TLB. */
  load(bank: ContextBank, tag: number, va: number): void {
    this.#tlb.insert(tag, va, this.#walker.leaf, bank.index, bank.lockFloor);
  }

  /** Keeps the translation of `va` that was just found at TLB index `index`, locked (R17). */
  lock(bank: ContextBank, tag: number, va: number, index: number): void {
    const entry = this.#tlb.lookup(tag, va);
    const leaf = entry === NO_ENTRY ? this.#walker.leaf : this.#tlb.leaf(entry);
    this.#tlb.lock(index, tag, va, leaf, bank.index);
  }

  #walk(bank: ContextBank, tag: number, va: number): number {
    const walker = this.#walker;
    const fault = walker.walk(bank, va);
    if (fault !== OK) {
      if (fault === FAULT_TRANSLATION && !walker.foundInvalid) this.#statistics.unwalked++;
      if (this.#keepsFailedWalks && walker.foundInvalid) this.#keepFailure(bank, tag, va, fault);
      return fault;
    }
    const { leaf } = walker;
    this.output.attributes = leaf.attributes;
    this.output.physical[0] = addressIn(leaf, va & offsetMask(leaf.attributes));
    return OK;
  }

  #unwalked(fault: number): number {
    this.#statistics.unwalked++;
    return fault;
  }

  #keepFailure(bank: ContextBank, tag: number, va: number, fault: number): void {
    const size = (fault & SECOND_LEVEL) === 0 ? SIZE_SECTION : SIZE_SMALL;
    const leaf = { low: 0, high: 0, attributes: FAILED_WALK | (size << SIZE_SHIFT), isGlobal: false };
    this.#tlb.insert(tag, va, leaf, bank.index, bank.lockFloor);
  }
}

/** NO_FAULT if a translation with these attributes lets an access through that needs `right`, else FSR bits. */
export function refusalOf(attributes: number, right: number, isInstruction: boolean): number {
  if (isAllowed(attributes, right, isInstruction)) return OK;
  const size = (attributes >>> SIZE_SHIFT) & 3;
  const cause = (attributes & FAILED_WALK) === 0 ? FAULT_PERMISSION : FAULT_TRANSLATION;
  return size < SIZE_SECTION ? cause | SECOND_LEVEL : cause;
}
