/** A scattered buffer as a device sees it: a list of pieces in memory, taken as one range of bytes. */
import type { BusMaster } from '@iommu-lab/machine';
import { SCATTER_ENTRY_BYTES } from '../registers/ijpeg.ts';
import type { JobRun } from './job-engine.ts';
import { inSequence } from './transfers.ts';

export interface Piece {
  readonly address: number;
  readonly length: number;
}

/** Fetches a list of `count` entries. `ended` is called once: with the pieces, or with the address that failed. */
export function fetchScatterList(
  run: JobRun,
  master: BusMaster,
  address: number,
  count: number,
  ended: (list: readonly Piece[] | undefined, faultAddress: number) => void,
): void {
  const bytes = new Uint8Array(count * SCATTER_ENTRY_BYTES);
  inSequence(
    run,
    1,
    () => master.read(address, bytes),
    (fault) => {
      if (fault !== undefined) return ended(undefined, fault);
      const view = new DataView(bytes.buffer);
      const list = Array.from({ length: count }, (_, i) => ({
        address: view.getUint32(i * SCATTER_ENTRY_BYTES, true),
        length: view.getUint32(i * SCATTER_ENTRY_BYTES + 4, true),
      }));
      ended(list, 0);
    },
  );
}

/** Bytes all pieces have together. */
export function totalBytes(list: readonly Piece[]): number {
  return list.reduce((sum, piece) => sum + piece.length, 0);
}

/** The pieces of `[start, start + sizeBytes)`, which the list must hold. */
export function slicePieces(list: readonly Piece[], start: number, sizeBytes: number): readonly Piece[] {
  const slices: Piece[] = [];
  const end = start + sizeBytes;
  let at = 0;
  for (const piece of list) {
    const from = Math.max(start, at);
    const to = Math.min(end, at + piece.length);
    if (from < to) slices.push({ address: piece.address + (from - at), length: to - from });
    at += piece.length;
    if (at >= end) break;
  }
  return slices;
}

/** Moves `bytes` to or from consecutive pieces. `ended` as `inSequence`'s. */
export function movePieces(
  run: JobRun,
  master: BusMaster,
  pieces: readonly Piece[],
  bytes: Uint8Array,
  direction: 'read' | 'write',
  ended: (faultAddress: number | undefined) => void,
): void {
  let at = 0;
  inSequence(
    run,
    pieces.length,
    (i) => {
      const piece = pieces[i] as Piece;
      const part = bytes.subarray(at, at + piece.length);
      at += piece.length;
      return direction === 'read' ? master.read(piece.address, part) : master.write(piece.address, part);
    },
    ended,
  );
}
