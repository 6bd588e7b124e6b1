import { physAddr, type PhysAddr } from '@iommu-lab/machine';
import type { TableMemory } from '../src/index.ts';

/** Table memory that knows what a walker sees (only what was cleaned), what is allocated, and counts its calls. */
export class FakeTableMemory implements TableMemory {
  readonly #cpu = new Map<number, number>();
  readonly #walker = new Map<number, number>();
  readonly #tables = new Map<number, number>();
  #next: number;
  readonly #dirty = new Set<number>();
  readonly cleans: { readonly start: number; readonly sizeBytes: number }[] = [];

  constructor(start = 0x8010_0000) {
    this.#next = start;
  }

  get allocatedBytes(): number {
    return [...this.#tables.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  allocate(sizeBytes: number): PhysAddr {
    const table = Math.ceil(this.#next / sizeBytes) * sizeBytes;
    this.#next = table + sizeBytes;
    this.#tables.set(table, sizeBytes);
    for (let at = table; at < table + sizeBytes; at += 4) {
      this.#cpu.set(at, 0);
      this.#walker.set(at, 0);
    }
    return physAddr(table);
  }

  free(table: PhysAddr, sizeBytes: number): void {
    if (this.#tables.get(table) !== sizeBytes) throw new Error(`free of ${table}: not allocated`);
    this.#tables.delete(table);
    for (let at: number = table; at < table + sizeBytes; at += 4) {
      this.#cpu.delete(at);
      this.#walker.delete(at);
    }
  }

  read32(address: PhysAddr): number {
    const word = this.#cpu.get(address);
    if (word === undefined) throw new Error(`read of ${address}: not a table`);
    return word;
  }

  write32(address: PhysAddr, word: number): void {
    if (!this.#cpu.has(address)) throw new Error(`write of ${address}: not a table`);
    this.#cpu.set(address, word);
    this.#dirty.add(address);
  }

  clean(start: PhysAddr, sizeBytes: number): void {
    for (let at: number = start; at < start + sizeBytes; at += 4) {
      const word = this.#cpu.get(at);
      if (word === undefined) throw new Error(`clean of ${at}: not a table`);
      this.#walker.set(at, word);
      this.#dirty.delete(at);
    }
    this.cleans.push({ start, sizeBytes });
  }

  /** What a walker that does not snoop reads; -1 outside the tables. */
  readonly walkerRead = (address: PhysAddr): number => this.#walker.get(address) ?? -1;

  /** Every word a walker could read, by address, zeros left out. */
  walkerWords(): Map<number, number> {
    return new Map([...this.#walker].filter(([, word]) => word !== 0));
  }

  /** Addresses of words the CPU wrote and nobody cleaned. */
  uncleaned(): number[] {
    return [...this.#dirty];
  }
}
