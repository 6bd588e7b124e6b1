/**
 * Bit layout of ARMv7-A short descriptors (Arm Architecture Reference Manual ARMv7-A, B3.5.1), as the MSM SMMU walks
 * them. Layout only: a walker decodes with it and a table writer encodes with it, and neither knows the other.
 *
 * Leaves out: domains (the SMMU has no DACR, R40).
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

/** PA[39:32] of a supersection: bits 8:5 are PA[39:36], bits 23:20 are PA[35:32]. Not every walker has them. */
export function supersectionHighBits(word: number): number {
  return (((word >>> 5) & 0xf) << 4) | ((word >>> 20) & 0xf);
}

/** Where the attribute bits of a leaf stand. */
export interface LeafLayout {
  /** Shift of AP, S and nG from where they stand in a second-level leaf. */
  readonly common: number;
  /** Shift of TEX[0], and of the execute-never bit. */
  readonly tex: number;
  readonly executeNever: number;
}

export const SMALL_PAGE_LAYOUT: LeafLayout = { common: 0, tex: 6, executeNever: 0 };
export const LARGE_PAGE_LAYOUT: LeafLayout = { common: 0, tex: 12, executeNever: 15 };
/** Of supersections too. */
export const SECTION_LAYOUT: LeafLayout = { common: 6, tex: 12, executeNever: 4 };

/** AP[2:0] of a leaf. */
export function leafAccess(layout: LeafLayout, word: number): number {
  return ((word >>> (4 + layout.common)) & 3) | ((word >>> (7 + layout.common)) & 4);
}

/** What decides the memory type of a leaf: {TEX[2:0], C, B, S}, 0..63. */
export function leafMemoryClass(layout: LeafLayout, word: number): number {
  return (((word >>> layout.tex) & 7) << 3) | ((word >>> 1) & 6) | ((word >>> (10 + layout.common)) & 1);
}

/** nG of a leaf. */
export function leafNotGlobal(layout: LeafLayout, word: number): number {
  return (word >>> (11 + layout.common)) & 1;
}

/** XN of a leaf. */
export function leafExecuteNever(layout: LeafLayout, word: number): number {
  return (word >>> layout.executeNever) & 1;
}

/** The attribute bits of a leaf; where they stand differs by kind. */
export function decodeLeaf(kind: LeafKind, word: number): LeafBits {
  const layout = layoutOf(kind);
  const memoryClass = leafMemoryClass(layout, word);
  return {
    ap: leafAccess(layout, word),
    tex: memoryClass >>> 3,
    c: ((memoryClass >>> 2) & 1) as 0 | 1,
    b: ((memoryClass >>> 1) & 1) as 0 | 1,
    shareable: (memoryClass & 1) as 0 | 1,
    notGlobal: leafNotGlobal(layout, word) as 0 | 1,
    executeNever: leafExecuteNever(layout, word) as 0 | 1,
  };
}

/** A leaf descriptor for physical address `pa`, of which the bits below the leaf's size are ignored. */
export function encodeLeaf(kind: LeafKind, pa: number, leaf: LeafBits): number {
  const { common, tex, executeNever } = layoutOf(kind);
  const type = kind === 'large' ? 1 : 2;
  const base = (pa & ~(leafBytes(kind) - 1)) >>> 0;
  return (
    (base |
      type |
      (kind === 'supersection' ? 0x40000 : 0) |
      (leaf.b << 2) |
      (leaf.c << 3) |
      ((leaf.ap & 3) << (4 + common)) |
      (((leaf.ap >> 2) & 1) << (9 + common)) |
      (leaf.tex << tex) |
      (leaf.shareable << (10 + common)) |
      (leaf.notGlobal << (11 + common)) |
      (leaf.executeNever << executeNever)) >>>
    0
  );
}

/** A first-level entry that points to the second-level table at `base` (1 KiB aligned). */
export function encodeTablePointer(base: number): number {
  return ((base & 0xfffffc00) | 1) >>> 0;
}

function layoutOf(kind: LeafKind): LeafLayout {
  switch (kind) {
    case 'small':
      return SMALL_PAGE_LAYOUT;
    case 'large':
      return LARGE_PAGE_LAYOUT;
    case 'section':
    case 'supersection':
      return SECTION_LAYOUT;
  }
}
