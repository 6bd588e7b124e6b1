import { physAddr, type CpuCache } from '@iommu-lab/machine';
import type { Process } from '../src/index.ts';
import { PAGE } from './setup.ts';

/** Bit 9 of a small page's descriptor is AP[2]: read-only (Arm ARM B3.5.1). */
const READ_ONLY = 1 << 9;

interface TlbEntry {
  readonly frame: number;
  readonly isReadOnly: boolean;
}

/**
 * A device in the address space of a process. It snoops the CPU's cache, and goes on using a translation until it is
 * told to forget it: a frame that is somebody else's too early, or a notice that is missing, shows as a wrong byte.
 */
export class SharingDevice {
  readonly #process: Process;
  readonly #cache: CpuCache;
  readonly #tlb = new Map<number, TlbEntry>();
  isAttached = true;

  /** @param lastUse hears of each page it must forget, while it can still use it: what was on its way lands now */
  constructor(process: Process, cache: CpuCache, lastUse: (page: number) => void) {
    this.#process = process;
    this.#cache = cache;
    const leaveUnmap = process.onUnmap((start, size) => {
      for (const page of this.#tlb.keys()) {
        if (page < start || page >= start + size) continue;
        lastUse(page);
        this.#tlb.delete(page);
      }
    });
    process.onExit(() => {
      leaveUnmap();
      this.isAttached = false;
    });
  }

  /** An access within a page. @returns whether it was made, at once or after its fault was served */
  access(address: number, data: Uint8Array, direction: 'read' | 'write'): boolean {
    if (this.move(address, data, direction)) return true;
    if (!this.#process.handleFault(address, direction)) return false;
    if (!this.move(address, data, direction))
      throw new Error('the fault was served, and the access faults again');
    return true;
  }

  /** The same without a fault. */
  move(address: number, data: Uint8Array, direction: 'read' | 'write'): boolean {
    const page = address - (address % PAGE);
    const entry = this.#tlb.get(page) ?? this.#walk(page);
    if (entry === undefined || (direction === 'write' && entry.isReadOnly)) return false;
    this.#tlb.set(page, entry);
    const at = physAddr(entry.frame + (address - page));
    return direction === 'write' ? this.#cache.snooped.write(at, data) : this.#cache.snooped.read(at, data);
  }

  #walk(page: number): TlbEntry | undefined {
    const frame = this.#process.lookup(page);
    const leaf = this.#process.walk(page).at(-1);
    if (frame === undefined || leaf === undefined) return undefined;
    return { frame, isReadOnly: (leaf.descriptor & READ_ONLY) !== 0 };
  }
}
