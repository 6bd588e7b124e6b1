/** Memory of which single words refuse: what a walk meets as a slave error. */
import { SLAVE_ERROR, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';

/** A port in front of another; the words whose addresses stand in `refused` answer with a slave error. */
export class RefusingMemory implements MemoryPort {
  readonly #memory: MemoryPort;
  readonly #refused: ReadonlySet<number>;

  constructor(memory: MemoryPort, refused: ReadonlySet<number>) {
    this.#memory = memory;
    this.#refused = refused;
  }

  read(address: PhysAddr, into: Uint8Array): boolean {
    return !this.#isRefused(address, into.length) && this.#memory.read(address, into);
  }

  write(address: PhysAddr, from: Uint8Array): boolean {
    return !this.#isRefused(address, from.length) && this.#memory.write(address, from);
  }

  read32(address: PhysAddr): number {
    return this.#isRefused(address, 4) ? SLAVE_ERROR : this.#memory.read32(address);
  }

  write32(address: PhysAddr, value: number): boolean {
    return !this.#isRefused(address, 4) && this.#memory.write32(address, value);
  }

  #isRefused(address: number, sizeBytes: number): boolean {
    for (const word of this.#refused) {
      if (word < address + sizeBytes && address < word + 4) return true;
    }
    return false;
  }
}
