/**
 * Processes: an address space each, in ARMv7 tables of its own, paged on demand, with pages that can be pinned.
 * Long for the errors of its calls; what they do is in the files beside it.
 */
import {
  alignUp,
  hex,
  isAligned,
  LabError,
  offsetBy,
  type EventValue,
  type MemoryPort,
  type PhysAddr,
  type VirtAddr,
  type World,
} from '@iommu-lab/machine';
import type { ShortDescriptorTable, TableMemory, TableWalkStep } from '@iommu-lab/page-table';
import { createTable, MMAP_START, USER_END, type ProcessOptions } from './address-space.ts';
import { Areas, type Area, type MmapFramesOptions, type MmapOptions } from './areas.ts';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';
import { Listeners } from './listeners.ts';
import { PageFaults, type AccessDirection } from './page-faults.ts';
import { areWholeFrames, mergeAdjacent, type PhysicalPiece } from './physical-piece.ts';
import { PinnedPages } from './pinned-pages.ts';
import { UserPages } from './user-pages.ts';

/** @param start first byte whose translation is gone; @param sizeBytes up to the last such byte; a multiple of 4096 */
export type UnmapListener = (start: VirtAddr, sizeBytes: number) => void;

/** One process. It is what a device needs that works in its address space: tables, faults, notice of what goes. */
export class Process {
  /** For people, and in events. */
  readonly name: string;
  /** The user's part is [0, userEnd). */
  readonly userEnd: number = USER_END;
  /** Format of its tables. */
  readonly tableFormat: string = 'armv7-short';
  /** Physical address of the first level, 16 KiB aligned: what goes into TTBR0. */
  readonly tableRoot: PhysAddr;
  /** What the CPU's registers say the attributes in the tables mean: PRRR, NMRR and SCTLR.AFE. */
  readonly attributes: Readonly<Record<string, number>>;
  readonly #world: World;
  readonly #table: ShortDescriptorTable;
  /** Whether there is a way past the CPU's cache. */
  readonly #canMapUncached: boolean;
  readonly #areas = new Areas();
  readonly #pins: PinnedPages;
  readonly #pages: UserPages;
  readonly #faults: PageFaults;
  readonly #unmapListeners = new Listeners<[start: VirtAddr, sizeBytes: number]>();
  readonly #exitListeners = new Listeners<[]>();
  /** First address mmap has not given out yet. Addresses are not used twice, so a stale one faults. */
  #next: VirtAddr = MMAP_START;
  #stage: 'running' | 'exiting' | 'exited' = 'running';

  /**
   * @param cpu the CPU's view of memory, through its cache
   * @param tables where its page tables live
   * @throws LabError ENOMEM; EINVAL on a kernel map that is not of whole MiB in the kernel's half.
   */
  constructor(
    world: World,
    name: string,
    frames: FrameAllocator,
    cpu: MemoryPort,
    tables: TableMemory,
    options: ProcessOptions = {},
  ) {
    const table = createTable(world, tables, options.kernelMap);
    const { prrr, nmrr, afe } = table.format;
    const pins = new PinnedPages(frames);
    const unmapped: UnmapListener = (start, sizeBytes) => this.#unmapListeners.call(start, sizeBytes);
    this.name = name;
    this.tableRoot = table.root;
    this.attributes = { PRRR: prrr, NMRR: nmrr, AFE: afe };
    this.#world = world;
    this.#table = table;
    this.#pins = pins;
    this.#canMapUncached = options.uncached !== undefined;
    this.#pages = new UserPages({ table, tables, frames, pins, cpu, uncached: options.uncached, unmapped });
    this.#faults = new PageFaults(world, name, this.#areas, this.#pages);
  }

  /** Whether the process has ended. False while `onExit` listeners run: tables and pages are still there. */
  get hasExited(): boolean {
    return this.#stage === 'exited';
  }

  /** Bytes of frames held by pins. */
  get pinnedBytes(): number {
    return this.#pins.sizeBytes;
  }

  /**
   * Maps `sizeBytes` (rounded up to pages) of zeroed memory at the next free addresses.
   * @throws LabError ENOMEM, EINVAL on a size below 1 or once exit has begun.
   */
  mmap(sizeBytes: number, options: MmapOptions = {}): VirtAddr {
    const { start, end } = this.#nextRange(sizeBytes, Number.isSafeInteger(sizeBytes) && sizeBytes >= 1);
    const { lazy = false, readOnly = false } = options;
    if (!lazy) this.#pages.populate(start, end, readOnly);
    this.#areas.add({ start, end, isLazy: lazy, isReadOnly: readOnly, isGiven: false });
    this.#next = end;
    this.#emit('mm:mmap', start, end - start, { ...(lazy && { lazy }), ...(readOnly && { readOnly }) });
    return start;
  }

