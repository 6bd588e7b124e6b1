/** Routing entries by machine id: which bank and VMID, and what to do with an access that is not translated. */
import { extract, maskOf } from '@iommu-lab/machine';
import { CACHEABLE, INNER_SHAREABLE, SHAREABLE } from './attributes.ts';
import { implementedBits } from './implemented.ts';
import { isSnooped, redirectMask } from './memory-type.ts';
import { M2VCBR } from './regs/index.ts';

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

/** The M2VCBR words of one instance; 0 at power-on. */
export class StreamMap {
  readonly streams: number;
  readonly #words: Uint32Array;

  constructor(streams: number) {
    this.streams = streams;
    this.#words = new Uint32Array(streams);
  }

  /** The M2VCBR word of a machine id below `streams`. */
  word(mid: number): number {
    return this.#words[mid] as number;
  }

  set(mid: number, word: number): void {
    this.#words[mid] = word & IMPLEMENTED;
  }

  reset(): void {
    this.#words.fill(0);
  }
}

/** Bank of a routing word. */
export function bankOf(word: number): number {
  return (word >>> 8) & 0xff;
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
 * Whether an untranslated access looks into the CPU's cache. What a master drives is taken as cacheable and
 * non-shareable (fixed choice), unless BPMTCFG and BPSHCFG override it; then BPRCxSH decide as ACTLR's fields do.
 */
export function isBypassSnooped(word: number): boolean {
  const isCacheable =
    extract(word, fields.BPMTCFG) === 0 || extract(word, fields.BPMEMTYPE) >= FIRST_CACHEABLE_TYPE;
  const override = extract(word, fields.BPSHCFG);
  const shareability =
    override === BPSHCFG_OUTER ? SHAREABLE : override === BPSHCFG_INNER ? SHAREABLE | INNER_SHAREABLE : 0;
  const mask = redirectMask(
    extract(word, fields.BPRCNSH),
    extract(word, fields.BPRCISH),
    extract(word, fields.BPRCOSH),
  );
  return isSnooped((isCacheable ? CACHEABLE : 0) | shareability, mask);
}
