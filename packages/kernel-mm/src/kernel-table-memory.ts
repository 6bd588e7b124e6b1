/** Memory for page tables: frames, written through the CPU's cache and cleaned for walkers that do not snoop it. */
import {
  assert,
  isPowerOfTwo,
  LabError,
  offsetBy,
  type CacheMaintenance,
  type MemoryPort,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import type { TableMemory } from '@iommu-lab/page-table';
import { FRAME_BYTES, type FrameAllocator } from './frame-allocator.ts';

export interface KernelTableMemoryOptions {
  /** The walker snoops the CPU's cache: nothing is cleaned. */
  readonly coherent?: boolean;
}

/** Tables below a frame in size share frames, as the kernel's slab caches do; 256 bytes is the least. */
const SMALLEST_TABLE_BYTES = 256;

export class KernelTableMemory implements TableMemory {
  readonly #world: World;
  readonly #frames: FrameAllocator;
  readonly #memory: MemoryPort;
  readonly #maintenance: CacheMaintenance | undefined;
  readonly #slabs = new Map<number, Slab>();
  /** Bytes of each table that is handed out. */
  readonly #tables = new Map<PhysAddr, number>();
  #allocatedBytes = 0;

  /**
   * @param memory the CPU's view through its cache
   * @param maintenance that cache; undefined where there is none
   */
  constructor(
    world: World,
    frames: FrameAllocator,
    memory: MemoryPort,
    maintenance: CacheMaintenance | undefined,
    options: KernelTableMemoryOptions = {},
  ) {
    this.#world = world;
    this.#frames = frames;
    this.#memory = memory;
    this.#maintenance = options.coherent === true ? undefined : maintenance;
  }

  /** Bytes of all tables handed out and not freed. */
  get allocatedBytes(): number {
    return this.#allocatedBytes;
  }

  /**
   * A table, aligned to its size, zeroed and cleaned.
   * @throws LabError ENOMEM, or EINVAL on a size that is no power of two of at least 256 bytes.
   */
  allocate(sizeBytes: number): PhysAddr {
    if (!isPowerOfTwo(sizeBytes) || sizeBytes < SMALLEST_TABLE_BYTES) {
      throw new LabError('EINVAL', 'a table is a power of two of at least 256 bytes', { sizeBytes });
    }
    if (this.#world.fail('kernel-mm.table')) throw new LabError('ENOMEM', 'no memory for a table');
    const table =
      sizeBytes < FRAME_BYTES
        ? this.#slab(sizeBytes).allocate()
        : this.#frames.allocateContiguous(sizeBytes, sizeBytes);
    const stored = this.#memory.write(table, new Uint8Array(sizeBytes));
    assert(stored, 'a page frame is memory');
    this.clean(table, sizeBytes);
    this.#tables.set(table, sizeBytes);
    this.#allocatedBytes += sizeBytes;
    return table;
  }

  /** @throws LabError EINVAL when it is no table of that size handed out here; nothing has changed then */
  free(table: PhysAddr, sizeBytes: number): void {
    if (this.#tables.get(table) !== sizeBytes) {
      throw new LabError('EINVAL', 'not a table of this size', { address: table, sizeBytes });
    }
    this.#tables.delete(table);
    if (sizeBytes < FRAME_BYTES) this.#slab(sizeBytes).free(table);
    else this.#frames.free(table, sizeBytes);
    this.#allocatedBytes -= sizeBytes;
  }

  read32(address: PhysAddr): number {
    const word = this.#memory.read32(address);
    assert(word >= 0, 'a table lies in memory');
    return word;
  }

  write32(address: PhysAddr, word: number): void {
    const stored = this.#memory.write32(address, word);
    assert(stored, 'a table lies in memory');
  }

  clean(start: PhysAddr, sizeBytes: number): void {
    this.#maintenance?.clean(start, sizeBytes);
  }

  #slab(sizeBytes: number): Slab {
    let slab = this.#slabs.get(sizeBytes);
    if (slab === undefined) {
      slab = new Slab(this.#frames, sizeBytes);
      this.#slabs.set(sizeBytes, slab);
    }
    return slab;
  }
}

/** Objects of one size, packed into frames; a frame with none left goes back. */
class Slab {
  readonly #frames: FrameAllocator;
  readonly #sizeBytes: number;
  readonly #allUsed: number;
  /** Bit i of a frame's mask: object i is in use. */
  readonly #used = new Map<PhysAddr, number>();
  /** Frames with room, in the order in which they got it. */
  readonly #withRoom = new Set<PhysAddr>();

  constructor(frames: FrameAllocator, sizeBytes: number) {
    this.#frames = frames;
    this.#sizeBytes = sizeBytes;
    this.#allUsed = 2 ** (FRAME_BYTES / sizeBytes) - 1;
  }

  allocate(): PhysAddr {
    const frame = this.#withRoom.values().next().value ?? this.#grow();
    const mask = this.#used.get(frame) as number;
    let object = 0;
    while ((mask & (1 << object)) !== 0) object++;
    const used = mask | (1 << object);
    this.#used.set(frame, used);
    if (used === this.#allUsed) this.#withRoom.delete(frame);
    return offsetBy(frame, object * this.#sizeBytes);
  }

  free(address: PhysAddr): void {
    const inFrame = address % FRAME_BYTES;
    const frame = offsetBy(address, -inFrame);
    const left = (this.#used.get(frame) as number) & ~(1 << (inFrame / this.#sizeBytes));
    this.#used.set(frame, left);
    this.#withRoom.add(frame);
    if (left !== 0) return;
    this.#used.delete(frame);
    this.#withRoom.delete(frame);
    this.#frames.free(frame);
  }

  #grow(): PhysAddr {
    const frame = this.#frames.allocateContiguous(FRAME_BYTES, FRAME_BYTES);
    this.#used.set(frame, 0);
    this.#withRoom.add(frame);
    return frame;
  }
}
