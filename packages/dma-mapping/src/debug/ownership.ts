/**
 * Whose the bytes of one streaming mapping are: the device's from the map on, the CPU's after a sync for the CPU. Offsets count
 * through the buffer as it was mapped. (Documentation/core-api/dma-api-howto.rst, "Streaming DMA mappings".)
 */
import type { DmaDirection } from '../dma-ops.ts';
import { type ByteRange, ByteRanges } from './byte-ranges.ts';
import type { CallSite } from './records.ts';

/**
 * Who has a buffer when it is mapped. `unknown`: the driver does its own cache maintenance, so nothing is said about the
 * buffer before the first sync.
 */
export type FirstOwner = 'device' | 'cpu' | 'unknown';

export class Ownership {
  readonly #direction: DmaDirection;
  readonly #sizeBytes: number;
  #isKnown: boolean;
  readonly #cpus = new ByteRanges();
  /** What the CPU has stored to its bytes and not handed over. */
  readonly #stored = new ByteRanges();
  #firstStore: CallSite | undefined;

  constructor(direction: DmaDirection, sizeBytes: number, first: FirstOwner) {
    this.#direction = direction;
    this.#sizeBytes = sizeBytes;
    this.#isKnown = first !== 'unknown';
    if (first === 'cpu') this.#cpus.add(0, sizeBytes);
  }

  /** The bytes go to the CPU. @returns stores that this overwrites: a line is dropped, a bounce buffer copied back */
  toCpu(start: number, end: number): ByteRange | undefined {
    this.#know();
    const lost = this.#direction === 'to-device' ? undefined : this.#stored.firstIn(start, end);
    if (lost !== undefined) this.#stored.remove(start, end);
    this.#cpus.add(start, end);
    return lost;
  }

  /** The bytes go to the device, with all that the CPU stored there. */
  toDevice(start: number, end: number): void {
    this.#know();
    this.#cpus.remove(start, end);
    this.#stored.remove(start, end);
  }

  /** Stores that are lost when the mapping ends now. */
  lostAtEnd(): ByteRange | undefined {
    return this.#direction === 'to-device' ? undefined : this.#stored.firstIn(0, this.#sizeBytes);
  }

  /** Who was first to store what is not handed over. */
  get firstStore(): CallSite | undefined {
    return this.#firstStore;
  }

  /** The CPU stores. @returns bytes of it that are the device's */
  cpuStored(start: number, end: number, by: () => CallSite): ByteRange | undefined {
    if (!this.#isKnown) return undefined;
    if (this.#stored.isEmpty) this.#firstStore = by();
    const foreign = this.#cpus.firstOutside(start, end);
    if (foreign === undefined) {
      this.#stored.add(start, end);
      return undefined;
    }
    for (const own of this.#cpus) this.#stored.add(Math.max(own.start, start), Math.min(own.end, end));
    return foreign;
  }

  /** The CPU loads. @returns bytes of it that are the device's, and that the device may write */
  cpuLoaded(start: number, end: number): ByteRange | undefined {
    if (!this.#isKnown || this.#direction === 'to-device') return undefined;
    return this.#cpus.firstOutside(start, end);
  }

  /** Bytes that are the device's. */
  devicesIn(start: number, end: number): ByteRange | undefined {
    return this.#isKnown ? this.#cpus.firstOutside(start, end) : undefined;
  }

  /** Bytes that the CPU stored and the device may not see yet. */
  unsyncedIn(start: number, end: number): ByteRange | undefined {
    return this.#stored.firstIn(start, end);
  }

  /** They have been reported. */
  forgetStores(start: number, end: number): void {
    this.#stored.remove(start, end);
  }

  /** The device wrote: what the CPU had looked at is out of date, and has to be synced before it looks again. */
  deviceWrote(start: number, end: number): void {
    if (this.#isKnown) this.#cpus.remove(start, end);
  }

  #know(): void {
    if (this.#isKnown) return;
    // The rest of the buffer stays unjudged by counting as the CPU's.
    this.#isKnown = true;
    this.#cpus.add(0, this.#sizeBytes);
  }
}
