/**
 * The CPU's loads and stores, held against what is mapped. A load or store that meets no mapping costs a lookup or two in an index;
 * it is looked at before it is done, so that whatever acts right after a store finds it recorded.
 */
import { alignDown, alignUp, hex, type MemoryPort, type PhysAddr } from '@iommu-lab/machine';
import type { DebugState } from './debug-state.ts';
import type { BufferPiece, CallSite } from './records.ts';

/** The CPU's view of memory with the checker looking on. */
export class WatchedMemory implements MemoryPort {
  readonly #state: DebugState;
  readonly #memory: MemoryPort;
  readonly #isCached: boolean;
  /** Who loads and stores now. */
  readonly #here: () => CallSite;

  /** @param site who is said to load and store; the CPU unless given */
  constructor(state: DebugState, memory: MemoryPort, isCached: boolean, site: string | undefined) {
    this.#state = state;
    this.#memory = memory;
    this.#isCached = isCached;
    this.#here = () => state.here(site ?? `CPU ${state.world.currentCpu}`);
  }

  read(address: PhysAddr, into: Uint8Array): boolean {
    this.#loads(address, into.length);
    return this.#memory.read(address, into);
  }

  write(address: PhysAddr, from: Uint8Array): boolean {
    this.#stores(address, from.length);
    return this.#memory.write(address, from);
  }

  read32(address: PhysAddr): number {
    this.#loads(address, 4);
    return this.#memory.read32(address);
  }

  write32(address: PhysAddr, value: number): boolean {
    this.#stores(address, 4);
    return this.#memory.write32(address, value);
  }

  #loads(address: number, sizeBytes: number): void {
    const end = address + sizeBytes;
    for (const piece of this.#state.buffers.overlapping(address, end)) {
      const { record, offset, start } = piece;
      const from = Math.max(address, start);
      const to = Math.min(end, piece.end);
      if (record.parts.type === 'coherent') this.#checkAlias(piece, from, to, 'loads');
      const foreign = record.parts.ownership?.cpuLoaded(offset + from - start, offset + to - start);
      if (foreign === undefined) continue;
      const what = `loads ${to - from} bytes at ${hex(from)}, which the device has`;
      this.#report('cpu-load-while-device-owns', piece, what, from, to);
    }
  }

  #stores(address: number, sizeBytes: number): void {
    const end = address + sizeBytes;
    const { lineBytes, buffers } = this.#state;
    // A store to the cache dirties whole lines.
    const linesStart = this.#isCached ? alignDown(address, lineBytes) : address;
    const linesEnd = this.#isCached ? alignUp(end, lineBytes) : end;
    const pieces = buffers.overlapping(linesStart, linesEnd);
    for (const piece of pieces) {
      const { record, offset, start } = piece;
      const from = Math.max(address, start);
      const to = Math.min(end, piece.end);
      if (from >= to) {
        this.#checkNeighbour(piece, pieces, address, end, linesStart, linesEnd);
        continue;
      }
      if (record.parts.type === 'coherent') this.#checkAlias(piece, from, to, 'stores');
      const foreign = record.parts.ownership?.cpuStored(
        offset + from - start,
        offset + to - start,
        this.#here,
      );
      if (foreign === undefined) continue;
      const what = `stores ${to - from} bytes at ${hex(from)}, which the device has`;
      this.#report('cpu-store-while-device-owns', piece, what, from, to);
    }
  }

  /** The store misses the buffer and hits its line. */
  #checkNeighbour(
    piece: BufferPiece,
    pieces: readonly BufferPiece[],
    address: number,
    end: number,
    linesStart: number,
    linesEnd: number,
  ): void {
    const { record, offset, start } = piece;
    if (!record.isDeviceWritten || record.parts.device.isDmaCoherent || record.parts.isBounced === true)
      return;
    // Two buffers in one line that devices write were reported when they were mapped.
    if (pieces.some((p) => p.record.isDeviceWritten && p.start <= address && end <= p.end)) return;
    const from = Math.max(linesStart, start);
    const to = Math.min(linesEnd, piece.end);
    if (record.parts.ownership?.devicesIn(offset + from - start, offset + to - start) === undefined) return;
    const what = `stores ${end - address} bytes at ${hex(address)}, in the cache line of a buffer that the device has`;
    this.#report('neighbour-in-line', piece, what, address, end);
  }

  #checkAlias(piece: BufferPiece, from: number, to: number, verb: string): void {
    if (!this.#isCached || piece.record.parts.device.isDmaCoherent) return;
    const what = `${verb} ${to - from} bytes at ${hex(from)} through the cache, in coherent memory`;
    this.#report('cached-access-to-coherent', piece, what, from, to);
  }

  #report(
    kind:
      | 'cpu-load-while-device-owns'
      | 'cpu-store-while-device-owns'
      | 'neighbour-in-line'
      | 'cached-access-to-coherent',
    { record }: BufferPiece,
    what: string,
    from: number,
    to: number,
  ): void {
    this.#state.book.addAccess({
      kind,
      device: record.parts.device.name,
      what,
      culprit: this.#here(),
      mapping: record,
      address: from,
      sizeBytes: to - from,
    });
  }
}
