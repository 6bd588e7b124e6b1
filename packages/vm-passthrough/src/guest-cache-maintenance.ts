/** Cache maintenance by guest-physical range: the guest's instructions act on the host's one cache. */
import type { CacheMaintenance, PhysAddr } from '@iommu-lab/machine';
import type { MemorySlots } from './memory-slots.ts';

/** Ranges go to the host's lines page by page. What of a range is a hole holds no lines and is passed over. */
export class GuestCacheMaintenance implements CacheMaintenance {
  readonly lineBytes: number;
  readonly #slots: MemorySlots;
  readonly #host: CacheMaintenance;

  constructor(slots: MemorySlots, host: CacheMaintenance) {
    this.lineBytes = host.lineBytes;
    this.#slots = slots;
    this.#host = host;
  }

  clean(start: PhysAddr, sizeBytes: number): void {
    this.#eachPage(start, sizeBytes, (host, length) => this.#host.clean(host, length));
  }

  invalidate(start: PhysAddr, sizeBytes: number): void {
    this.#eachPage(start, sizeBytes, (host, length) => this.#host.invalidate(host, length));
  }

  cleanInvalidate(start: PhysAddr, sizeBytes: number): void {
    this.#eachPage(start, sizeBytes, (host, length) => this.#host.cleanInvalidate(host, length));
  }

  #eachPage(start: number, sizeBytes: number, act: (host: PhysAddr, length: number) => void): void {
    const { pageBytes } = this.#slots;
    for (let done = 0; done < sizeBytes;) {
      const at = start + done;
      const length = Math.min(sizeBytes - done, pageBytes - (at % pageBytes));
      const host = this.#slots.translate(at);
      if (host !== undefined) act(host, length);
      done += length;
    }
  }
}
