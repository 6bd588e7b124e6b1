/** Host pages for a guest: taken, zeroed and pinned together, given back together. */
import type { FrameAllocator } from '@iommu-lab/kernel-mm';
import {
  type CacheMaintenance,
  LabError,
  type MemoryPort,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import { MIN_PAGE_BYTES } from './memory-slots.ts';

/** What the pages come from. */
export interface PageSource {
  readonly world: World;
  readonly frames: FrameAllocator;
  readonly cached: MemoryPort;
  readonly maintenance: CacheMaintenance;
}

/**
 * `count` zeroed pages of `pageBytes`, wherever they are free. No line of them is left in the cache: a device of the
 * guest may write them before its CPU looks.
 * @throws LabError ENOMEM (failpoint `vm-passthrough.pin`), with nothing taken
 */
export function allocatePages(source: PageSource, pageBytes: number, count: number): readonly PhysAddr[] {
  const { world, frames, cached, maintenance } = source;
  const pages: PhysAddr[] = [];
  const zeroes = new Uint8Array(pageBytes);
  try {
    while (pages.length < count) {
      if (world.fail('vm-passthrough.pin')) throw new LabError('ENOMEM', 'a guest page cannot be pinned');
      const page =
        pageBytes === MIN_PAGE_BYTES ? frames.allocate() : frames.allocateContiguous(pageBytes, pageBytes);
      pages.push(page);
      cached.write(page, zeroes);
      maintenance.cleanInvalidate(page, pageBytes);
    }
  } catch (error) {
    freePages(source, pageBytes, pages);
    throw error;
  }
  return pages;
}

/** Gives pages back. What the guest stored in them and the cache still holds goes to memory first, so that it cannot come later. */
export function freePages(source: PageSource, pageBytes: number, pages: readonly PhysAddr[]): void {
  for (const page of pages) {
    source.maintenance.cleanInvalidate(page, pageBytes);
    source.frames.free(page, pageBytes);
  }
}
