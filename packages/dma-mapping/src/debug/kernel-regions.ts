/** What kernel addresses are. A buffer is named by its physical address; stack, text and virtual mappings are declared. */
import type { RamBank } from '@iommu-lab/machine';
import { type Ranged, RangeIndex } from './range-index.ts';

/**
 * `memory`: usable for DMA. `stack`: of a task. `text`: code and read-only data. `vmalloc`: mapped virtually, page by page.
 * `device-private`: pages of another device's own memory. `none`: no memory.
 */
export type AddressKind = 'memory' | 'stack' | 'text' | 'vmalloc' | 'device-private' | 'none';

/** Tells the checker what buffers lie in. */
export interface KernelMap {
  /** What a range is; one that touches several kinds is the worst of them. */
  kindOf(address: number, sizeBytes: number): AddressKind;
}

/** A region that is not ordinary memory. */
export type DeclaredKind = Exclude<AddressKind, 'memory' | 'none'>;

interface Region extends Ranged {
  readonly kind: DeclaredKind;
}

/** Regions over banks of RAM: what is declared is that, other RAM is memory, the rest is nothing. */
export class KernelRegions implements KernelMap {
  readonly #banks: readonly RamBank[];
  readonly #regions = new RangeIndex<Region>();

  constructor(banks: readonly RamBank[]) {
    this.#banks = banks;
  }

  /** Regions do not overlap. @returns takes it back (the task has ended); harmless again */
  declare(kind: DeclaredKind, start: number, sizeBytes: number): () => void {
    const region = { kind, start, end: start + sizeBytes };
    this.#regions.add(region);
    let isDeclared = true;
    return () => {
      if (isDeclared) this.#regions.remove(region);
      isDeclared = false;
    };
  }

  kindOf(address: number, sizeBytes: number): AddressKind {
    const end = address + sizeBytes;
    const [declared] = this.#regions.overlapping(address, end);
    if (declared !== undefined) return declared.kind;
    const isMemory = this.#banks.some(
      ({ base, sizeBytes: bankBytes }) => base <= address && end <= base + bankBytes,
    );
    return isMemory ? 'memory' : 'none';
  }
}
