/** Pages for packets: taken once, and used again in turn (the kernel's page_pool), so that an observer knows whose they are. */
import { assert, type PhysAddr } from '@iommu-lab/machine';
import { FRAME_BYTES, type FrameAllocator } from '@iommu-lab/kernel-mm';

export class PacketPages {
  readonly #frames: FrameAllocator;
  readonly #all = new Set<number>();
  readonly #free: PhysAddr[] = [];

  /** @throws LabError ENOMEM, with nothing kept */
  constructor(frames: FrameAllocator, count: number) {
    this.#frames = frames;
    try {
      for (let i = 0; i < count; i++) this.#free.push(frames.allocate());
    } catch (error) {
      this.close();
      throw error;
    }
    for (const page of this.#free) this.#all.add(page / FRAME_BYTES);
  }

  /** Whether the address lies in one of them. */
  has(address: number): boolean {
    return this.#all.has(Math.floor(address / FRAME_BYTES));
  }

  /** The one that has been free for longest. */
  take(): PhysAddr {
    const page = this.#free.shift();
    assert(page !== undefined, 'there are as many pages as descriptors, and one more');
    return page;
  }

  giveBack(page: PhysAddr): void {
    this.#free.push(page);
  }

  /** Gives the free ones back for good. */
  close(): void {
    for (const page of this.#free.splice(0)) this.#frames.free(page);
  }
}
