/** One buffer of a random driver: where its bytes are for the device and for the CPU, and who owns each of them. */
import { assert } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment } from '../../src/index.ts';
import type { ByteModel } from './byte-model.ts';

/** Lines of the largest cache of all ways: what the rules of sharing go by, so that a program is the same on all of them. */
export const RULE_LINE = 64;

/** A contiguous piece of memory under a buffer. */
export interface Piece {
  readonly address: number;
  readonly length: number;
}

/** How a buffer is synced and given back; the rest of a program does not know how it was made. */
export interface Handle {
  readonly segments: readonly DmaSegment[];
  /** All of it at once. */
  readonly sync: (to: 'cpu' | 'device') => void;
  readonly release: (how: 'whole' | 'two-calls' | 'by-piece') => void;
  /** For memory that both may use at any time. */
  readonly view?: {
    readonly read: (at: number, length: number) => Uint8Array;
    readonly write: (at: number, bytes: Uint8Array) => void;
  };
  /** The driver does all maintenance itself: taking it back loses none of the CPU's stores. */
  readonly isOwnSync: boolean;
}

export class Buffer {
  readonly handle: Handle;
  readonly direction: DmaDirection;
  readonly pieces: readonly Piece[];
  readonly model: ByteModel;
  /** By offset: where the byte is in the model. */
  readonly places: Int32Array;
  /** By offset: 1 where the device owns it. All 1 in memory that both may use. */
  readonly owned: Uint8Array;
  /** Whether the model is the arena, whose memory other buffers may have too. */
  readonly isInArena: boolean;
  isStoredTo = false;

  constructor(
    handle: Handle,
    direction: DmaDirection,
    pieces: readonly Piece[],
    memory: { readonly model: ByteModel; readonly base?: number },
    owner: 'cpu' | 'device',
  ) {
    this.handle = handle;
    this.direction = direction;
    this.pieces = pieces;
    this.model = memory.model;
    this.isInArena = memory.base !== undefined;
    const size = handle.segments.reduce((sum, { length }) => sum + length, 0);
    this.places = new Int32Array(size);
    let done = 0;
    for (const { address, length } of pieces) {
      const start = memory.base === undefined ? done : address - memory.base;
      for (let i = 0; i < length && done + i < size; i++) this.places[done + i] = start + i;
      done += length;
    }
    assert(done >= size, 'a buffer has memory for its segments');
    this.owned = new Uint8Array(size).fill(owner === 'device' ? 1 : 0);
  }

  get size(): number {
    return this.places.length;
  }

  /** Memory that both may use at any time. */
  get isShared(): boolean {
    return this.handle.view !== undefined;
  }

  canDevice(isWrite: boolean): boolean {
    return this.direction === 'bidirectional' || isWrite === (this.direction === 'from-device');
  }

  /** End of the run from `from` on that has one owner, at most `length` bytes. */
  runEnd(from: number, length: number): number {
    const last = Math.min(this.size, from + length);
    let end = from + 1;
    while (end < last && this.owned[end] === this.owned[from]) end++;
    return end;
  }

  isMixed(): boolean {
    return this.runEnd(0, this.size) < this.size;
  }

  /** The parts of `[from, end)`, each in one segment, as the device addresses it. */
  *parts(from: number, end: number): Iterable<{ address: number; from: number; length: number }> {
    let passed = 0;
    for (const { address, length } of this.handle.segments) {
      const start = Math.max(from, passed);
      const stop = Math.min(end, passed + length);
      if (stop > start) yield { address: address + start - passed, from: start, length: stop - start };
      passed += length;
    }
  }

  /** The parts of `[from, end)`, each in one piece of memory. */
  *memoryParts(from: number, end: number): Iterable<{ address: number; from: number; length: number }> {
    let passed = 0;
    for (const { address, length } of this.pieces) {
      const start = Math.max(from, passed);
      const stop = Math.min(end, passed + length);
      if (stop > start) yield { address: address + start - passed, from: start, length: stop - start };
      passed += length;
    }
  }

  /**
   * A range to sync that begins at or before `at`. Where both write, parts are whole lines of the CPU's cache, in the buffer
   * and in what may stand for it ("the mapped region must begin exactly on a cache line boundary": dma-api.rst).
   */
  partAround(at: number, length: number): { readonly from: number; readonly end: number } {
    let [from, end] = [at, Math.min(this.size, at + length)];
    if (this.direction !== 'bidirectional') return { from, end };
    while (!this.#isCut(from)) from--;
    while (!this.#isCut(end)) end++;
    return { from, end };
  }

  #isCut(offset: number): boolean {
    let passed = 0;
    if (offset === this.size) return true;
    for (const { address, length } of this.pieces) {
      if (offset === passed) return true;
      // A piece that begins inside a line changes hands whole.
      if (offset < passed + length) return address % RULE_LINE === 0 && (offset - passed) % RULE_LINE === 0;
      passed += length;
    }
    return false;
  }
}

/** Whether the bytes share a cache line with one of the pieces. */
export function touches(pieces: readonly Piece[], address: number, length: number): boolean {
  const first = Math.floor(address / RULE_LINE);
  const last = Math.floor((address + length - 1) / RULE_LINE);
  return pieces.some(
    (p) =>
      Math.floor(p.address / RULE_LINE) <= last &&
      first <= Math.floor((p.address + p.length - 1) / RULE_LINE),
  );
}
