/** One page table: writes entries, and tells the hardware that uses it what has changed. Touches no register. */
import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import { assert, hex, LabError, offsetBy, type PhysAddr, type World } from '@iommu-lab/machine';
import {
  encodeEntry,
  ENTRY_DIRTY,
  ENTRY_READ,
  ENTRY_WRITE,
  entryIndex,
  isValidEntry,
  pageAddress,
  PAGE_BYTES,
  TABLE_BYTES,
} from './table-format.ts';
import type { TableMemory } from './table-memory.ts';

/** What a table asks of hardware that uses it. */
export interface TableHardware {
  /** Drops the cached entries of a range and returns once they are gone. */
  invalidate(iova: number, sizeBytes: number, pageBytes: number): void;
  /** Makes a table a stream's, in place of what it had. */
  useTable(stream: number, table: number, notesWrites: boolean): void;
}

interface TableUser {
  readonly hw: TableHardware;
  readonly stream: number;
}

export class FlatPagingTable implements PagingTable {
  /** Physical address of the first entry. */
  readonly base: PhysAddr;
  readonly #memory: TableMemory;
  /** One for each endpoint that is attached: endpoints that share a stream are in here with the same one. */
  readonly #users: TableUser[] = [];
  #notesWrites = false;

  /** @throws LabError ENOMEM */
  constructor(world: World, memory: TableMemory) {
    if (world.fail('backend-flat.table')) throw new LabError('ENOMEM', 'no memory for a page table');
    this.#memory = memory;
    this.base = memory.allocate(TABLE_BYTES);
  }

  get tableBytes(): number {
    return TABLE_BYTES;
  }

  /** Makes this the table of a stream, for one endpoint more. */
  attach(hw: TableHardware, stream: number): void {
    this.#users.push({ hw, stream });
    hw.useTable(stream, this.base, this.#notesWrites);
  }

  /** One endpoint fewer. Its stream has another table by now or none, or another endpoint still uses this one. */
  detach(hw: TableHardware, stream: number): void {
    const at = this.#users.findIndex((user) => user.hw === hw && user.stream === stream);
    assert(at >= 0, 'what is detached was attached');
    this.#users.splice(at, 1);
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
    const hardware = new Set(this.#users.map((user) => user.hw));
    for (const { iova, sizeBytes, pageSize } of gather.ranges) {
      for (const hw of hardware) hw.invalidate(iova, sizeBytes, pageSize);
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

  setDirtyTracking(isOn: boolean): void {
    this.#notesWrites = isOn;
    // The write drops what is cached for the stream: nothing known to be dirty from an earlier time is left.
    for (const { hw, stream } of this.#users) hw.useTable(stream, this.base, isOn);
  }

  visitDirty(
    iova: number,
    sizeBytes: number,
    clear: boolean,
    gather: Gather,
    visit: (iova: number, pageSize: number) => void,
  ): void {
    for (let page = iova; page < iova + sizeBytes; page += PAGE_BYTES) {
      const at = this.#entryAddress(page);
      const entry = this.#memory.read32(at);
      if (!isValidEntry(entry) || (entry & ENTRY_DIRTY) === 0) continue;
      visit(page, PAGE_BYTES);
      if (!clear) continue;
      this.#memory.write32(at, entry - ENTRY_DIRTY);
      // A write through an entry that is cached as dirty is not noted: the hardware must forget it.
      gather.addRange(page, PAGE_BYTES, PAGE_BYTES);
    }
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
  const dirty = entry & ENTRY_DIRTY ? ', dirty' : '';
  return `16 KiB page at ${hex(pageAddress(entry))}, ${rights.join(' and ')}${dirty}`;
}
