/**
 * No IOMMU in between: the device drives physical addresses (the kernel's kernel/dma/direct.c). Scattered buffers stay
 * as they are, entry by entry. What the device's mask does not reach is refused; there are no bounce buffers.
 */
import { alignUp, hex, type Iova, LabError } from '@iommu-lab/machine';
import type { SgEntry } from './dma-ops.ts';
import type { DmaPath, PathMapping } from './path.ts';
import type { FrameSource } from './ports.ts';

const FRAME_BYTES = 4096;

export class DirectPath implements DmaPath {
  readonly kind = 'direct';
  readonly smallestMask: number;
  readonly #deviceName: string;
  readonly #frames: FrameSource;

  constructor(deviceName: string, frames: FrameSource, firstRamAddress: number) {
    this.#deviceName = deviceName;
    this.#frames = frames;
    this.smallestMask = firstRamAddress + FRAME_BYTES - 1;
  }

  map(entries: readonly SgEntry[], mask: number): PathMapping {
    for (const { address, length } of entries) {
      if (address + length - 1 <= mask) continue;
      throw new LabError(
        'EIO',
        `${this.#deviceName} cannot address ${hex(address)}..${hex(address + length - 1)} with mask ${hex(mask)}; ` +
          'bounce buffers are not supported yet: place the buffer lower or give the device an IOMMU',
        { device: this.#deviceName, address, length, mask },
      );
    }
    const pieces = entries.map(({ address, length }) => ({
      iova: address as number as Iova,
      address,
      length,
    }));
    const segments = pieces.map(({ iova, length }) => ({ address: iova, length }));
    return { segments, pieces, range: { start: 0 as Iova, sizeBytes: 0 } };
  }

  unmap(): void {
    // Nothing was set up for the mapping, so the device can go on reaching it: that is what "direct" means.
  }

  allocateMemory(sizeBytes: number, mask: number): readonly SgEntry[] {
    const length = alignUp(sizeBytes, FRAME_BYTES);
    // A coherent buffer is aligned to its size (Documentation/core-api/dma-api.rst, dma_alloc_coherent).
    const address = this.#frames.allocateContiguous(length, 2 ** Math.ceil(Math.log2(length)));
    if (address + length - 1 > mask) {
      this.#frames.free(address, length);
      throw new LabError(
        'ENOMEM',
        `the memory found for ${this.#deviceName} ends above its coherent mask ${hex(mask)}`,
        { device: this.#deviceName, address, length, mask },
      );
    }
    return [{ address, length }];
  }
}
