/**
 * The pages of one process: a descriptor and a frame for each that is present, the bytes of each that was evicted. The
 * table is what says where a page is; there is no second record of it.
 */
import {
  assert,
  hex,
  LabError,
  offsetBy,
  type MemoryPort,
  type PhysAddr,
  type VirtAddr,
} from '@iommu-lab/machine';
import type { LeafAttributes, ShortDescriptorTable, TableMemory, Translation } from '@iommu-lab/page-table';
import type { Area, MmapFramesOptions } from './areas.ts';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';
import type { PhysicalPiece } from './physical-piece.ts';
import type { PinnedPages } from './pinned-pages.ts';

export interface UserPagesParts {
  readonly table: ShortDescriptorTable;
  /** Where second-level tables go back to. */
  readonly tables: TableMemory;
  readonly frames: FrameAllocator;
  readonly pins: PinnedPages;
  /** The CPU's view of memory, through its cache. */
  readonly cpu: MemoryPort;
  /** The same past its cache; absent: no page is uncached. */
  readonly uncached: MemoryPort | undefined;
  /** Hears of translations that are gone while frames and tables are still nobody else's. */
  readonly unmapped: (start: VirtAddr, sizeBytes: number) => void;
}

const USER_MEMORY: LeafAttributes = {
  read: true,
  write: true,
  privileged: false,
  noExec: true,
  memory: 'normal-cacheable',
};

export class UserPages {
  readonly #parts: UserPagesParts;
  /** Bytes of evicted pages. */
  readonly #evicted = new Map<VirtAddr, Uint8Array>();
  /** Pages on their way out: no descriptor any more, and the frame not free yet (the kernel's swap cache). */
  readonly #leaving = new Map<VirtAddr, PhysAddr>();

  constructor(parts: UserPagesParts) {
    this.#parts = parts;
  }

  isPresent(page: VirtAddr): boolean {
    return this.#parts.table.lookup(page) !== undefined;
  }

