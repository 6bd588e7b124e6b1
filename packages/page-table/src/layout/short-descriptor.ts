/**
 * Bit layout of ARMv7-A short descriptors (Arm Architecture Reference Manual ARMv7-A, B3.5.1), as the MSM SMMU walks
 * them. Layout only: a walker decodes with it and a table writer encodes with it, and neither knows the other.
 *
 * Leaves out: domains (the SMMU has no DACR, R40) and the 40-bit extension of supersections.
 */

/** 4096 first-level entries, 1 MiB of IOVA each; the table is 16 KiB and as much aligned. */
export const FIRST_LEVEL_ENTRIES = 4096;
export const FIRST_LEVEL_BYTES = 0x4000;
/** 256 second-level entries, 4 KiB of IOVA each; the table is 1 KiB and as much aligned. */
export const SECOND_LEVEL_BYTES = 1024;
/** A supersection stands in 16 first-level entries, a large page in 16 second-level entries; all of them identical. */
export const REPLICAS = 16;

/** Bytes a leaf of each kind maps. */
export const SMALL_PAGE_BYTES = 0x1000;
export const LARGE_PAGE_BYTES = 0x10000;
export const SECTION_BYTES = 0x100000;
export const SUPERSECTION_BYTES = 0x1000000;
/** Leaf sizes in bytes, ascending. */
export const LEAF_SIZES: readonly number[] = [
  SMALL_PAGE_BYTES,
  LARGE_PAGE_BYTES,
  SECTION_BYTES,
  SUPERSECTION_BYTES,
];

/** Kinds of descriptor: those that give an address, and all that a level can hold. */
export type LeafKind = 'section' | 'supersection' | 'large' | 'small';
export type FirstLevelKind = 'invalid' | 'table' | 'section' | 'supersection';
export type SecondLevelKind = 'invalid' | 'large' | 'small';

/** What a leaf says besides its address. */
export interface LeafBits {
  /** AP[2:0]. With SCTLR.AFE set, AP[0] is the access flag. */
  readonly ap: number;
  /** TEX[2:0]. */
  readonly tex: number;
  readonly c: 0 | 1;
  readonly b: 0 | 1;
  readonly shareable: 0 | 1;
  /** nG: the entry is tagged with the ASID. */
  readonly notGlobal: 0 | 1;
  readonly executeNever: 0 | 1;
}

/** A place for `decodeLeaf` to put its result. */
export type MutableLeafBits = { -readonly [Field in keyof LeafBits]: LeafBits[Field] };

const NO_BITS: LeafBits = { ap: 0, tex: 0, c: 0, b: 0, shareable: 0, notGlobal: 0, executeNever: 0 };

/** Index of the first-level entry for a 32-bit address. */
export function firstLevelIndex(address: number): number {
  return address >>> 20;
}

/** Index of the second-level entry for a 32-bit address. */
export function secondLevelIndex(address: number): number {
  return (address >>> 12) & 0xff;
}

/** Type 00 and the reserved 11 are invalid (R36). */
export function firstLevelKind(word: number): FirstLevelKind {
  switch (word & 3) {
    case 1:
      return 'table';
    case 2:
      return (word & 0x40000) === 0 ? 'section' : 'supersection';
    default:
      return 'invalid';
  }
}

/** Type 00 is invalid; in 1x the lowest bit is execute-never (R36). */
export function secondLevelKind(word: number): SecondLevelKind {
  if ((word & 2) !== 0) return 'small';
  return (word & 1) === 1 ? 'large' : 'invalid';
}

/** Physical base of the second-level table a `table` entry points to. */
export function secondLevelBase(word: number): number {
  return (word & 0xfffffc00) >>> 0;
}

/** Bytes a leaf of this kind maps. */
export function leafBytes(kind: LeafKind): number {
  switch (kind) {
    case 'small':
      return SMALL_PAGE_BYTES;
    case 'large':
      return LARGE_PAGE_BYTES;
    case 'section':
      return SECTION_BYTES;
    case 'supersection':
      return SUPERSECTION_BYTES;
  }
}

/** The leaf kind that maps exactly `sizeBytes`, if there is one. */
export function leafKindOf(sizeBytes: number): LeafKind | undefined {
  switch (sizeBytes) {
    case SMALL_PAGE_BYTES:
      return 'small';
    case LARGE_PAGE_BYTES:
      return 'large';
    case SECTION_BYTES:
      return 'section';
    case SUPERSECTION_BYTES:
      return 'supersection';
    default:
      return undefined;
  }
}

/** Physical address a leaf gives for `address` (R37). */
export function outputAddress(kind: LeafKind, word: number, address: number): number {
  const offsetMask = leafBytes(kind) - 1;
  return ((word & ~offsetMask) | (address & offsetMask)) >>> 0;
}

/**
 * The attribute bits of a leaf; where they stand differs by kind.
 * @param into is filled and returned: a walker gives the same one each time, so that a walk allocates nothing.
 */
export function decodeLeaf(kind: LeafKind, word: number, into: MutableLeafBits = { ...NO_BITS }): LeafBits {
  const isSection = kind === 'section' || kind === 'supersection';
  const shift = isSection ? 6 : 0;
  const texShift = isSection || kind === 'large' ? 12 : 6;
  const xnShift = isSection ? 4 : kind === 'large' ? 15 : 0;
  into.ap = ((word >>> (4 + shift)) & 3) | (((word >>> (9 + shift)) & 1) << 2);
  into.tex = (word >>> texShift) & 7;
  into.c = ((word >>> 3) & 1) as 0 | 1;
  into.b = ((word >>> 2) & 1) as 0 | 1;
  into.shareable = ((word >>> (10 + shift)) & 1) as 0 | 1;
  into.notGlobal = ((word >>> (11 + shift)) & 1) as 0 | 1;
  into.executeNever = ((word >>> xnShift) & 1) as 0 | 1;
  return into;
}

/** A leaf descriptor for physical address `pa`, of which the bits below the leaf's size are ignored. */
export function encodeLeaf(kind: LeafKind, pa: number, leaf: LeafBits): number {
  const isSection = kind === 'section' || kind === 'supersection';
  const shift = isSection ? 6 : 0;
  const texShift = isSection || kind === 'large' ? 12 : 6;
  const xnShift = isSection ? 4 : kind === 'large' ? 15 : 0;
  const type = isSection ? 2 : kind === 'large' ? 1 : 2;
  const base = (pa & ~(leafBytes(kind) - 1)) >>> 0;
  return (
    (base |
      type |
      (kind === 'supersection' ? 0x40000 : 0) |
      (leaf.b << 2) |
      (leaf.c << 3) |
      ((leaf.ap & 3) << (4 + shift)) |
      (((leaf.ap >> 2) & 1) << (9 + shift)) |
      (leaf.tex << texShift) |
      (leaf.shareable << (10 + shift)) |
      (leaf.notGlobal << (11 + shift)) |
      (leaf.executeNever << xnShift)) >>>
    0
  );
}

/** A first-level entry that points to the second-level table at `base` (1 KiB aligned). */
export function encodeTablePointer(base: number): number {
  return ((base & 0xfffffc00) | 1) >>> 0;
}
