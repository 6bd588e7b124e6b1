/** How a range is cut into pages: the kernel's choice (drivers/iommu/iommu.c, iommu_pgsize), as a pure function. */
import { assert } from '@iommu-lab/machine';

const BITWISE_LIMIT = 2 ** 31;

/** A run of pages of one size. */
export interface Piece {
  readonly iova: number;
  readonly address: number;
  /** Bytes a page. */
  readonly pageSize: number;
  /** Number of pages. */
  readonly count: number;
}

/**
 * The first run of pages for a range: the largest page that fits and to which both addresses are aligned; as many of
 * them as are left, but no further than the boundary from which on a larger page can be used.
 * @param pageSizes leaf sizes in bytes, ascending powers of two
 * @param sizeBytes a multiple of the smallest of them, as both addresses are
 */
export function nextPiece(
  pageSizes: readonly number[],
  iova: number,
  address: number,
  sizeBytes: number,
): Piece {
  let index = pageSizes.length - 1;
  for (; index >= 0; index--) {
    const candidate = pageSizes[index] as number;
    if (candidate <= sizeBytes && isMultiple(iova, candidate) && isMultiple(address, candidate)) break;
  }
  const pageSize = pageSizes[index];
  assert(pageSize !== undefined, 'the range is not a multiple of the granule');
  let fillBytes = sizeBytes;
  const larger = pageSizes[index + 1];
  // Only addresses that are congruent modulo the larger size ever reach a boundary where both are aligned to it.
  if (larger !== undefined && isMultiple(iova - address, larger)) {
    const gapBytes = larger - (iova % larger);
    if (gapBytes + larger <= sizeBytes) fillBytes = gapBytes;
  }
  return { iova, address, pageSize, count: Math.floor(fillBytes / pageSize) };
}

/**
 * By bits where 32 are enough: what decides lies in the lowest 32 of a number below 2^53, and `%` of numbers beyond 31
 * bits is a division in floating point. A call asks this some ten times.
 */
function isMultiple(value: number, pageSize: number): boolean {
  return pageSize <= BITWISE_LIMIT ? (value & (pageSize - 1)) === 0 : value % pageSize === 0;
}

/**
 * The whole range in pieces, ascending, without gaps. Arguments as `nextPiece`.
 * @param pieces where they are appended to; an array of its own unless given
 */
export function splitRange(
  pageSizes: readonly number[],
  iova: number,
  address: number,
  sizeBytes: number,
  pieces: Piece[] = [],
): readonly Piece[] {
  for (let done = 0; done < sizeBytes;) {
    const piece = nextPiece(pageSizes, iova + done, address + done, sizeBytes - done);
    pieces.push(piece);
    done += piece.pageSize * piece.count;
  }
  return pieces;
}

/** The page, of those that `splitRange` makes of the range, in which `inside` lies. */
export function pageAround(
  pageSizes: readonly number[],
  range: { readonly iova: number; readonly address: number; readonly sizeBytes: number },
  inside: number,
): { readonly start: number; readonly pageSize: number } {
  const { iova, address, sizeBytes } = range;
  for (let done = 0; done < sizeBytes;) {
    const { pageSize, count } = nextPiece(pageSizes, iova + done, address + done, sizeBytes - done);
    done += pageSize * count;
    if (inside < iova + done) return { start: inside - (inside % pageSize), pageSize };
  }
  assert(false, 'the address lies in the range');
}
