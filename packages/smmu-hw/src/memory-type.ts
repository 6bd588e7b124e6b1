/**
 * Memory type and shareability of a mapping, and whether its traffic looks into the CPU's cache.
 * TEX remap and the meaning without it are those of ARMv7 (R42, R43).
 */
import {
  CACHEABLE,
  INNER_SHAREABLE,
  MEMORY_TYPE_SHIFT,
  SHAREABILITY_SHIFT,
  SHAREABLE,
} from './attributes.ts';

/** Codes of the inner memory type, as in the PAR of ARMv7. */
export const MT_NON_CACHEABLE = 0;
export const MT_STRONGLY_ORDERED = 1;
export const MT_DEVICE = 3;
/** Write-back, write-allocate; 6 and 7 are the other cacheable ones. */
export const MT_CACHEABLE = 5;

/** Code by cache policy 0 non-cacheable, 1 WB-WA, 2 WT, 3 WB no WA. */
const MT_BY_POLICY: readonly number[] = [MT_NON_CACHEABLE, MT_CACHEABLE, 6, 7];

const STRONGLY_ORDERED = (MT_STRONGLY_ORDERED << MEMORY_TYPE_SHIFT) | SHAREABLE;

/** Words of a memory table: one for each {TEX[2:0], C, B, S}, as `leafMemoryClass` numbers them. */
export const MEMORY_TABLE_WORDS = 64;

/** Fills `table` with the attribute bits (memory type, shareability, cacheable) of every descriptor class. */
export function fillMemoryTable(table: Int32Array, isRemapped: boolean, prrr: number, nmrr: number): void {
  for (let index = 0; index < MEMORY_TABLE_WORDS; index++) {
    const shareable = index & 1;
    table[index] = isRemapped
      ? remapped((index >>> 1) & 7, shareable, prrr, nmrr)
      : plain(index >>> 1, shareable);
  }
}

/**
 * For each shareability {SH, ISH} one bit: whether cacheable traffic of that kind is redirected to the port of the
 * CPU's cache.
 */
export function redirectMask(nonShareable: number, innerShareable: number, outerShareable: number): number {
  return nonShareable | (outerShareable << 2) | (innerShareable << 3);
}

/** Whether a transaction with these attributes sees and updates the CPU's cache (ACTLR.RCxSH, M2VCBR.BPRCxSH). */
export function isSnooped(attributes: number, mask: number): boolean {
  const shareability = (attributes >>> SHAREABILITY_SHIFT) & 3;
  return (attributes & CACHEABLE) !== 0 && ((mask >>> shareability) & 1) === 1;
}

/** Class n = {TEX[0], C, B} through PRRR and NMRR; TEX[2:1] do not count. */
function remapped(n: number, s: number, prrr: number, nmrr: number): number {
  const notOuter = (prrr >>> (24 + n)) & 1;
  switch ((prrr >>> (2 * n)) & 3) {
    case 1:
      return (MT_DEVICE << MEMORY_TYPE_SHIFT) | shareability((prrr >>> (16 + s)) & 1, notOuter);
    case 2: {
      const share = shareability((prrr >>> (18 + s)) & 1, notOuter);
      return normal((nmrr >>> (2 * n)) & 3, (nmrr >>> (16 + 2 * n)) & 3) | share;
    }
    default:
      // 0 is strongly ordered; 3 is reserved and taken as such (fixed choice).
      return STRONGLY_ORDERED;
  }
}

/** {TEX[2:0], C, B} without remap; what ARMv7 reserves is strongly ordered (fixed choice). */
function plain(texCb: number, s: number): number {
  const share = shareability(s, 0);
  if (texCb >= 16) return normal(texCb & 3, (texCb >>> 2) & 3) | share;
  switch (texCb) {
    case 1:
      return (MT_DEVICE << MEMORY_TYPE_SHIFT) | SHAREABLE;
    case 2:
      return normal(2, 2) | share;
    case 3:
      return normal(3, 3) | share;
    case 4:
      return normal(0, 0) | share;
    case 7:
      return normal(1, 1) | share;
    case 8:
      return MT_DEVICE << MEMORY_TYPE_SHIFT;
    default:
      return STRONGLY_ORDERED;
  }
}

function normal(inner: number, outer: number): number {
  const type = (MT_BY_POLICY[inner] as number) << MEMORY_TYPE_SHIFT;
  return inner === 0 && outer === 0 ? type : type | CACHEABLE;
}

function shareability(isShareable: number, notOuter: number): number {
  if (isShareable === 0) return 0;
  return notOuter === 1 ? SHAREABLE | INNER_SHAREABLE : SHAREABLE;
}
