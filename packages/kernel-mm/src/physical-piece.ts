/** Stretches of physical memory. */
import type { PhysAddr } from '@iommu-lab/machine';

/** Bytes that lie together in memory. */
export interface PhysicalPiece {
  readonly address: PhysAddr;
  /** In bytes. */
  readonly length: number;
}

/** The same bytes in the same order, in as few pieces as there can be. */
export function mergeAdjacent(pieces: readonly PhysicalPiece[]): readonly PhysicalPiece[] {
  const merged: PhysicalPiece[] = [];
  for (const piece of pieces) {
    const last = merged.at(-1);
    if (last !== undefined && last.address + last.length === piece.address) {
      merged[merged.length - 1] = { address: last.address, length: last.length + piece.length };
    } else {
      merged.push(piece);
    }
  }
  return merged;
}
