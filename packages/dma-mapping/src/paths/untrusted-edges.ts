/**
 * The granules at the ends of a buffer hold bytes of others. A device that is not trusted gets bounce buffers for them, so that
 * the only bytes it reaches are the buffer's (drivers/iommu/dma-iommu.c, iommu_dma_iova_bounce_and_link; for an ordinary
 * map the kernel bounces all of an unaligned buffer, which copies more and shows the same).
 */
import { alignDown, alignUp, type PhysAddr } from '@iommu-lab/machine';
import type { BouncePool } from '../bounce/bounce-pool.ts';
import type { BounceSlot } from '../bounce/bounce-slot.ts';
import type { SgEntry } from '../dma-ops.ts';
import type { PathRequest } from './path.ts';

/** A piece of a buffer, with what stands for it; only the first may begin, and only the last may end inside a granule. */
export interface EdgePiece extends SgEntry {
  readonly bounce?: BounceSlot;
}

/**
 * The buffer in up to three pieces, those that share a granule with other memory bounced.
 * @throws LabError ENOMEM when the pool is full; no slot is held then
 */
export function bounceEdges(
  pool: BouncePool,
  deviceName: string,
  granule: number,
  entry: SgEntry,
  request: PathRequest,
): readonly EdgePiece[] {
  const end = entry.address + entry.length;
  const firstWhole = alignUp(entry.address as number, granule);
  const endWhole = alignDown(end, granule);
  const cuts = [
    entry.address,
    ...new Set([firstWhole, endWhole].filter((at) => at > entry.address && at < end)),
    end,
  ]
    .map(Number)
    .sort((a, b) => a - b);
  const pieces: EdgePiece[] = [];
  try {
    for (let i = 0; i + 1 < cuts.length; i++) {
      const [from, to] = [cuts[i] as number, cuts[i + 1] as number];
      const piece = { address: from as PhysAddr, length: to - from };
      const isWhole = from % granule === 0 && to % granule === 0;
      if (isWhole) pieces.push(piece);
      else {
        const bounce = pool.map({
          original: piece.address,
          sizeBytes: piece.length,
          reason: 'untrusted-edge',
          site: request.site,
          deviceName,
          direction: request.direction,
          limit: Number.MAX_SAFE_INTEGER,
          allocAlignMask: granule - 1,
          minAlignMask: granule - 1,
          segmentBoundaryMask: Number.MAX_SAFE_INTEGER,
        });
        pieces.push({ address: bounce.address, length: piece.length, bounce });
      }
    }
  } catch (error) {
    releaseEdges(pool, pieces);
    throw error;
  }
  return pieces;
}

/** Gives back what stands for the edges among the pieces. */
export function releaseEdges(pool: BouncePool | undefined, pieces: readonly EdgePiece[]): void {
  for (const { bounce } of pieces) if (bounce !== undefined) pool?.release(bounce);
}
