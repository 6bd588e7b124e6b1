/**
 * Small coherent blocks, cut out of coherent pages (mm/dmapool.c, with its debugging on): descriptors that hardware reads
 * are smaller than a page, and are allocated by the thousand. A free block holds a pattern, so that a device that still
 * writes to it is found out.
 */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import { alignDown, alignUp, assert, hex, isPowerOfTwo, LabError, type World } from '@iommu-lab/machine';
import type { CoherentBuffer, DmaOps } from '../dma-ops.ts';
import { type BlockPlace, type DmaPoolBlock, PoolBlock, type PoolPage } from './pool-block.ts';

export type { DmaPoolBlock } from './pool-block.ts';

export interface DmaPoolOptions {
  /** For people, and in events. */
  readonly name: string;
  /** Bytes of a block. Rounded up to `alignBytes`, and to the 8 that the kernel's own header of a free block takes. */
  readonly sizeBytes: number;
  /** Blocks start at multiples of this in the device's eyes, a power of two; 1 unless given, or 0. */
  readonly alignBytes?: number;
  /** No block crosses a multiple of this, a power of two; unless given, or 0, only the end of its page counts. */
  readonly boundaryBytes?: number;
}

/** What a pool needs of the DMA operations. */
export type CoherentSource = Pick<DmaOps, 'allocCoherent' | 'freeCoherent'>;

/** struct dma_block on a 32-bit machine: a pointer and a DMA address. */
const HEADER_BYTES = 8;
const LARGEST_BLOCK = 0x7fff_ffff;
/** POOL_POISON_FREED and POOL_POISON_ALLOCATED. */
const POISON_FREE = 0xa7;
const POISON_ALLOCATED = 0xa9;

export class DmaPool {
  readonly name: string;
  /** Bytes of a block as it is handed out. */
  readonly sizeBytes: number;
  readonly #world: World;
  readonly #dma: CoherentSource;
  readonly #alignBytes: number;
  readonly #boundaryBytes: number;
  readonly #places = new Map<DmaPoolBlock, BlockPlace>();
  #pages: PoolPage[] = [];
  /** Last freed, first used. */
  #free: BlockPlace[] = [];
  #isDestroyed = false;

  /**
   * @throws LabError EINVAL where dma_pool_create returns NULL: on a size of 0 or above 2^31 - 1, an alignment or boundary that
   * is no power of two, a boundary below the size
   */
  constructor(world: World, dma: CoherentSource, options: DmaPoolOptions) {
    const { name, sizeBytes, boundaryBytes = 0 } = options;
    const alignBytes = options.alignBytes === 0 ? 1 : (options.alignBytes ?? 1);
    const isSize = Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes <= LARGEST_BLOCK;
    const size =
      isSize && isPowerOfTwo(alignBytes) ? alignUp(Math.max(sizeBytes, HEADER_BYTES), alignBytes) : 0;
    const isBoundary = boundaryBytes === 0 || (boundaryBytes >= size && isPowerOfTwo(boundaryBytes));
    if (size === 0 || !isBoundary) throw new LabError('EINVAL', `no such DMA pool: ${name}`, { ...options });
    this.name = name;
    this.sizeBytes = size;
    this.#world = world;
    this.#dma = dma;
    this.#alignBytes = alignBytes;
    this.#boundaryBytes = boundaryBytes;
  }

  /** Blocks handed out and not given back. */
  get allocatedBlocks(): number {
    return this.#places.size;
  }

  /** Coherent allocations the pool holds; after `destroy`, those that were leaked. */
  get pages(): number {
    return this.#pages.length;
  }

