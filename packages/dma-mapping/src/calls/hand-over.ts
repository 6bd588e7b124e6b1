/**
 * What the CPU must do when a streaming buffer changes hands: cache maintenance where the device does not snoop, and copies
 * where a bounce buffer stands for the memory. To the device: copy first, then clean. Back: invalidate first, then copy.
 * (kernel/dma/direct.h, dma_direct_sync_single_for_device and _for_cpu.)
 */
import { assert, type CacheMaintenance } from '@iommu-lab/machine';
import type { BouncePool } from '../bounce/bounce-pool.ts';
import { syncForCpu, syncForDevice } from './cpu-sync.ts';
import type { DmaDirection } from '../dma-ops.ts';
import type { MappedPiece } from '../paths/path.ts';

/** A piece, or part of one, without the device's view of it. */
export type HandedPiece = Pick<MappedPiece, 'address' | 'length' | 'bounce'>;

export class HandOver {
  readonly #maintenance: CacheMaintenance | undefined;
  readonly #bounce: BouncePool | undefined;

  /** @param maintenance absent for a device that snoops; @param bounce where bounced pieces are */
  constructor(maintenance: CacheMaintenance | undefined, bounce: BouncePool | undefined) {
    this.#maintenance = maintenance;
    this.#bounce = bounce;
  }

  /** Whether anything is done for these pieces. */
  isNeeded(pieces: readonly HandedPiece[]): boolean {
    return this.#maintenance !== undefined || pieces.some(({ bounce }) => bounce !== undefined);
  }

  /**
   * Pieces that have just been mapped. Memory must hold the copies in bounce buffers, and the zeroes around them, whoever syncs
   * the buffer: what an earlier user left there is nobody's business.
   * @param isSynced whether the caller's own memory is handed over too
   */
  mapped(pieces: readonly HandedPiece[], direction: DmaDirection, isSynced: boolean): void {
    if (this.#maintenance === undefined) return;
    for (const piece of pieces) {
      if (piece.bounce !== undefined) {
        assert(this.#bounce !== undefined, 'a bounced piece comes from a pool');
        const isPadded = piece.bounce.reason === 'untrusted-edge';
        const { address, length } = isPadded ? this.#bounce.memoryOf(piece.bounce) : piece;
        this.#maintenance.clean(address, length);
      } else if (isSynced) {
        syncForDevice(this.#maintenance, [piece], direction);
      }
    }
  }

  toDevice(pieces: readonly HandedPiece[], direction: DmaDirection): void {
    if (direction !== 'from-device') this.#copy(pieces, 'copyIn');
    if (this.#maintenance !== undefined) syncForDevice(this.#maintenance, pieces, direction);
  }

  toCpu(pieces: readonly HandedPiece[], direction: DmaDirection): void {
    if (this.#maintenance !== undefined) syncForCpu(this.#maintenance, pieces, direction);
    if (direction !== 'to-device') this.#copy(pieces, 'copyOut');
  }

  /** The bounce buffers among the pieces are free again. */
  release(pieces: readonly HandedPiece[]): void {
    for (const { bounce } of pieces) if (bounce !== undefined) this.#bounce?.release(bounce);
  }

  #copy(pieces: readonly HandedPiece[], way: 'copyIn' | 'copyOut'): void {
    for (const { address, length, bounce } of pieces) {
      if (bounce === undefined) continue;
      assert(this.#bounce !== undefined, 'a bounced piece comes from a pool');
      this.#bounce[way](bounce, address - bounce.address, length);
    }
  }
}
