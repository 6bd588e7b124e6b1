/** Processes: an address space each, in ARMv7 tables of its own, with pages that can be pinned for a device. */
import {
  alignDown,
  alignUp,
  assert,
  hex,
  isAligned,
  LabError,
  offsetBy,
  virtAddr,
  type MemoryPort,
  type PhysAddr,
  type VirtAddr,
  type World,
} from '@iommu-lab/machine';
import { ShortDescriptorTable, type LeafAttributes, type TableMemory } from '@iommu-lab/page-table';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';
import { mergeAdjacent, type PhysicalPiece } from './physical-piece.ts';
import { PinnedPages } from './pinned-pages.ts';
import { frameAt, isMapped, piecesAt } from './user-memory.ts';

const MMAP_START = 0x1000_0000;
/** Where the kernel's half begins (TASK_SIZE of a 3 GiB / 1 GiB split). */
const USER_END = 0xc000_0000;

const USER_MEMORY: LeafAttributes = {
  read: true,
  write: true,
  privileged: false,
  noExec: true,
  memory: 'normal-cacheable',
};

/** @param start first byte whose translation is gone; @param sizeBytes a multiple of 4096 */
export type UnmapListener = (start: VirtAddr, sizeBytes: number) => void;

export class Process {
  readonly name: string;
  readonly #world: World;
  readonly #frames: FrameAllocator;
  readonly #cpu: MemoryPort;
  readonly #tables: TableMemory;
  readonly #table: ShortDescriptorTable;
  readonly #pins: PinnedPages;
  readonly #listeners = new Set<UnmapListener>();
  /** First address mmap has not given out yet. Addresses are not used twice, so a stale one faults. */
  #next = MMAP_START;
  #hasExited = false;

  /**
   * @param cpu the CPU's view of memory, through its cache
   * @param tables where its page tables live
   * @throws LabError ENOMEM
   */
  constructor(world: World, name: string, frames: FrameAllocator, cpu: MemoryPort, tables: TableMemory) {
    this.#world = world;
    this.name = name;
    this.#frames = frames;
    this.#cpu = cpu;
    this.#tables = tables;
    this.#pins = new PinnedPages(frames);
    this.#table = new ShortDescriptorTable(world, tables);
  }

  /** Its page table: what a device that shares the address space would walk. */
  get table(): ShortDescriptorTable {
    return this.#table;
  }

  /** Bytes of frames held by pins. */
  get pinnedBytes(): number {
    return this.#pins.sizeBytes;
  }

