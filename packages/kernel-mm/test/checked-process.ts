import { virtAddr, type CpuCache } from '@iommu-lab/machine';
import type { MmapOptions, PhysicalPiece, Process } from '../src/index.ts';
import { bytes, codeOf, PAGE } from './setup.ts';
import { SharingDevice } from './sharing-device.ts';

/** What is known of a page without looking at a table. */
interface KnownPage {
  readonly bytes: Uint8Array;
  readonly isLazy: boolean;
  readonly isReadOnly: boolean;
  /** A frame of somebody else's. */
  readonly isGiven: boolean;
  /** Touched, and not evicted since. */
  isPresent: boolean;
  pins: number;
}

type Direction = 'read' | 'write';

/**
 * A process with a device in its address space, beside a flat map of bytes. Every operation is done to both, and throws
 * when what comes of it is not what the map says.
 */
export class CheckedProcess {
  readonly process: Process;
  readonly #device: SharingDevice;
  readonly #pages = new Map<number, KnownPage>();
  readonly #pins: [address: number, size: number][] = [];

  constructor(process: Process, cache: CpuCache) {
    this.process = process;
    let salt = 0;
    this.#device = new SharingDevice(process, cache, (page) => {
      const known = this.#pages.get(page);
      if (known === undefined || known.isReadOnly) return;
      const late = bytes(16, salt++);
      same(this.#device.move(page + 64, late, 'write'), true, 'a write on its way lands');
      known.bytes.set(late, 64);
    });
  }

  /** Start of a page that is mapped. */
  pick(index: number): number | undefined {
    return [...this.#pages.keys()][index % Math.max(1, this.#pages.size)];
  }

  map(pages: number, options: Required<MmapOptions>): void {
    const at = this.process.mmap(pages * PAGE, options);
    for (const page of pagesOf(at, pages * PAGE)) {
      this.#pages.set(page, {
        bytes: new Uint8Array(PAGE),
        isLazy: options.lazy,
        isReadOnly: options.readOnly,
        isGiven: false,
        isPresent: !options.lazy,
        pins: 0,
      });
    }
  }

  /** Maps frames that are zeroed. */
  give(pieces: readonly PhysicalPiece[], readOnly: boolean): void {
    const at = this.process.mmapFrames(pieces, { readOnly });
    const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
    for (const page of pagesOf(at, size)) {
      this.#pages.set(page, {
        bytes: new Uint8Array(PAGE),
        isLazy: false,
        isReadOnly: readOnly,
        isGiven: true,
        isPresent: true,
        pins: 0,
      });
    }
  }

  /** Whether a page of frames that were given is mapped. */
  get hasGiven(): boolean {
    return [...this.#pages.values()].some((page) => page.isGiven);
  }

  unmap(at: number, size: number): string {
    const touched = this.#under(at, size);
    const expected = touched === undefined ? 'EINVAL' : touched.some(isPinned) ? 'EBUSY' : 'none';
    const code = codeOf(() => this.process.munmap(virtAddr(at), size));
    same(code, expected, 'munmap');
    if (expected === 'none') for (const page of pagesOf(at, size)) this.#pages.delete(page);
    return expected;
  }

  evict(at: number, size: number): string {
    const touched = this.#under(at, size);
    const isLazy = touched?.every((page) => page.isLazy) === true;
    const expected = !isLazy ? 'EINVAL' : touched.some(isPinned) ? 'EBUSY' : 'none';
    let freedBytes: number | undefined;
    const code = codeOf(() => {
      freedBytes = this.process.evict(virtAddr(at), size);
    });
    same(code, expected, 'evict');
    if (expected !== 'none' || touched === undefined) return expected;
    same(freedBytes, touched.filter((page) => page.isPresent).length * PAGE, 'bytes evicted');
    for (const page of touched) page.isPresent = false;
    return freedBytes === 0 ? 'nothing' : 'done';
  }

  pin(at: number, size: number): string {
    const touched = this.#under(at, size);
    let pinnedBytes = 0;
    const code = codeOf(() => {
      for (const piece of this.process.pin(virtAddr(at), size)) pinnedBytes += piece.length;
    });
    const isRefused = touched === undefined || touched.some((page) => page.isGiven);
    same(code, isRefused ? 'EFAULT' : 'none', 'pin');
    if (isRefused) return 'EFAULT';
    same(pinnedBytes, size, 'bytes pinned');
    for (const page of touched) {
      page.pins++;
      page.isPresent = true;
    }
    this.#pins.push([at, size]);
    return 'done';
  }

  unpin(index: number): void {
    const [given] = this.#pins.splice(index % Math.max(1, this.#pins.length), 1);
    if (given === undefined) return;
    this.process.unpin(virtAddr(given[0]), given[1]);
    for (const page of this.#under(...given) ?? []) page.pins--;
  }

  /** The CPU or the device reads or writes bytes; the device's stay within a page. */
  access(by: 'cpu' | 'device', at: number, size: number, direction: Direction, salt: number): string {
    const touched = this.#under(at, size);
    const isAllowed =
      touched !== undefined && (direction === 'read' || !touched.some((page) => page.isReadOnly));
    const data = bytes(size, salt);
    const isDone =
      by === 'device'
        ? this.#device.access(at, data, direction)
        : codeOf(() => this.process[direction](virtAddr(at), data)) === 'none';
    same(isDone, isAllowed, `${by} ${direction}`);
    if (!isAllowed) return `${direction} refused`;
    for (const page of touched) page.isPresent = true;
    for (let i = 0; i < size; i++) {
      const offset = (at + i) % PAGE;
      const known = this.#pages.get(at + i - offset)?.bytes as Uint8Array;
      if (direction === 'write') known[offset] = data[i] as number;
      else if (known[offset] !== data[i]) throw new Error(`byte ${at + i} differs`);
    }
    return `${direction} done`;
  }

  /** Pages are present where they should be, and nowhere else. */
  checkPresence(): void {
    for (const [page, known] of this.#pages) {
      same(this.process.lookup(page) !== undefined, known.isPresent, 'present');
    }
  }

  /** Reads everything back, ends the process, gives its pins back. */
  end(): void {
    for (const [page, known] of this.#pages) {
      const into = new Uint8Array(PAGE);
      this.process.read(virtAddr(page), into);
      same(Buffer.compare(into, known.bytes), 0, 'contents of a page');
    }
    this.process.exit();
    same(this.#device.isAttached, false, 'the device has left');
    for (const [at, size] of this.#pins) this.process.unpin(virtAddr(at), size);
  }

  /** The pages under a range, or undefined when one of them is not mapped. */
  #under(at: number, size: number): KnownPage[] | undefined {
    const pages: KnownPage[] = [];
    for (const page of pagesOf(at, size)) {
      const known = this.#pages.get(page);
      if (known === undefined) return undefined;
      pages.push(known);
    }
    return pages;
  }
}

function isPinned(page: KnownPage): boolean {
  return page.pins > 0;
}

function pagesOf(address: number, sizeBytes: number): number[] {
  const pages: number[] = [];
  for (let page = address - (address % PAGE); page < address + sizeBytes; page += PAGE) pages.push(page);
  return pages;
}

function same(got: unknown, expected: unknown, what: string): void {
  if (got !== expected) throw new Error(`${what}: ${String(got)}, not ${String(expected)}`);
}
