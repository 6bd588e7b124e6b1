/**
 * Physical memory: RAM banks in an address space that is otherwise holes. A hole answers with a bus error, as a
 * real interconnect does; nothing here throws because of an address.
 *
 * A bank is one buffer with a base/limit check in front (the fastest layout in JavaScript); a bank above
 * DENSE_LIMIT is kept in chunks that exist once they are written.
 */
import { LabError } from './errors.ts';
import type { PhysAddr } from './address.ts';

/** Answer of `read32` when nothing is at the address: the interconnect's decode error. */
export const BUS_ERROR = -1;
/** Answer of `read32` when something is at the address and refuses: a slave error, of a failed memory for example. */
export const SLAVE_ERROR = -2;

/**
 * What can be asked of memory by anybody: a CPU, a table walker, a device. Little-endian. Alignment is nobody's
 * business here: a word is the four bytes from its address on. Of a range that is partly a hole, nothing answers.
 */
export interface MemoryPort {
  /** Fills `into` from `address` on. @returns false on a bus error; `into` is then undefined. */
  read(address: PhysAddr, into: Uint8Array): boolean;
  /** Stores `from`. @returns false on a bus error; nothing is then stored. */
  write(address: PhysAddr, from: Uint8Array): boolean;
  /** The unsigned word at `address`, or BUS_ERROR or SLAVE_ERROR (both negative). */
  read32(address: PhysAddr): number;
  /** Stores an unsigned word. @returns false on a bus error; nothing is then stored. */
  write32(address: PhysAddr, value: number): boolean;
}

/** One RAM device. */
export interface RamBank {
  /** First byte; a multiple of 4096. */
  readonly base: number;
  /** Length in bytes; a multiple of 4096. */
  readonly sizeBytes: number;
}

/** Up to this many bytes a loop beats `set(subarray)`, which makes an object each time. */
const LOOP_BYTES = 64;
const DENSE_LIMIT = 256 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

/** A range answers if it lies in one bank: banks are separate devices, and none answers for its neighbour. */
export class PhysicalMemory implements MemoryPort {
  readonly banks: readonly RamBank[];
  readonly #stores: readonly BankStore[];
  /** The bank that answered last: it is asked first. */
  #recent: BankStore | undefined;

  /** @throws LabError EINVAL on an empty, unaligned or overlapping bank. */
  constructor(banks: readonly RamBank[]) {
    this.banks = [...banks].sort((a, b) => a.base - b.base);
    this.banks.forEach((bank, i) => {
      const previous = this.banks[i - 1];
      if (bank.sizeBytes <= 0 || bank.base % 4096 !== 0 || bank.sizeBytes % 4096 !== 0) {
        throw new LabError('EINVAL', 'a RAM bank is a positive multiple of 4096 bytes', { ...bank });
      }
      if (previous !== undefined && previous.base + previous.sizeBytes > bank.base) {
        throw new LabError('EINVAL', 'RAM banks overlap', { first: { ...previous }, second: { ...bank } });
      }
    });
    this.#stores = this.banks.map((bank) =>
      bank.sizeBytes <= DENSE_LIMIT ? new DenseBank(bank) : new SparseBank(bank),
    );
  }

  /** Whether all of `[address, address + sizeBytes)` is RAM of one bank. */
  contains(address: number, sizeBytes: number): boolean {
    return this.#find(address, sizeBytes) !== undefined;
  }

  read(address: PhysAddr, into: Uint8Array): boolean {
    const store = this.#find(address, into.length);
    if (store === undefined) return false;
    store.read(address - store.base, into);
    return true;
  }

  write(address: PhysAddr, from: Uint8Array): boolean {
    const store = this.#find(address, from.length);
    if (store === undefined) return false;
    store.write(address - store.base, from);
    return true;
  }

  read32(address: PhysAddr): number {
    const store = this.#find(address, 4);
    // `| 0`: an exported constant has no type for the compiler, and the word would become an object with it.
    return store === undefined ? BUS_ERROR | 0 : store.read32(address - store.base);
  }

  write32(address: PhysAddr, value: number): boolean {
    const store = this.#find(address, 4);
    if (store === undefined) return false;
    store.write32(address - store.base, value);
    return true;
  }

  #find(address: number, sizeBytes: number): BankStore | undefined {
    const recent = this.#recent;
    if (recent !== undefined && address >= recent.base && address + sizeBytes <= recent.end) return recent;
    return this.#search(address, sizeBytes);
  }

  #search(address: number, sizeBytes: number): BankStore | undefined {
    for (const store of this.#stores) {
      if (address >= store.base && address + sizeBytes <= store.end) {
        this.#recent = store;
        return store;
      }
    }
    return undefined;
  }
}

/** Bytes of one bank by offset; ranges have been checked. */
interface BankStore {
  readonly base: number;
  readonly end: number;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  read32(offset: number): number;
  write32(offset: number, value: number): void;
}

class DenseBank implements BankStore {
  readonly base: number;
  readonly end: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bank: RamBank) {
    this.base = bank.base;
    this.end = bank.base + bank.sizeBytes;
    this.#bytes = new Uint8Array(bank.sizeBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  read(offset: number, into: Uint8Array): void {
    if (into.length <= LOOP_BYTES) {
      const bytes = this.#bytes;
      for (let i = 0; i < into.length; i++) into[i] = bytes[offset + i] as number;
    } else {
      into.set(this.#bytes.subarray(offset, offset + into.length));
    }
  }

  write(offset: number, from: Uint8Array): void {
    if (from.length <= LOOP_BYTES) {
      const bytes = this.#bytes;
      for (let i = 0; i < from.length; i++) bytes[offset + i] = from[i] as number;
    } else {
      this.#bytes.set(from, offset);
    }
  }

  read32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  write32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }
}

class SparseBank implements BankStore {
  readonly base: number;
  readonly end: number;
  readonly #chunks = new Map<number, Uint8Array>();
  readonly #word = new Uint8Array(4);
  readonly #wordView: DataView = new DataView(this.#word.buffer);

  constructor(bank: RamBank) {
    this.base = bank.base;
    this.end = bank.base + bank.sizeBytes;
  }

  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const at = offset + done;
      const inChunk = at % CHUNK_BYTES;
      const count = Math.min(into.length - done, CHUNK_BYTES - inChunk);
      const chunk = this.#chunks.get((at - inChunk) / CHUNK_BYTES);
      if (chunk === undefined) into.fill(0, done, done + count);
      else into.set(chunk.subarray(inChunk, inChunk + count), done);
      done += count;
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length;) {
      const at = offset + done;
      const inChunk = at % CHUNK_BYTES;
      const count = Math.min(from.length - done, CHUNK_BYTES - inChunk);
      this.#chunk((at - inChunk) / CHUNK_BYTES).set(from.subarray(done, done + count), inChunk);
      done += count;
    }
  }

  read32(offset: number): number {
    this.read(offset, this.#word);
    return this.#wordView.getUint32(0, true);
  }

  write32(offset: number, value: number): void {
    this.#wordView.setUint32(0, value, true);
    this.write(offset, this.#word);
  }

  #chunk(index: number): Uint8Array {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      chunk = new Uint8Array(CHUNK_BYTES);
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }
}