  /**
   * Maps `sizeBytes` (rounded up to pages) of zeroed memory, all of it at once, at the next free addresses.
   * @throws LabError ENOMEM, EINVAL on a size below 1 or after exit.
   */
  mmap(sizeBytes: number): VirtAddr {
    if (this.#hasExited || !Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
      throw new LabError('EINVAL', `${this.name}: cannot map`, { sizeBytes, hasExited: this.#hasExited });
    }
    const start = virtAddr(this.#next);
    const end = start + alignUp(sizeBytes, FRAME_BYTES);
    if (end > USER_END) throw new LabError('ENOMEM', `${this.name}: no address space left`, { sizeBytes });
    const zeros = new Uint8Array(FRAME_BYTES);
    for (let page = start; page < end; page = offsetBy(page, FRAME_BYTES)) {
      try {
        this.#mapPage(page, zeros);
      } catch (error) {
        if (page > start) this.#unmap(start, page - start);
        throw error;
      }
    }
    this.#next = end;
    this.#world.emit('mm:mmap', { process: this.name, address: hex(start), sizeBytes: end - start });
    return start;
  }

  /**
   * Unmaps pages and frees their frames. Listeners hear of it in between: after the translation is gone, before the
   * frames are anybody else's.
   * @throws LabError EINVAL unless all of the range is mapped and page-aligned, EBUSY when a page of it is pinned. (Linux
   * lets a pinned page go and keeps its frame; refusing shows the driver that has forgotten its pin.)
   */
  munmap(address: VirtAddr, sizeBytes: number): void {
    const size = alignUp(sizeBytes, FRAME_BYTES);
    if (!isAligned(address, FRAME_BYTES) || size < FRAME_BYTES || !isMapped(this.#table, address, size)) {
      throw new LabError('EINVAL', `${this.name}: not a mapped range of pages`, { address, sizeBytes });
    }
    const pinned = this.#pins.firstPinned(address, size);
    if (pinned !== undefined) {
      throw new LabError('EBUSY', `${this.name}: the page at ${hex(pinned)} is pinned`, {
        address,
        sizeBytes,
      });
    }
    this.#unmap(address, size);
    this.#world.emit('mm:munmap', { process: this.name, address: hex(address), sizeBytes: size });
  }

  /** Reads through the CPU's cache. @throws LabError EFAULT unless all of it is mapped. */
  read(address: VirtAddr, into: Uint8Array): void {
    let done = 0;
    for (const piece of piecesAt(this.#table, this.name, address, into.length)) {
      const loaded = this.#cpu.read(piece.address, into.subarray(done, done + piece.length));
      assert(loaded, 'a page frame is memory');
      done += piece.length;
    }
  }

  /** Writes through the CPU's cache. @throws LabError EFAULT unless all of it is mapped; nothing is then written. */
  write(address: VirtAddr, from: Uint8Array): void {
    let done = 0;
    for (const piece of piecesAt(this.#table, this.name, address, from.length)) {
      const stored = this.#cpu.write(piece.address, from.subarray(done, done + piece.length));
      assert(stored, 'a page frame is memory');
      done += piece.length;
    }
  }

  /**
   * Holds the pages under `[address, address + sizeBytes)` for a device: they stay where they are until unpinned as
   * often as pinned.
   * @returns their bytes in memory in order, physically adjacent pages merged.
   * @throws LabError EFAULT unless all of it is mapped, EINVAL on a size below 1, ENOMEM.
   */
  pin(address: VirtAddr, sizeBytes: number): readonly PhysicalPiece[] {
    const { first, end } = this.#pagesUnder(address, sizeBytes);
    const pieces = piecesAt(this.#table, this.name, address, sizeBytes);
    if (this.#world.fail('kernel-mm.pin')) throw new LabError('ENOMEM', `${this.name}: cannot pin`);
    for (let page = first; page < end; page = offsetBy(page, FRAME_BYTES)) {
      this.#pins.pin(page, frameAt(this.#table, page));
    }
    this.#world.emit('mm:pin', { process: this.name, address: hex(address), sizeBytes });
    return mergeAdjacent(pieces);
  }

  /** Undoes one `pin` of the same range, also after exit. @throws LabError EINVAL when a page of it is not pinned. */
  unpin(address: VirtAddr, sizeBytes: number): void {
    const { first, end } = this.#pagesUnder(address, sizeBytes);
    for (let page = first; page < end; page = offsetBy(page, FRAME_BYTES)) {
      if (!this.#pins.isPinned(page)) {
        throw new LabError('EINVAL', `${this.name}: the page at ${hex(page)} is not pinned`, {
          address,
          sizeBytes,
        });
      }
    }
    for (let page = first; page < end; page = offsetBy(page, FRAME_BYTES)) this.#pins.unpin(page);
    this.#world.emit('mm:unpin', { process: this.name, address: hex(address), sizeBytes });
  }

  /** Calls `listener` whenever translations go (the kernel's mmu_notifier). @returns ends it. */
  onUnmap(listener: UnmapListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /**
   * Ends the process: mappings, frames and tables go. A pinned frame is kept until it is unpinned, and reported, for
   * a device may still use it. Doing so twice does nothing.
   */
  exit(): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    this.#pins.keepFrames();
    // Unmapping goes from mapped page to mapped page; munmap leaves holes.
    for (let page = MMAP_START; page < this.#next;) {
      const start = page;
      while (page < this.#next && this.#table.lookup(page) !== undefined) page += FRAME_BYTES;
      if (page > start) this.#unmap(virtAddr(start), page - start);
      page += FRAME_BYTES;
    }
    this.#table.destroy();
    if (this.#pins.sizeBytes > 0) {
      this.#world.emit('mm:pinned_at_exit', { process: this.name, sizeBytes: this.#pins.sizeBytes });
    }
    this.#world.emit('mm:exit', { process: this.name });
  }

  #mapPage(page: VirtAddr, zeros: Uint8Array): void {
    const frame = this.#frames.allocate();
    try {
      this.#table.mapPages(page, frame, FRAME_BYTES, 1, USER_MEMORY);
    } catch (error) {
      this.#frames.free(frame);
      throw error;
    }
    const stored = this.#cpu.write(frame, zeros);
    assert(stored, 'a page frame is memory');
  }

  #unmap(start: VirtAddr, sizeBytes: number): void {
    const frames: PhysAddr[] = [];
    for (let done = 0; done < sizeBytes; done += FRAME_BYTES)
      frames.push(frameAt(this.#table, offsetBy(start, done)));
    const emptied: { readonly table: PhysAddr; readonly sizeBytes: number }[] = [];
    this.#table.unmapPages(start, FRAME_BYTES, sizeBytes / FRAME_BYTES, (table, bytes) => {
      emptied.push({ table, sizeBytes: bytes });
    });
    for (const listener of this.#listeners) listener(start, sizeBytes);
    for (const { table, sizeBytes: bytes } of emptied) this.#tables.free(table, bytes);
    for (const frame of frames) if (!this.#pins.keeps(frame)) this.#frames.free(frame);
  }

  #pagesUnder(address: VirtAddr, sizeBytes: number): { readonly first: VirtAddr; readonly end: VirtAddr } {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
      throw new LabError('EINVAL', `${this.name}: nothing to pin or unpin`, { address, sizeBytes });
    }
    return {
      first: alignDown(address, FRAME_BYTES),
      end: alignUp(offsetBy(address, sizeBytes), FRAME_BYTES),
    };
  }
}
