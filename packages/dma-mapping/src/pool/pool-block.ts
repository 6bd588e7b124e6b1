/** A block of a DMA pool: a stretch of one coherent page. */
import { LabError, offsetBy } from '@iommu-lab/machine';
import type { CoherentBuffer } from '../dma-ops.ts';

/** It is used as a coherent buffer of its own, and freed by its pool. */
export type DmaPoolBlock = CoherentBuffer;

export interface PoolPage {
  readonly buffer: CoherentBuffer;
  busyBlocks: number;
}

export interface BlockPlace {
  readonly page: PoolPage;
  /** Of its first byte in the page. */
  readonly offset: number;
}

/** What the pool hands out. */
export class PoolBlock implements CoherentBuffer {
  readonly dmaAddress: CoherentBuffer['dmaAddress'];
  readonly sizeBytes: number;
  /** The pool it is of. */
  readonly pool: object;
  readonly #place: BlockPlace;
  #isFreed = false;

  constructor(pool: object, place: BlockPlace, sizeBytes: number) {
    this.pool = pool;
    this.dmaAddress = offsetBy(place.page.buffer.dmaAddress, place.offset);
    this.sizeBytes = sizeBytes;
    this.#place = place;
  }

  read(offset: number, into: Uint8Array): void {
    this.#place.page.buffer.read(this.#offset(offset, into.length), into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#place.page.buffer.write(this.#offset(offset, from.length), from);
  }

  read32(offset: number): number {
    return this.#place.page.buffer.read32(this.#offset(offset, 4));
  }

  write32(offset: number, value: number): void {
    this.#place.page.buffer.write32(this.#offset(offset, 4), value);
  }

  /** The block is free: a use of it after this is EINVAL. */
  revoke(): void {
    this.#isFreed = true;
  }

  /** In the page. The page would not notice that its neighbours in it are meant. */
  #offset(offset: number, sizeBytes: number): number {
    if (this.#isFreed) throw new LabError('EINVAL', 'the block of the DMA pool has been freed', { offset });
    if (Number.isSafeInteger(offset) && offset >= 0 && offset + sizeBytes <= this.sizeBytes) {
      return this.#place.offset + offset;
    }
    throw new LabError('EINVAL', `offset ${offset} is outside the block of the DMA pool`, {
      offset,
      sizeBytes,
      blockBytes: this.sizeBytes,
    });
  }
}
