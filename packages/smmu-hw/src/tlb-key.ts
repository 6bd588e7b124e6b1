/**
 * What makes a TLB entry the one that is meant: VMID, ASID, whether it is global, its size, and (if banks do not share
 * entries) its bank, in one word. 0 is the key of no entry.
 */

// ASID [7:0], VMID [12:8], global 13, size code [15:14], valid 16, bank + 1 from 17 on.
const ASID_BITS = 0xff;
const VMID_SHIFT = 8;
const VMID_BITS = 0x1f << VMID_SHIFT;
const GLOBAL = 1 << 13;
const KEY_SIZE_SHIFT = 14;
const VALID = 1 << 16;
const BANK_SHIFT = 17;

/** What a look-up compares besides the address: ASID, and the bank if banks do not share entries. */
export function contextTag(asid: number, ownBank: number | undefined): number {
  return VALID | asid | (ownBank === undefined ? 0 : (ownBank + 1) << BANK_SHIFT);
}

/** The part of a tag that the VMID makes; `contextTag | vmidTag` is a whole tag. */
export function vmidTag(vmid: number): number {
  return vmid << VMID_SHIFT;
}

/** Key of an entry that a look-up with `tag` loads. @param size size code */
export function keyOf(tag: number, size: number, isGlobal: boolean): number {
  return (isGlobal ? (tag & ~ASID_BITS) | GLOBAL : tag) | (size << KEY_SIZE_SHIFT);
}

export function asidOfKey(key: number): number {
  return key & ASID_BITS;
}

export function vmidOfKey(key: number): number {
  return (key & VMID_BITS) >>> VMID_SHIFT;
}

export function isGlobalKey(key: number): boolean {
  return (key & GLOBAL) !== 0;
}

/** Size code: position in LEAF_SIZES. */
export function sizeOfKey(key: number): number {
  return (key >>> KEY_SIZE_SHIFT) & 3;
}

/** Number of classes: entries of one class are found by one comparison of keys. */
export const CLASSES = 8;

/** Class of an entry: size code x 2 + global. */
export function classOf(key: number): number {
  return ((key >>> (KEY_SIZE_SHIFT - 1)) & 6) | ((key & GLOBAL) === 0 ? 0 : 1);
}

/** For all entries of a class: a tag masked with `tagMask`, with `bits` added, is the key it finds. */
export function comparisonOf(entryClass: number): { readonly tagMask: number; readonly bits: number } {
  const isOfAll = (entryClass & 1) === 1;
  return {
    tagMask: isOfAll ? ~ASID_BITS : -1,
    bits: ((entryClass >>> 1) << KEY_SIZE_SHIFT) | (isOfAll ? GLOBAL : 0),
  };
}

/** Which entries an invalidation means: instead of a VMID or an ASID all of them, instead of an ASID the global ones. */
export const EVERY = -1;
export const GLOBALS = -2;

/** The bits of a key that tell whether an entry is meant. @param asid an ASID (of entries that are not global), EVERY or GLOBALS */
export function maskOfMeant(vmid: number, asid: number): number {
  const ofAsid = asid === EVERY ? 0 : asid === GLOBALS ? GLOBAL : GLOBAL | ASID_BITS;
  return VALID | ofAsid | (vmid === EVERY ? 0 : VMID_BITS);
}

/** What these bits are if it is. */
export function valueOfMeant(vmid: number, asid: number): number {
  const ofAsid = asid === EVERY ? 0 : asid === GLOBALS ? GLOBAL : asid;
  return VALID | ofAsid | (vmid === EVERY ? 0 : vmidTag(vmid));
}
