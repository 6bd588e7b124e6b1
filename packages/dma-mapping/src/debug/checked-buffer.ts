/** The handle of coherent memory that drivers get from the checker. */
import { hex, type Iova } from '@iommu-lab/machine';
import type { CoherentBuffer } from '../dma-ops.ts';
import type { DebugState } from './debug-state.ts';
import type { MappingRecord } from './records.ts';

export class CheckedBuffer implements CoherentBuffer {
  readonly dmaAddress: Iova;
  readonly sizeBytes: number;
  readonly #state: DebugState;
  readonly #record: MappingRecord;
  readonly #inner: CoherentBuffer;

  constructor(state: DebugState, record: MappingRecord, inner: CoherentBuffer) {
    this.dmaAddress = inner.dmaAddress;
    this.sizeBytes = inner.sizeBytes;
    this.#state = state;
    this.#record = record;
    this.#inner = inner;
  }

  read(offset: number, into: Uint8Array): void {
    this.#check('reads', offset, into.length);
    this.#inner.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.#check('writes', offset, from.length);
    this.#inner.write(offset, from);
  }

  read32(offset: number): number {
    this.#check('reads', offset, 4);
    return this.#inner.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#check('writes', offset, 4);
    this.#inner.write32(offset, value);
  }

  #check(verb: string, offset: number, sizeBytes: number): void {
    if (this.#record.unmapped === undefined) return;
    const { world, book } = this.#state;
    book.addAccess({
      kind: 'cpu-use-of-freed-coherent',
      device: this.#record.parts.device.name,
      what: `${verb} ${sizeBytes} bytes at offset ${offset} of coherent memory that was freed (${hex(this.dmaAddress)})`,
      culprit: this.#state.here(`CPU ${world.currentCpu}`),
      mapping: this.#record,
      iova: this.dmaAddress + offset,
      sizeBytes,
    });
  }
}
