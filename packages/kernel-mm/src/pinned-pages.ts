/** How often each page of a process is pinned, and which frames outlive the process because of that. */
import { assert, offsetBy, type PhysAddr, type VirtAddr } from '@iommu-lab/machine';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';

interface Pin {
  readonly frame: PhysAddr;
  count: number;
}

export class PinnedPages {
  readonly #frames: FrameAllocator;
  readonly #pins = new Map<VirtAddr, Pin>();
  /** Frames whose last pin frees them, because the process has exited. */
  readonly #kept = new Set<PhysAddr>();

  constructor(frames: FrameAllocator) {
    this.#frames = frames;
  }

  get sizeBytes(): number {
    return this.#pins.size * FRAME_BYTES;
  }

  pin(page: VirtAddr, frame: PhysAddr): void {
    const pin = this.#pins.get(page);
    if (pin === undefined) this.#pins.set(page, { frame, count: 1 });
    else pin.count++;
  }

  unpin(page: VirtAddr): void {
    const pin = this.#pins.get(page);
    assert(pin !== undefined, 'a page is pinned before it is unpinned');
    if (--pin.count > 0) return;
    this.#pins.delete(page);
    if (this.#kept.delete(pin.frame)) this.#frames.free(pin.frame);
  }

  isPinned(page: VirtAddr): boolean {
    return this.#pins.has(page);
  }

  /** The first pinned page of a range. */
  firstPinned(start: VirtAddr, sizeBytes: number): VirtAddr | undefined {
    for (let done = 0; done < sizeBytes; done += FRAME_BYTES) {
      if (this.isPinned(offsetBy(start, done))) return offsetBy(start, done);
    }
    return undefined;
  }

  /** From now on the frame of a pinned page stays allocated until its last unpin. */
  keepFrames(): void {
    for (const pin of this.#pins.values()) this.#kept.add(pin.frame);
  }

  /** Whether `frame` must not be freed now. */
  keeps(frame: PhysAddr): boolean {
    return this.#kept.has(frame);
  }
}
