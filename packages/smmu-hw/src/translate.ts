/**
 * Address translation: TLB, else walk, then rights. The one path that accesses and the V2P operations share (R65).
 * Nothing is allocated; the result stands in `output` and `entry`.
 */
import { EXECUTE_NEVER, SIZE_SECTION, SIZE_SHIFT } from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import type { SmmuStatistics } from './statistics.ts';
import { NO_ENTRY, type Tlb } from './tlb.ts';
import {
  FAULT_PERMISSION,
  FAULT_TLB_MISS,
  FAULT_TRANSLATION,
  NO_FAULT,
  SECOND_LEVEL,
  type Walker,
} from './walk.ts';

/** The translation path of one instance. */
export class Translator {
  /** After NO_FAULT: physical address, attribute word. */
  readonly output: Uint32Array = new Uint32Array(2);
  /** After NO_FAULT: the TLB entry used, and whether it was there before. */
  entry: number = NO_ENTRY;
  isHit = false;
  readonly #tlb: Tlb;
  readonly #walker: Walker;
  readonly #statistics: SmmuStatistics;

  constructor(tlb: Tlb, walker: Walker, statistics: SmmuStatistics) {
    this.#tlb = tlb;
    this.#walker = walker;
    this.#statistics = statistics;
  }

  /**
   * Translates `va` for an access that needs the right `right`.
   * @param walks whether a TLB miss is walked; otherwise it is a fault (R33, R7)
   * @returns NO_FAULT or FSR bits
   */
  translate(
    bank: ContextBank,
    vmid: number,
    va: number,
    right: number,
    isInstruction: boolean,
    walks: boolean,
  ): number {
    // An IOVA has 32 bits; what lies above is not mapped by any table (fixed choice).
    if (va > 0xffffffff) return FAULT_TRANSLATION;
    const tlb = this.#tlb;
    let entry = tlb.lookup(vmid, bank.asid, va);
    this.isHit = entry !== NO_ENTRY;
    if (entry === NO_ENTRY) {
      this.#statistics.misses++;
      if (!walks) return FAULT_TLB_MISS;
      this.#statistics.walks++;
      const fault = this.#walker.walk(bank, va);
      if (fault !== NO_FAULT) return fault;
      const { result, isGlobal } = this.#walker;
      entry = tlb.insert(vmid, bank.asid, isGlobal, va, result[0] as number, result[1] as number, bank.index);
    } else {
      this.#statistics.hits++;
    }
    this.entry = entry;
    const attributes = tlb.attributes[entry] as number;
    if ((attributes & right) === 0 || (isInstruction && (attributes & EXECUTE_NEVER) !== 0)) {
      const size = (attributes >>> SIZE_SHIFT) & 3;
      return size < SIZE_SECTION ? FAULT_PERMISSION | SECOND_LEVEL : FAULT_PERMISSION;
    }
    this.output[0] = tlb.output(entry, va);
    this.output[1] = attributes;
    return NO_FAULT;
  }
}
