/**
 * Coherent buffers: one stretch for the device, and for the CPU a view over the frames it is made of. The view is uncached
 * for a device that does not snoop, so there is nothing to keep in step.
 */
import { assert, type CacheMaintenance, LabError, type MemoryPort, offsetBy } from '@iommu-lab/machine';
import type { CoherentBuffer, SgEntry } from '../dma-ops.ts';
import type { LiveMapping } from './live-mappings.ts';
import type { MappedPiece } from '../paths/path.ts';

const ZEROES = new Uint8Array(4096);

/**
 * Makes fresh frames ready to be shared: no dirty line of them stays in the cache (it would be evicted over what the device
 * writes), and they are zeroed through `view` down to memory, so that neither side sees what was there before.
 * @param maintenance absent for a device that snoops
 */
export function prepareFrames(
  view: MemoryPort,
  maintenance: CacheMaintenance | undefined,
  pieces: readonly SgEntry[],
): void {
  for (const { address, length } of pieces) {
    maintenance?.cleanInvalidate(address, length);
    for (let done = 0; done < length; done += ZEROES.length) {
      const isStored = view.write(offsetBy(address, done), ZEROES.subarray(0, length - done));
      assert(isStored, 'allocated frames are memory');
    }
    maintenance?.clean(address, length);
  }
}

/**
 * Frames go back to cached use: drops lines that were filled speculatively meanwhile and are older than what was written
 * past the cache.
 */
export function retireFrames(maintenance: CacheMaintenance | undefined, pieces: readonly SgEntry[]): void {
  for (const { address, length } of pieces) maintenance?.invalidate(address, length);
}

/** The driver's handle, as the layer sees it. */
export class CoherentView implements CoherentBuffer {
  readonly dmaAddress: CoherentBuffer['dmaAddress'];
  readonly sizeBytes: number;
  readonly #view: MemoryPort | undefined;
  readonly #pieces: readonly MappedPiece[];
  readonly #word = new Uint8Array(4);
  readonly #wordView: DataView = new DataView(this.#word.buffer);
  #isFreed = false;

  /** @param view absent for a buffer that the CPU has no view of */
  constructor(view: MemoryPort | undefined, mapping: LiveMapping) {
    const [first] = mapping.pieces;
    assert(first !== undefined, 'a buffer has memory');
    this.dmaAddress = first.iova;
    this.sizeBytes = mapping.sizeBytes;
    this.#view = view;
    this.#pieces = mapping.pieces;
  }

  read(offset: number, into: Uint8Array): void {
    const view = this.#check(offset, into.length);
    this.#eachPart(offset, into, (address, part) => view.read(address, part));
  }

  write(offset: number, from: Uint8Array): void {
    const view = this.#check(offset, from.length);
    this.#eachPart(offset, from, (address, part) => view.write(address, part));
  }

  read32(offset: number): number {
    this.read(offset, this.#word);
    return this.#wordView.getUint32(0, true);
  }

  write32(offset: number, value: number): void {
    this.#wordView.setUint32(0, value, true);
    this.write(offset, this.#word);
  }

  /** Ends the driver's access: a use after this is EINVAL. */
  revoke(): void {
    this.#isFreed = true;
  }

  #check(offset: number, sizeBytes: number): MemoryPort {
    if (this.#isFreed) throw new LabError('EINVAL', 'the coherent buffer has been freed', { offset });
    if (this.#view === undefined) {
      throw new LabError('EINVAL', 'the coherent buffer has no kernel mapping', { offset });
    }
    if (Number.isSafeInteger(offset) && offset >= 0 && offset + sizeBytes <= this.sizeBytes)
      return this.#view;
    throw new LabError('EINVAL', `offset ${offset} is outside the coherent buffer`, {
      offset,
      sizeBytes,
      bufferBytes: this.sizeBytes,
    });
  }

  #eachPart(
    offset: number,
    bytes: Uint8Array,
    move: (address: MappedPiece['address'], part: Uint8Array) => boolean,
  ): void {
    const start = this.dmaAddress + offset;
    for (const { iova, address, length } of this.#pieces) {
      const from = Math.max(start, iova);
      const end = Math.min(start + bytes.length, iova + length);
      if (end <= from) continue;
      const isMoved = move(offsetBy(address, from - iova), bytes.subarray(from - start, end - start));
      assert(isMoved, 'allocated frames are memory');
    }
  }
}
