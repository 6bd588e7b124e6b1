/** One page table: writes entries, and asks the hardware that uses it to forget the old ones. Touches no register. */
import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import { hex, LabError, offsetBy, type PhysAddr, type World } from '@iommu-lab/machine';
import {
  encodeEntry,
  ENTRY_READ,
  ENTRY_WRITE,
  entryIndex,
  isValidEntry,
  pageAddress,
  PAGE_BYTES,
  TABLE_BYTES,
} from './table-format.ts';
import type { TableMemory } from './table-memory.ts';

/** What a table asks of hardware that may have cached its entries. */
export interface Invalidator {
  /** Drops the cached entries of a range and returns once they are gone. */
  invalidate(iova: number, sizeBytes: number, pageBytes: number): void;
}

export class FlatPagingTable implements PagingTable {
  /** Physical address of the first entry. */
  readonly base: PhysAddr;
  readonly #memory: TableMemory;
  /** Hardware that uses the table, with the number of its streams that do. */
  readonly #users = new Map<Invalidator, number>();

  /** @throws LabError ENOMEM */
  constructor(world: World, memory: TableMemory) {
    if (world.fail('backend-flat.table')) throw new LabError('ENOMEM', 'no memory for a page table');
    this.#memory = memory;
    this.base = memory.allocate(TABLE_BYTES);
  }

  get tableBytes(): number {
    return TABLE_BYTES;
  }

  /** Notes that one more stream of `user` translates by this table. */
  addUser(user: Invalidator): void {
    this.#users.set(user, (this.#users.get(user) ?? 0) + 1);
  }

  /** Notes that one stream fewer does. The hardware has dropped what it had cached for that stream. */
  removeUser(user: Invalidator): void {
    const count = (this.#users.get(user) ?? 0) - 1;
    if (count > 0) this.#users.set(user, count);
    else this.#users.delete(user);
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    for (let page = 0; page < count; page++) {
      const entry = encodeEntry(address + page * pageSize, protection);
      this.#memory.write32(this.#entryAddress(iova + page * pageSize), entry);
    }
  }

  syncMap(): void {
    // The hardware caches valid entries only, so that it has nothing to forget about a page that was not mapped.
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    let removed = 0;
    for (; removed < count; removed++) {
      const at = this.#entryAddress(iova + removed * pageSize);
      if (!isValidEntry(this.#memory.read32(at))) break;
      this.#memory.write32(at, 0);
    }
    if (removed > 0) gather.addRange(iova, removed * pageSize, pageSize);
    return removed * pageSize;
  }

  sync(gather: Gather): void {
    for (const { iova, sizeBytes, pageSize } of gather.ranges) {
      for (const user of this.#users.keys()) user.invalidate(iova, sizeBytes, pageSize);
    }
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const entry = this.#memory.read32(this.#entryAddress(iova));
    return isValidEntry(entry) ? ((pageAddress(entry) + (iova % PAGE_BYTES)) as PhysAddr) : undefined;
  }

  walk(iova: number): readonly WalkStep[] {
    if (entryIndex(iova) === undefined) return [];
    const address = this.#entryAddress(iova);
    const descriptor = this.#memory.read32(address);
    return [{ level: 'table', address, descriptor, meaning: describeEntry(descriptor) }];
  }

  destroy(): void {
    this.#memory.free(this.base, TABLE_BYTES);
  }

  #entryAddress(iova: number): PhysAddr {
    const index = entryIndex(iova);
    if (index === undefined) throw new LabError('ERANGE', `${hex(iova)} is outside the window`, { iova });
    return offsetBy(this.base, 4 * index);
  }
}

function describeEntry(entry: number): string {
  if (!isValidEntry(entry)) return 'no page';
  const rights = [entry & ENTRY_READ ? 'read' : '', entry & ENTRY_WRITE ? 'write' : ''].filter(Boolean);
  return `16 KiB page at ${hex(pageAddress(entry))}, ${rights.join(' and ')}`;
}
