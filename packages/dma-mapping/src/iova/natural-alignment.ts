/**
 * Where a range may lie: at a multiple of its size rounded up to a power of two (the kernel's `size_aligned` ranges,
 * drivers/iommu/iova.c: iova_align / __alloc_and_insert_iova_range). Numbers are counts of granules below 2^53; products and
 * quotients with powers of two are exact.
 */

const WORD = 2 ** 32;
const POWERS: Float64Array = Float64Array.from({ length: 64 }, (_, exponent) => 2 ** exponent);

/** The largest power of two that is not above `count` (at least 1). */
export function powerAtMost(count: number): number {
  const exponent = count < WORD ? 31 - Math.clz32(count) : 63 - Math.clz32(Math.floor(count / WORD));
  return POWERS[exponent] as number;
}

/** The smallest power of two that is not below `count` (at least 1). */
export function powerAtLeast(count: number): number {
  return count <= 1 ? 1 : 2 * powerAtMost(count - 1);
}

/** Where the highest range of `size` that ends at or below `end` starts. */
export function highestStart(end: number, size: number): number {
  const alignment = powerAtLeast(size);
  return Math.floor((end - size) / alignment) * alignment;
}

/**
 * The largest size that fits into the hole `[start, end)`. Every smaller one fits too: where a block of 2^k lies aligned, any
 * size up to 2^k does; a size between that and 2^(k+1) starts at a multiple of 2^(k+1); and whatever starts at a multiple of
 * more than that would have a block of 2^(k+1) in it. So one number says of a hole which requests it serves.
 */
export function largestFit(start: number, end: number): number {
  let block = powerAtMost(end - start);
  if (Math.ceil(start / block) * block + block > end) block /= 2;
  const alignment = 2 * block;
  return Math.max(block, end - Math.ceil(start / alignment) * alignment);
}
