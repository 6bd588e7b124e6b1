/** Coherent memory of nothing but bytes, and a device that reads and writes them. */
import { type Iova, LabError } from '@iommu-lab/machine';
import type { AllocOptions, CoherentBuffer } from '../../src/dma-ops.ts';
import type { CoherentSource } from '../../src/pool/dma-pool.ts';

class FakeBuffer implements CoherentBuffer {
  readonly dmaAddress: Iova;
  readonly bytes: Uint8Array;
  readonly site: string | undefined;

  constructor(dmaAddress: Iova, sizeBytes: number, site: string | undefined) {
    this.dmaAddress = dmaAddress;
    this.bytes = new Uint8Array(sizeBytes);
    this.site = site;
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array): void {
    this.#check(offset, into.length);
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    this.#check(offset, from.length);
    this.bytes.set(from, offset);
  }

  read32(offset: number): number {
    this.#check(offset, 4);
    return new DataView(this.bytes.buffer).getUint32(offset, true);
  }

  write32(offset: number, value: number): void {
    this.#check(offset, 4);
    new DataView(this.bytes.buffer).setUint32(offset, value, true);
  }

  #check(offset: number, sizeBytes: number): void {
    if (offset < 0 || offset + sizeBytes > this.bytes.length) throw new Error('outside the page');
  }
}

export class FakeCoherent implements CoherentSource {
  readonly live: Set<FakeBuffer> = new Set();
  /** Code with which the next allocations are refused. */
  refusal: 'ENOMEM' | 'ENOSPC' | undefined;
  /** Added to each page's address, which is a multiple of its size otherwise. */
  readonly #skew: number;
  #next = 0x10_0000;

  constructor(skew = 0) {
    this.#skew = skew;
  }

  allocCoherent(sizeBytes: number, options: AllocOptions = {}): CoherentBuffer {
    if (this.refusal !== undefined) throw new LabError(this.refusal, 'fake: no page');
    const naturalBytes = 2 ** Math.ceil(Math.log2(sizeBytes));
    const at = Math.ceil(this.#next / naturalBytes) * naturalBytes;
    this.#next = at + 2 * naturalBytes;
    const buffer = new FakeBuffer((at + this.#skew) as Iova, sizeBytes, options.site);
    this.live.add(buffer);
    return buffer;
  }

  freeCoherent(buffer: CoherentBuffer): void {
    if (!this.live.delete(buffer as FakeBuffer)) throw new Error('freed twice, or a stranger');
  }

  deviceWrite(address: number, from: readonly number[]): void {
    const page = this.#over(address);
    page.bytes.set(from, address - page.dmaAddress);
  }

  deviceRead(address: number, sizeBytes: number): readonly number[] {
    const page = this.#over(address);
    return [...page.bytes.subarray(address - page.dmaAddress, address - page.dmaAddress + sizeBytes)];
  }

  #over(address: number): FakeBuffer {
    for (const page of this.live) {
      if (address >= page.dmaAddress && address < page.dmaAddress + page.sizeBytes) return page;
    }
    throw new Error('the device reaches nothing there');
  }
}
