/** Where tables live: the port this backend asks for, and a simple memory for those who have none. */
import { assert, isAligned, LabError, type MemoryPort, type PhysAddr, type World } from '@iommu-lab/machine';
import { TABLE_BYTES } from './table-format.ts';

/**
 * What the driver needs of the memory its tables live in. Whoever owns the page frames provides it. Stores must be
 * visible to the walker when they return, and reads must see the dirty bits that the hardware has set (the walk is
 * coherent both ways, so what goes through the CPU's cache does).
 */
export interface TableMemory {
  /** A zeroed table of `sizeBytes`, aligned to its size. @throws LabError ENOMEM */
  allocate(sizeBytes: number): PhysAddr;
  free(table: PhysAddr, sizeBytes: number): void;
  read32(address: PhysAddr): number;
  write32(address: PhysAddr, word: number): void;
}

/** A `TableMemory` over a piece of RAM that nobody else uses. */
export class ReservedTableMemory implements TableMemory {
  readonly #world: World;
  readonly #memory: MemoryPort;
  readonly #free: number[] = [];
  readonly #totalBytes: number;

  /**
   * @param base first byte, a multiple of 64 KiB below 4 GiB; @param sizeBytes a multiple of 64 KiB: one table each
   * @throws LabError EINVAL
   */
  constructor(world: World, memory: MemoryPort, base: number, sizeBytes: number) {
    if (!isAligned(base, TABLE_BYTES) || !isAligned(sizeBytes, TABLE_BYTES) || base + sizeBytes > 2 ** 32) {
      throw new LabError('EINVAL', `table memory is whole tables of ${TABLE_BYTES} bytes below 4 GiB`, {
        base,
        sizeBytes,
      });
    }
    this.#world = world;
    this.#memory = memory;
    this.#totalBytes = sizeBytes;
    for (let at = base; at < base + sizeBytes; at += TABLE_BYTES) this.#free.push(at);
  }

  /** Bytes of tables handed out. */
  get allocatedBytes(): number {
    return this.#totalBytes - this.#free.length * TABLE_BYTES;
  }

  allocate(sizeBytes: number): PhysAddr {
    assert(sizeBytes === TABLE_BYTES, 'there is one table size');
    const table = this.#world.fail('backend-flat.table-memory') ? undefined : this.#free.shift();
    if (table === undefined) throw new LabError('ENOMEM', 'no memory for a flat table');
    const isZeroed = this.#memory.write(table as PhysAddr, new Uint8Array(sizeBytes));
    assert(isZeroed, 'table memory is RAM');
    return table as PhysAddr;
  }

  free(table: PhysAddr): void {
    this.#free.push(table);
  }

  read32(address: PhysAddr): number {
    return this.#memory.read32(address);
  }

  write32(address: PhysAddr, word: number): void {
    this.#memory.write32(address, word);
    this.#world.interposer.notify('store', address, 4);
  }
}
