/** RAM that costs what is stored in it, for tests that make a board each, by the thousand. */
import { BUS_ERROR, type MemoryPort, type PhysAddr, type RamBank } from '@iommu-lab/machine';

/** Banks of RAM, zero until written; elsewhere nothing answers. Each word that was written is kept by itself. */
export class WordMemory implements MemoryPort {
  readonly #banks: readonly RamBank[];
  readonly #words = new Map<number, number>();

  constructor(banks: readonly RamBank[]) {
    this.#banks = banks;
  }

  read(address: PhysAddr, into: Uint8Array): boolean {
    if (!this.#answers(address, into.length)) return false;
    for (let i = 0; i < into.length; i++) into[i] = this.#word(address + i) >>> (((address + i) % 4) * 8);
    return true;
  }

  write(address: PhysAddr, from: Uint8Array): boolean {
    if (!this.#answers(address, from.length)) return false;
    for (let i = 0; i < from.length; i++) {
      const shift = ((address + i) % 4) * 8;
      const others = this.#word(address + i) & ~(0xff << shift);
      this.#words.set(wordAddress(address + i), (others | ((from[i] as number) << shift)) >>> 0);
    }
    return true;
  }

  /** The address is that of a word. */
  read32(address: PhysAddr): number {
    return this.#answers(address, 4) ? this.#word(address) : BUS_ERROR;
  }

  /** The address is that of a word. */
  write32(address: PhysAddr, value: number): boolean {
    if (!this.#answers(address, 4)) return false;
    this.#words.set(address, value >>> 0);
    return true;
  }

  #word(address: number): number {
    return this.#words.get(wordAddress(address)) ?? 0;
  }

  #answers(address: number, sizeBytes: number): boolean {
    return this.#banks.some(
      (bank) => address >= bank.base && address + sizeBytes <= bank.base + bank.sizeBytes,
    );
  }
}

function wordAddress(address: number): number {
  return address - (address % 4);
}
