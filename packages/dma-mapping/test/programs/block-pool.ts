/** The pool of descriptors that a random driver has. */
import type { World } from '@iommu-lab/machine';
import { DmaPool, type DmaOps, type DmaSegment } from '../../src/index.ts';
import type { Handle } from './buffer.ts';

/** What a block holds that was not asked for zeroed. */
export const ALLOCATED_BYTE = 0xa9;

export class BlockPool {
  /** Pages that the pool has mapped. */
  readonly pages: DmaSegment[] = [];
  readonly #pool: DmaPool;

  constructor(world: World, dma: DmaOps) {
    this.#pool = new DmaPool(
      world,
      {
        allocCoherent: (sizeBytes, options) => {
          const page = dma.allocCoherent(sizeBytes, options);
          this.pages.push({ address: page.dmaAddress, length: sizeBytes });
          return page;
        },
        freeCoherent: (page, options) => dma.freeCoherent(page, options),
      },
      { name: 'descriptors', sizeBytes: 40, alignBytes: 16, boundaryBytes: 128 },
    );
  }

  alloc(zeroed: boolean): Handle {
    const block = this.#pool.alloc({ zeroed });
    return {
      segments: [{ address: block.dmaAddress, length: block.sizeBytes }],
      sync: () => undefined,
      release: () => this.#pool.free(block),
      view: {
        read(at, length) {
          const bytes = new Uint8Array(length);
          block.read(at, bytes);
          return bytes;
        },
        write: (at, bytes) => block.write(at, bytes),
      },
      isOwnSync: false,
    };
  }

  destroy(): void {
    this.#pool.destroy();
  }
}
