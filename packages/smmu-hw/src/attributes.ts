/**
 * What a translation carries besides its address, in one word: the layout of TLBTR0 (rights, memory type,
 * shareability, size code), and four bits of our own in a gap of it.
 */
import { maskOf } from '@iommu-lab/machine';
import { TLBTR0 } from './regs/index.ts';

export const PRIVILEGED_READ: number = maskOf(TLBTR0.fields.PR);
export const PRIVILEGED_WRITE: number = maskOf(TLBTR0.fields.PW);
export const USER_READ: number = maskOf(TLBTR0.fields.UR);
export const USER_WRITE: number = maskOf(TLBTR0.fields.UW);
export const EXECUTE_NEVER: number = maskOf(TLBTR0.fields.XN);
export const NS_DESCRIPTOR: number = maskOf(TLBTR0.fields.NSDESC);
export const INNER_SHAREABLE: number = maskOf(TLBTR0.fields.ISH);
export const SHAREABLE: number = maskOf(TLBTR0.fields.SH);
/** {SH, ISH} as a number: 0 not shareable, 2 outer, 3 inner shareable. */
export const SHAREABILITY_SHIFT: number = TLBTR0.fields.ISH.shift;
export const MEMORY_TYPE_SHIFT: number = TLBTR0.fields.MT.shift;
export const SIZE_SHIFT: number = TLBTR0.fields.DPSIZR.shift;
/** A binding that is exported is a variable to the compiler; this one is a constant. */
const STEP_SHIFT = TLBTR0.fields.DPSIZR.shift - 2;
/** Inner or outer policy is cacheable. Not part of TLBTR0. */
export const CACHEABLE: number = 1 << 24;
/** The entry says that a walk found nothing (R26). Not part of TLBTR0. */
export const FAILED_WALK: number = 1 << 25;
/** The physical address has bits above 31. Not part of TLBTR0. */
export const EXTENDED_ADDRESS: number = 1 << 26;
/** The access was not translated. Never in an entry. */
export const BYPASSED: number = 1 << 27;
const OWN_BITS = CACHEABLE | FAILED_WALK | EXTENDED_ADDRESS | BYPASSED;

/** Size codes: position in LEAF_SIZES. */
export const SIZE_SMALL = 0;
export const SIZE_LARGE = 1;
export const SIZE_SECTION = 2;
export const SIZE_SUPERSECTION = 3;

/** log2 of the page size of a translation: 12, and 4 more for each step of the size code. */
export function pageShift(attributes: number): number {
  return 12 + ((attributes >>> STEP_SHIFT) & 12);
}

/** Mask of an offset in its page. */
export function offsetMask(attributes: number): number {
  return (1 << pageShift(attributes)) - 1;
}

/** What TLBTR0 shows of an attribute word. */
export function toTlbtr0(attributes: number): number {
  const size = (attributes >>> SIZE_SHIFT) & 3;
  return ((attributes & ~OWN_BITS) | (size << TLBTR0.fields.DPSIZC.shift)) >>> 0;
}
