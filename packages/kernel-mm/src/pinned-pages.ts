/** How often each page of a process is pinned, and which frames outlive the process because of that. */
import { alignDown, hex, LabError, offsetBy, type PhysAddr, type VirtAddr } from '@iommu-lab/machine';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';
import type { PhysicalPiece } from './physical-piece.ts';

interface Pin {
  readonly frame: PhysAddr;
  count: number;
  /** The process has let the frame go: the last unpin frees it. */
  isKept: boolean;
}

export class PinnedPages {
  readonly #frames: FrameAllocator;
  readonly #pins = new Map<VirtAddr, Pin>();

  constructor(frames: FrameAllocator) {
    this.#frames = frames;
  }

  get sizeBytes(): number {
    return this.#pins.size * FRAME_BYTES;
  }

  /** Pins the pages from that of `address` on. @param pieces where their bytes are, one piece a page */
  pin(address: VirtAddr, pieces: readonly PhysicalPiece[]): void {
    let page = alignDown(address, FRAME_BYTES);
    for (const piece of pieces) {
      const pin = this.#pins.get(page);
      if (pin !== undefined) pin.count++;
      else this.#pins.set(page, { frame: alignDown(piece.address, FRAME_BYTES), count: 1, isKept: false });
      page = offsetBy(page, FRAME_BYTES);
    }
  }

  /** Undoes one `pin` of each page under the range. @throws LabError EINVAL when there is none of one of them */
  unpin(address: VirtAddr, sizeBytes: number): void {
    const end = offsetBy(address, sizeBytes);
    const pins = new Map<VirtAddr, Pin>();
    for (let page = alignDown(address, FRAME_BYTES); page < end; page = offsetBy(page, FRAME_BYTES)) {
      const pin = this.#pins.get(page);
      if (pin === undefined) {
        throw new LabError('EINVAL', `the page at ${hex(page)} is not pinned`, { address, sizeBytes });
      }
      pins.set(page, pin);
    }
    for (const [page, pin] of pins) {
      if (--pin.count > 0) continue;
      this.#pins.delete(page);
      if (pin.isKept) this.#frames.free(pin.frame);
    }
  }

  /** The first pinned page of a page-aligned range. */
  firstPinned(start: VirtAddr, sizeBytes: number): VirtAddr | undefined {
    const end = offsetBy(start, sizeBytes);
    for (let page = start; page < end; page = offsetBy(page, FRAME_BYTES)) {
      if (this.#pins.has(page)) return page;
    }
    return undefined;
  }

  /** The process lets the frame of a page go: it is freed now, or by the last unpin. */
  releaseFrame(page: VirtAddr, frame: PhysAddr): void {
    const pin = this.#pins.get(page);
    if (pin === undefined) this.#frames.free(frame);
    else pin.isKept = true;
  }
}
