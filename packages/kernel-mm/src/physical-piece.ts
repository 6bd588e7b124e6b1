/** Stretches of physical memory. */
import { isAligned, type PhysAddr } from '@iommu-lab/machine';
import { FRAME_BYTES } from './frame-allocator.ts';

/** Bytes that lie together in memory. */
export interface PhysicalPiece {
  readonly address: PhysAddr;
  /** In bytes. */
  readonly length: number;
}

const ADDRESS_END = 2 ** 32;

/** Whether the pieces are whole frames, at least one, where a table of 32 bits can lead to. */
export function areWholeFrames(pieces: readonly PhysicalPiece[]): boolean {
  const isFrames = ({ address, length }: PhysicalPiece): boolean =>
    isAligned(address, FRAME_BYTES) &&
    isAligned(length, FRAME_BYTES) &&
    address >= 0 &&
    length > 0 &&
    address + length <= ADDRESS_END;
  return pieces.length > 0 && pieces.every(isFrames);
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