  /**
   * Maps given frames at the next free addresses, one behind the other: a driver's buffer (the kernel's remap_pfn_range,
   * dma_mmap_coherent). They stay whose they are: munmap and exit take the translation alone, nothing pins or evicts them,
   * and the owner asks `mapsFrames` before he uses them for something else. To frames without memory an access is EFAULT.
   * @throws LabError EINVAL unless they are whole frames below 4 GiB, on `uncached` without the view for it, or once exit has
   * begun; ENOMEM. Nothing is mapped then.
   */
  mmapFrames(pieces: readonly PhysicalPiece[], options: MmapFramesOptions = {}): VirtAddr {
    const { readOnly = false, uncached = false } = options;
    const isMappable = areWholeFrames(pieces) && (!uncached || this.#canMapUncached);
    const sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
    const { start, end } = this.#nextRange(sizeBytes, isMappable);
    if (this.#world.fail('kernel-mm.mmap-frames')) {
      throw new LabError('ENOMEM', `${this.name}: cannot map frames`, { sizeBytes });
    }
    this.#pages.mapGiven(start, pieces, { readOnly, uncached });
    this.#areas.add({ start, end, isLazy: false, isReadOnly: readOnly, isGiven: true });
    this.#next = end;
    this.#emit('mm:mmap', start, sizeBytes, {
      given: true,
      ...(readOnly && { readOnly }),
      ...(uncached && { uncached }),
    });
    return start;
  }

  /** Whether `mmapFrames` has a byte of the pieces mapped still: until it was unmapped, or the process has ended. */
  mapsFrames(pieces: readonly PhysicalPiece[]): boolean {
    return this.#pages.leadTo(this.#areas.given, pieces);
  }

  /**
   * Unmaps pages and frees their frames, unless they were given. Listeners hear of it in between: after the translations are gone, before the
   * frames are anybody else's.
   * @throws LabError EINVAL unless all of the range is mapped and page-aligned, EBUSY when a page of it is pinned. (Linux
   * lets a pinned page go and keeps its frame; refusing shows the driver that has forgotten its pin.)
   */
  munmap(address: VirtAddr, sizeBytes: number): void {
    const areas = this.#checkUnpinned(address, sizeBytes, () => true);
    const size = alignUp(sizeBytes, FRAME_BYTES);
    this.#areas.remove(address, size);
    this.#pages.remove(address, size, areas.filter(isGiven));
    this.#emit('mm:munmap', address, size);
  }

  /**
   * The kernel reclaims pages of lazy areas (as madvise MADV_PAGEOUT asks it to): their frames go, their contents are
   * kept and come back with the next touch. Pages that are not present stay as they are. Listeners hear of it as with
   * `munmap`; what a device writes until they have is kept too.
   * @returns bytes of frames freed.
   * @throws LabError EINVAL unless all of the range is of lazy areas and page-aligned, EBUSY when a page of it is pinned,
   * ENOMEM when there is no room to keep the contents.
   */
  evict(address: VirtAddr, sizeBytes: number): number {
    this.#checkUnpinned(address, sizeBytes, (area) => area.isLazy);
    const size = alignUp(sizeBytes, FRAME_BYTES);
    if (this.#world.fail('kernel-mm.evict')) throw new LabError('ENOMEM', `${this.name}: cannot evict`);
    const freedBytes = this.#pages.evict(address, size);
    this.#emit('mm:evict', address, size, { freedBytes });
    return freedBytes;
  }

  /** Reads as the CPU does. @throws LabError EFAULT unless all of it is mapped; ENOMEM of a lazy area. */
  read(address: VirtAddr, into: Uint8Array): void {
    this.#faults.touch('cpu', address, into.length, 'read');
    this.#pages.read(address, into);
  }

  /**
   * Writes as the CPU does: through its cache, but for frames that are mapped uncached.
   * @throws LabError EFAULT unless all of it is mapped and writable, ENOMEM of a lazy area; nothing is then written.
   */
  write(address: VirtAddr, from: Uint8Array): void {
    this.#faults.touch('cpu', address, from.length, 'write');
    this.#pages.write(address, from);
  }

  /**
   * Holds the pages under `[address, address + sizeBytes)` for a device: they stay where they are until unpinned as
   * often as pinned. It asks for no right: who maps a read-only page for a device maps it read-only.
   * @returns their bytes in memory in order, physically adjacent pages merged.
   * @throws LabError EFAULT unless all of it is mapped and none of it given, EINVAL on a size below 1, ENOMEM; nothing is
   * then pinned.
   */
  pin(address: VirtAddr, sizeBytes: number): readonly PhysicalPiece[] {
    checkPinSize(sizeBytes);
    if (this.#world.fail('kernel-mm.pin')) throw new LabError('ENOMEM', `${this.name}: cannot pin`);
    this.#faults.touch('pin', address, sizeBytes, 'read');
    const pieces = this.#pages.piecesAt(address, sizeBytes);
    this.#pins.pin(address, pieces);
    this.#emit('mm:pin', address, sizeBytes);
    return mergeAdjacent(pieces);
  }

  /** Undoes one `pin` of the same range, also after exit. @throws LabError EINVAL when a page of it is not pinned. */
  unpin(address: VirtAddr, sizeBytes: number): void {
    checkPinSize(sizeBytes);
    this.#pins.unpin(address, sizeBytes);
    this.#emit('mm:unpin', address, sizeBytes);
  }

  /** Where an address leads by the tables, whoever may go there; undefined where no page is present. */
  lookup(address: number): PhysAddr | undefined {
    return this.#table.lookup(address)?.address;
  }

  /** The walk for an address as the CPU sees the tables, descriptor by descriptor; empty after exit. */
  walk(address: number): readonly TableWalkStep[] {
    return this.#table.walk(address);
  }

  /**
   * An access of a device found no page, or one that refuses it: brings the page in, as a fault of the CPU would. Nothing is
   * there to `execute`: user pages are no-execute.
   * @returns whether the access succeeds when it is made again; false without an area there, without the right, without
   * memory, and once exit has begun. Never throws.
   */
  handleFault(address: number, direction: AccessDirection): boolean {
    return this.#stage === 'running' && this.#faults.serveDevice(address, direction);
  }

  /** Calls `listener` whenever translations have gone (the kernel's mmu_notifier invalidation). @returns ends it */
  onUnmap(listener: UnmapListener): () => void {
    return this.#unmapListeners.add(listener);
  }

  /**
   * Calls `listener` once, when the process ends, while its tables and pages are still there: the moment at which a
   * device leaves them (the kernel's mmu_notifier release, exit_mmap). No fault is served any more. @returns ends it
   */
  onExit(listener: () => void): () => void {
    return this.#exitListeners.add(listener);
  }

  /**
   * Ends the process: mappings, frames and tables go. A pinned frame is kept until it is unpinned, and reported, for
   * a device may still use it. Doing so twice does nothing.
   */
  exit(): void {
    if (this.#stage !== 'running') return;
    this.#stage = 'exiting';
    this.#exitListeners.call();
    this.#stage = 'exited';
    // One after the other: who looks meanwhile sees as mapped what still is.
    for (const area of this.#areas.all()) {
      this.#areas.remove(area.start, area.end - area.start);
      this.#pages.remove(area.start, area.end - area.start, [area].filter(isGiven));
    }
    this.#table.destroy();
    if (this.#pins.sizeBytes > 0) {
      this.#world.emit('mm:pinned_at_exit', { process: this.name, sizeBytes: this.#pins.sizeBytes });
    }
    this.#world.emit('mm:exit', { process: this.name });
  }

  /** Where what is mapped next comes. @throws LabError EINVAL, ENOMEM */
  #nextRange(sizeBytes: number, isMappable: boolean): { readonly start: VirtAddr; readonly end: VirtAddr } {
    if (this.#stage !== 'running' || !isMappable) {
      throw new LabError('EINVAL', `${this.name}: cannot map`, { sizeBytes, stage: this.#stage });
    }
    const start = this.#next;
    const end = offsetBy(start, alignUp(sizeBytes, FRAME_BYTES));
    if (end > USER_END) throw new LabError('ENOMEM', `${this.name}: no address space left`, { sizeBytes });
    return { start, end };
  }

  #emit(
    event: string,
    address: VirtAddr,
    sizeBytes: number,
    more: Readonly<Record<string, EventValue>> = {},
  ): void {
    this.#world.emit(event, { process: this.name, address: hex(address), sizeBytes, ...more });
  }

  /** @returns the areas of the range */
  #checkUnpinned(address: VirtAddr, sizeBytes: number, isMeant: (area: Area) => boolean): readonly Area[] {
    const size = alignUp(sizeBytes, FRAME_BYTES);
    const isWhole = isAligned(address, FRAME_BYTES) && size >= FRAME_BYTES;
    const areas = isWhole ? this.#areas.covering(address, size) : undefined;
    if (areas === undefined || !areas.every(isMeant)) {
      throw new LabError('EINVAL', `${this.name}: not a range of such pages`, { address, sizeBytes });
    }
    const pinned = this.#pins.firstPinned(address, size);
    if (pinned === undefined) return areas;
    throw new LabError('EBUSY', `${this.name}: the page at ${hex(pinned)} is pinned`, { address, sizeBytes });
  }
}

function isGiven(area: Area): boolean {
  return area.isGiven;
}

function checkPinSize(sizeBytes: number): void {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes >= 1) return;
  throw new LabError('EINVAL', 'nothing to pin or unpin', { sizeBytes });
}