  /** The bytes of a range in order, one piece a page. All of them are present. */
  piecesAt(address: VirtAddr, sizeBytes: number): readonly PhysicalPiece[] {
    const pieces: PhysicalPiece[] = [];
    this.#eachPage(address, sizeBytes, (target, start, end) => {
      pieces.push({ address: target.address, length: end - start });
    });
    return pieces;
  }

  /** Reads bytes of pages that are present, through the CPU's cache or past it as the table says. @throws LabError EFAULT */
  read(address: VirtAddr, into: Uint8Array): void {
    this.#eachPage(address, into.length, (target, start, end) => {
      if (this.#viewOf(target).read(target.address, into.subarray(start, end))) return;
      throw noMemory(target.address);
    });
  }

  /** Writes them. @throws LabError EFAULT */
  write(address: VirtAddr, from: Uint8Array): void {
    this.#eachPage(address, from.length, (target, start, end) => {
      if (this.#viewOf(target).write(target.address, from.subarray(start, end))) return;
      throw noMemory(target.address);
    });
  }

  /** Brings in a page that is not present: as it was evicted, or zeroed. @throws LabError ENOMEM; nothing has changed */
  bringIn(page: VirtAddr, isReadOnly: boolean): 'zeroed' | 'restored' {
    const leaving = this.#leaving.get(page);
    const frame = leaving ?? this.#parts.frames.allocate();
    const evicted = this.#evicted.get(page);
    // Filled before it is mapped: a device that walks the table never sees what the frame held before.
    if (leaving === undefined) this.#store(frame, evicted ?? new Uint8Array(FRAME_BYTES));
    try {
      const attributes = { ...USER_MEMORY, write: !isReadOnly };
      this.#parts.table.mapPages(page, frame, FRAME_BYTES, 1, attributes);
    } catch (error) {
      if (leaving === undefined) this.#parts.frames.free(frame);
      throw error;
    }
    this.#leaving.delete(page);
    this.#evicted.delete(page);
    return leaving === undefined && evicted === undefined ? 'zeroed' : 'restored';
  }

  /** Brings in all pages of a range in which there are none. @throws LabError ENOMEM; none has come in */
  populate(start: VirtAddr, end: VirtAddr, isReadOnly: boolean): void {
    for (let page = start; page < end; page = offsetBy(page, FRAME_BYTES)) {
      try {
        this.bringIn(page, isReadOnly);
      } catch (error) {
        this.remove(start, page - start);
        throw error;
      }
    }
  }

  /**
   * Maps frames that are somebody else's, from `start` on, where there are no pages.
   * @throws LabError ENOMEM; none is mapped then
   */
  mapGiven(start: VirtAddr, pieces: readonly PhysicalPiece[], options: Required<MmapFramesOptions>): void {
    const memory = options.uncached ? 'normal-uncached' : 'normal-cacheable';
    const attributes: LeafAttributes = { ...USER_MEMORY, write: !options.readOnly, memory };
    let page = start;
    try {
      for (const { address, length } of pieces) {
        this.#parts.table.mapPages(page, address, FRAME_BYTES, length / FRAME_BYTES, attributes);
        page = offsetBy(page, length);
      }
    } catch (error) {
      this.#clear(start, page - start, () => undefined);
      throw error;
    }
  }

  /** Whether a page of the areas leads to one of the frames. */
  leadTo(areas: readonly Area[], pieces: readonly PhysicalPiece[]): boolean {
    return areas.some(({ start, end }) =>
      this.piecesAt(start, end - start).some((page) =>
        pieces.some((p) => page.address < p.address + p.length && p.address < page.address + page.length),
      ),
    );
  }

  /**
   * Lets a range go with all it holds. A frame that a pin keeps stays allocated.
   * @param given the areas in it whose frames are somebody else's
   */
  remove(start: VirtAddr, sizeBytes: number, given: readonly Area[] = []): void {
    const present = this.#clear(start, sizeBytes, () => undefined);
    for (const [page, frame] of present) {
      const isGiven = given.some((area) => page >= area.start && page < area.end);
      if (!isGiven) this.#parts.pins.releaseFrame(page, frame);
    }
    for (const page of this.#evicted.keys()) {
      if (page >= start && page < start + sizeBytes) this.#evicted.delete(page);
    }
  }

  /** Frees the frames of a range, none of them pinned, and keeps their bytes. @returns bytes freed */
  evict(start: VirtAddr, sizeBytes: number): number {
    const present = this.#clear(start, sizeBytes, (page, frame) => this.#leaving.set(page, frame));
    let freedBytes = 0;
    for (const [page, frame] of present) {
      // A fault in between has brought it back.
      if (!this.#leaving.delete(page)) continue;
      // Read only now: until its TLB was invalidated, a device went on writing.
      const bytes = new Uint8Array(FRAME_BYTES);
      this.#load(frame, bytes);
      this.#evicted.set(page, bytes);
      this.#parts.frames.free(frame);
      freedBytes += FRAME_BYTES;
    }
    return freedBytes;
  }

  /**
   * Clears the descriptors of a range, then tells who must know, once, then frees the second-level tables.
   * @param cleared hears of each page before anybody else does
   * @returns the frames of the pages that were present, ascending
   */
  #clear(
    start: VirtAddr,
    sizeBytes: number,
    cleared: (page: VirtAddr, frame: PhysAddr) => void,
  ): ReadonlyMap<VirtAddr, PhysAddr> {
    const { table, tables, unmapped } = this.#parts;
    const present = new Map<VirtAddr, PhysAddr>();
    const emptied: { readonly table: PhysAddr; readonly sizeBytes: number }[] = [];
    const end = offsetBy(start, sizeBytes);
    for (let page = start; page < end; page = offsetBy(page, FRAME_BYTES)) {
      const run = page;
      for (; page < end; page = offsetBy(page, FRAME_BYTES)) {
        const translation = table.lookup(page);
        if (translation === undefined) break;
        present.set(page, translation.address);
      }
      if (page === run) continue;
      table.unmapPages(run, FRAME_BYTES, (page - run) / FRAME_BYTES, (freed, bytes) => {
        emptied.push({ table: freed, sizeBytes: bytes });
      });
    }
    const pages = [...present.keys()];
    const [first, last] = [pages[0], pages.at(-1)];
    if (first === undefined || last === undefined) return present;
    for (const [page, frame] of present) cleared(page, frame);
    unmapped(first, last + FRAME_BYTES - first);
    for (const { table: freed, sizeBytes: bytes } of emptied) tables.free(freed, bytes);
    return present;
  }

  /** @param visit hears of each page under a range, where it leads, and which bytes of the range are in it */
  #eachPage(
    address: VirtAddr,
    sizeBytes: number,
    visit: (target: Translation, start: number, end: number) => void,
  ): void {
    for (let done = 0; done < sizeBytes;) {
      const at = address + done;
      const end = Math.min(sizeBytes, done + FRAME_BYTES - (at % FRAME_BYTES));
      const target = this.#parts.table.lookup(at);
      assert(target !== undefined, 'a page is present when its bytes are moved');
      visit(target, done, end);
      done = end;
    }
  }

  #viewOf({ attributes }: Translation): MemoryPort {
    const { cpu, uncached } = this.#parts;
    if (attributes.memory === 'normal-cacheable') return cpu;
    assert(uncached !== undefined, 'what is mapped uncached can be reached past the cache');
    return uncached;
  }

  #load(address: PhysAddr, into: Uint8Array): void {
    const loaded = this.#parts.cpu.read(address, into);
    assert(loaded, 'a page frame is memory');
  }

  #store(address: PhysAddr, from: Uint8Array): void {
    const stored = this.#parts.cpu.write(address, from);
    assert(stored, 'a page frame is memory');
  }
}

/** Own frames are memory; what was given to the process may be anything. */
function noMemory(address: PhysAddr): LabError {
  return new LabError('EFAULT', `no memory answers at ${hex(address)}`, { address });
}
