/** How a range is cut into pages: the kernel's choice (drivers/iommu/iommu.c, iommu_pgsize), as a pure function. */
import { assert } from '@iommu-lab/machine';

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
  let index = -1;
  pageSizes.forEach((pageSize, i) => {
    if (pageSize <= sizeBytes && iova % pageSize === 0 && address % pageSize === 0) index = i;
  });
  const pageSize = pageSizes[index];
  assert(pageSize !== undefined, 'the range is not a multiple of the granule');
  let fillBytes = sizeBytes;
  const larger = pageSizes[index + 1];
  // Only addresses that are congruent modulo the larger size ever reach a boundary where both are aligned to it.
  if (larger !== undefined && (iova - address) % larger === 0) {
    const gapBytes = larger - (iova % larger);
    if (gapBytes + larger <= sizeBytes) fillBytes = gapBytes;
  }
  return { iova, address, pageSize, count: Math.floor(fillBytes / pageSize) };
}

/** The whole range in pieces, ascending, without gaps. Arguments as `nextPiece`. */
export function splitRange(
  pageSizes: readonly number[],
  iova: number,
  address: number,
  sizeBytes: number,
): readonly Piece[] {
  const pieces: Piece[] = [];
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
  const piece = splitRange(pageSizes, range.iova, range.address, range.sizeBytes).findLast(
    (p) => p.iova <= inside,
  );
  assert(piece !== undefined, 'the address lies in the range');
  const { pageSize } = piece;
  return { start: inside - ((inside - piece.iova) % pageSize), pageSize };
}
