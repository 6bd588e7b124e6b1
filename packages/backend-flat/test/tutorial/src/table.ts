/** One page table: writes entries, and makes the hardware forget the ones that have gone. */
import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import { hex, LabError, type MemoryPort, type PhysAddr, type World } from '@iommu-lab/machine';
import { ENTRY, FIRST_IOVA, LAST_IOVA, PAGE_BYTES, TABLE_BYTES } from './hardware.ts';

/** Where tables live. */
export interface TableMemory {
  readonly memory: MemoryPort;
  /** Pages of it that are free. */
  readonly freePages: PhysAddr[];
}

export class TinyTable implements PagingTable {
  readonly base: PhysAddr;
  readonly tableBytes: number = TABLE_BYTES;
  /** One for each endpoint that translates by this table: makes the hardware forget what it remembers. */
  readonly users: (() => void)[] = [];
  readonly #world: World;
  readonly #tables: TableMemory;

  constructor(world: World, tables: TableMemory) {
    const base = world.fail('backend-tiny.table') ? undefined : tables.freePages.pop();
    if (base === undefined) throw new LabError('ENOMEM', 'no memory for a table');
    tables.memory.write(base, new Uint8Array(TABLE_BYTES));
    this.#world = world;
    this.#tables = tables;
    this.base = base;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    const rights = ENTRY.VALID + (protection.write ? ENTRY.WRITABLE : 0);
    for (let done = 0; done < count * pageSize; done += pageSize) {
      this.#store(iova + done, address + done + rights);
    }
  }

  syncMap(): void {
    // The hardware remembers valid entries only: about a page that was not mapped there is nothing to forget.
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    let done = 0;
    while (done < count * pageSize && (this.#load(iova + done) & ENTRY.VALID) !== 0) {
      this.#store(iova + done, 0);
      done += pageSize;
    }
    if (done > 0) gather.addRange(iova, done, pageSize);
    return done;
  }

  sync(gather: Gather): void {
    for (const forget of this.users) forget();
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const entry = this.#load(iova);
    if ((entry & ENTRY.VALID) === 0) return undefined;
    return (entry - (entry % PAGE_BYTES) + (iova % PAGE_BYTES)) as PhysAddr;
  }

  walk(iova: number): readonly WalkStep[] {
    if (iova < FIRST_IOVA || iova > LAST_IOVA) return [];
    const address = this.#addressOf(iova);
    const descriptor = this.#load(iova);
    const page = this.iovaToPhys(iova - (iova % PAGE_BYTES));
    const rights = (descriptor & ENTRY.WRITABLE) === 0 ? 'read-only' : 'writable';
    const meaning = page === undefined ? 'no page' : `page at ${hex(page)}, ${rights}`;
    return [{ level: 'table', address, descriptor, meaning }];
  }

  destroy(): void {
    this.#tables.freePages.push(this.base);
  }

  #addressOf(iova: number): PhysAddr {
    return (this.base + 4 * Math.floor((iova - FIRST_IOVA) / PAGE_BYTES)) as PhysAddr;
  }

  #load(iova: number): number {
    return this.#tables.memory.read32(this.#addressOf(iova));
  }

  #store(iova: number, entry: number): void {
    const at = this.#addressOf(iova);
    this.#tables.memory.write32(at, entry);
    this.#world.interposer.notify('store', at, 4);
  }
}