  /**
   * A block, the last that was freed; the pool grows by a page when there is none. Unless `zeroed`, the block holds a
   * pattern (0xa9).
   * @throws LabError ENOMEM, and as `allocCoherent` of a page; nothing has changed then. EINVAL when destroyed.
   */
  alloc(options: { readonly zeroed?: boolean } = {}): DmaPoolBlock {
    this.#refuseDestroyed();
    if (this.#world.fail('dma-mapping.pool')) throw new LabError('ENOMEM', `${this.name}: no block`);
    if (this.#free.length === 0) this.#grow();
    const place = this.#free.pop();
    assert(place !== undefined, 'a new page has a free block');
    this.#checkPoison(place);
    this.#fill(place, options.zeroed === true ? 0 : POISON_ALLOCATED);
    place.page.busyBlocks++;
    const block = new PoolBlock(this, place, this.sizeBytes);
    this.#places.set(block, place);
    return block;
  }

  /**
   * Gives a block back; its handle is dead from now on.
   * @throws LabError EINVAL when it is not of this pool, free already, or the pool is destroyed; nothing has changed then
   */
  free(block: DmaPoolBlock): void {
    this.#refuseDestroyed();
    const place = this.#places.get(block);
    if (place === undefined || !(block instanceof PoolBlock)) {
      const why =
        block instanceof PoolBlock && block.pool === this ? 'is free already' : 'is not of this pool';
      const { dmaAddress } = block;
      throw new LabError('EINVAL', `${this.name}: the block at ${hex(dmaAddress)} ${why}`, { dmaAddress });
    }
    this.#places.delete(block);
    block.revoke();
    this.#fill(place, POISON_FREE);
    place.page.busyBlocks--;
    this.#free.push(place);
  }

  /**
   * Gives the pages back. One with a block that is in use is reported and never freed, for a device may still use it. Free
   * blocks are looked at a last time. Harmless a second time.
   */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    for (const place of this.#free.splice(0)) this.#checkPoison(place);
    for (const { buffer, busyBlocks } of this.#pages) {
      if (busyBlocks === 0) {
        this.#dma.freeCoherent(buffer, { site: this.name });
        continue;
      }
      this.#world.emit('dma:pool_busy', {
        pool: this.name,
        dma_addr: hex(buffer.dmaAddress),
        size: buffer.sizeBytes,
        blocks: busyBlocks,
      });
    }
    this.#pages = this.#pages.filter((page) => page.busyBlocks > 0);
  }

  #grow(): void {
    const pageBytes = Math.max(this.sizeBytes, FRAME_BYTES);
    const buffer = this.#dma.allocCoherent(pageBytes, { site: this.name });
    const offsets = this.#offsetsIn(buffer, pageBytes);
    if (offsets.length === 0) {
      this.#dma.freeCoherent(buffer, { site: this.name });
      throw new LabError(
        'ENOMEM',
        `${this.name}: the page at ${hex(buffer.dmaAddress)} has no place for a block`,
      );
    }
    const page: PoolPage = { buffer, busyBlocks: 0 };
    this.#pages.push(page);
    // The lowest is on top.
    this.#free = offsets.reverse().map((offset) => ({ page, offset }));
    for (const place of this.#free) this.#fill(place, POISON_FREE);
  }

  /** Where blocks go, by the device's addresses: a coherent page need not be aligned as the kernel's are. */
  #offsetsIn({ dmaAddress }: CoherentBuffer, pageBytes: number): number[] {
    const offsets: number[] = [];
    const end = dmaAddress + pageBytes;
    for (let at: number = alignUp(dmaAddress, this.#alignBytes); at + this.sizeBytes <= end;) {
      const boundary =
        this.#boundaryBytes === 0 ? end : alignDown(at, this.#boundaryBytes) + this.#boundaryBytes;
      if (at + this.sizeBytes > boundary) {
        at = boundary;
      } else {
        offsets.push(at - dmaAddress);
        at += this.sizeBytes;
      }
    }
    return offsets;
  }

  #fill({ page, offset }: BlockPlace, value: number): void {
    page.buffer.write(offset, new Uint8Array(this.sizeBytes).fill(value));
  }

  /** Somebody wrote to a free block: a device that was not stopped, or a driver past its end (pool_check_block). */
  #checkPoison({ page, offset }: BlockPlace): void {
    const bytes = new Uint8Array(this.sizeBytes);
    page.buffer.read(offset, bytes);
    const at = bytes.findIndex((byte) => byte !== POISON_FREE);
    if (at < 0) return;
    this.#world.emit('dma:pool_corruption', {
      pool: this.name,
      dma_addr: hex(page.buffer.dmaAddress + offset),
      size: this.sizeBytes,
      offset: at,
      value: bytes[at] as number,
    });
  }

  #refuseDestroyed(): void {
    if (this.#isDestroyed) throw new LabError('EINVAL', `the DMA pool ${this.name} has been destroyed`);
  }
}
