/**
 * Routing entries by machine id: which bank and VMID, and what to do with an access that is not translated. Decoded at
 * each write, so that an access finds plain numbers.
 */
import { extract, maskOf } from '@iommu-lab/machine';
import { BYPASSED, CACHEABLE, INNER_SHAREABLE, MEMORY_TYPE_SHIFT, SHAREABLE } from './attributes.ts';
import type { ContextBank } from './context-bank.ts';
import { implementedBits } from './implemented.ts';
import { MT_CACHEABLE, MT_NON_CACHEABLE, redirectMask } from './memory-type.ts';
import type { Readings } from './readings.ts';
import { M2VCBR } from './regs/index.ts';
import { vmidTag } from './tlb-key.ts';

const { fields } = M2VCBR;
const IMPLEMENTED = implementedBits(M2VCBR);
const BYPASS_DISABLED = maskOf(fields.BYPASSD);
/** NSCFG: what the stream's accesses are, whatever the master drives (R31). */
const NSCFG_NON_SECURE = 3;
const NSCFG_SECURE = 2;
/** Codes of BPMEMTYPE from here on are cacheable (as PAR.NOFAULT_MT; fixed choice). */
const FIRST_CACHEABLE_TYPE = 5;
const BPSHCFG_OUTER = 1;
const BPSHCFG_INNER = 2;

/** One machine id. */
export class Stream {
  /** M2VCBR. */
  word = 0;
  /** undefined if CBNDX names one that does not exist. */
  bank: ContextBank | undefined;
  /** What the stream's TLB look-ups compare, and whether its accesses need nothing but translation: the bank's. */
  tag = 0;
  isReady = false;
}

/** The machine ids of one instance; all words are 0 at power-on. */
export class StreamMap {
  readonly streams: readonly Stream[];
  readonly #banks: readonly ContextBank[];

  constructor(streams: number, banks: readonly ContextBank[]) {
    this.#banks = banks;
    this.streams = Array.from({ length: streams }, () => new Stream());
    this.reset();
    for (const bank of banks) bank.onChange = () => this.#follow(bank);
  }

  /** The M2VCBR word of a machine id; 0 for one that has none. */
  word(mid: number): number {
    return this.streams[mid]?.word ?? 0;
  }

  set(mid: number, word: number): void {
    const stream = this.streams[mid] as Stream;
    stream.word = (word & IMPLEMENTED) >>> 0;
    stream.bank = this.#banks[extract(word, fields.CBNDX)];
    followBank(stream);
  }

  reset(): void {
    for (let mid = 0; mid < this.streams.length; mid++) this.set(mid, 0);
  }

  /** Every word, by machine id. */
  snapshot(): readonly number[] {
    return this.streams.map(({ word }) => word);
  }

  #follow(bank: ContextBank): void {
    for (const stream of this.streams) if (stream.bank === bank) followBank(stream);
  }
}

function followBank(stream: Stream): void {
  const { bank, word } = stream;
  stream.tag = bank === undefined ? 0 : bank.tag | vmidTag(vmidOf(word));
  stream.isReady = bank !== undefined && bank.isReady;
}

/** VMID of a routing word. */
export function vmidOf(word: number): number {
  return word & 0x1f;
}

/** BYPASSD: an access of the stream may not pass untranslated. */
export function isBypassDisabled(word: number): boolean {
  return (word & BYPASS_DISABLED) !== 0;
}

/** Whether the access goes on as non-secure. */
export function isNonSecure(word: number, isSecureMaster: boolean): boolean {
  switch (extract(word, fields.NSCFG)) {
    case NSCFG_NON_SECURE:
      return true;
    case NSCFG_SECURE:
      return false;
    default:
      return !isSecureMaster;
  }
}

/**
 * Attribute word of an untranslated access. What a master drives is taken as non-shareable, and cacheable or not as
 * `bypassMemory` says, unless BPMTCFG and BPSHCFG override it (R32).
 */
export function bypassAttributes(word: number, unlessOverridden: Readings['bypassMemory']): number {
  const driven = unlessOverridden === 'cacheable' ? MT_CACHEABLE : MT_NON_CACHEABLE;
  const type = extract(word, fields.BPMTCFG) === 1 ? extract(word, fields.BPMEMTYPE) : driven;
  const override = extract(word, fields.BPSHCFG);
  const shareability =
    override === BPSHCFG_OUTER ? SHAREABLE : override === BPSHCFG_INNER ? SHAREABLE | INNER_SHAREABLE : 0;
  return (
    BYPASSED | (type << MEMORY_TYPE_SHIFT) | (type >= FIRST_CACHEABLE_TYPE ? CACHEABLE : 0) | shareability
  );
}

/** Which untranslated accesses are redirected to the CPU's cache, as `isSnooped` wants it. */
export function bypassRedirects(word: number): number {
  return redirectMask(
    extract(word, fields.BPRCNSH),
    extract(word, fields.BPRCISH),
    extract(word, fields.BPRCOSH),
  );
}
