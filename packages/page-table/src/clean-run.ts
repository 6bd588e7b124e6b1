/** Cleaning by runs: one maintenance operation for a row of descriptors, not one for each. */
import type { PhysAddr } from '@iommu-lab/machine';
import type { TableMemory } from './table-memory.ts';

const WORD_BYTES = 4;

/** Gathers stores to ascending adjacent words and cleans each unbroken run of them once. */
export class CleanRun {
  readonly #memory: TableMemory;
  #start = 0;
  #end = 0;

  constructor(memory: TableMemory) {
    this.#memory = memory;
  }

  write(address: PhysAddr, word: number): void {
    if (address !== this.#end) {
      this.finish();
      this.#start = address;
    }
    this.#memory.write32(address, word);
    this.#end = address + WORD_BYTES;
  }

  finish(): void {
    if (this.#end > this.#start) this.#memory.clean(this.#start as PhysAddr, this.#end - this.#start);
    this.#start = 0;
    this.#end = 0;
  }
}
