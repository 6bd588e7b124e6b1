/**
 * A write-back, write-allocate data cache in front of memory for the CPU side.
 *
 * It is on purpose as unhelpful as a real one may be: a store stays invisible to memory until its line is cleaned or
 * happens to be evicted, and a line may be evicted or filled speculatively at any CPU access. Those moments are drawn
 * from the world's seed, so a missing clean *or* a missing invalidate shows, and shows again in the next run.
 * Lines that were dropped lately are the favourites of speculative fills: they are what a CPU would prefetch again,
 * and what a driver that invalidates too early trips over.
 *
 * Long because it is one mechanism: the three views and maintenance all work on the same slots.
 */
import type { PhysAddr } from './address.ts';
import { isPowerOfTwo } from './address.ts';
import { LabError } from './errors.ts';
import { BUS_ERROR, type MemoryPort } from './memory.ts';
import type { Random } from './random.ts';
import type { World } from './world.ts';

/** Size of a cache, and how restless it is. */
export interface CacheGeometry {
  /** Bytes a line; a power of two from 16 to 256. */
  readonly lineBytes: number;
  /** Number of sets; a power of two. */
  readonly sets: number;
  readonly ways: number;
  /** A random line is written back and dropped at one in so many CPU accesses; 0 = never. */
  readonly evictOneIn: number;
  /** A line is filled that nobody asked for at one in so many CPU accesses; 0 = never. */
  readonly speculateOneIn: number;
}

/** Maintenance by range, in whole lines: a line that sticks out of the range is treated whole. */
export interface CacheMaintenance {
  readonly lineBytes: number;
  /** Writes dirty lines back; they stay valid. */
  clean(start: PhysAddr, sizeBytes: number): void;
  /** Drops lines, dirty ones too: what was stored there and not cleaned is lost. */
  invalidate(start: PhysAddr, sizeBytes: number): void;
  /** Writes dirty lines back, then drops them. */
  cleanInvalidate(start: PhysAddr, sizeBytes: number): void;
}

const EMPTY = -1;
const RECENTLY_DROPPED = 64;
/** Memory ends at multiples of this. */
const PAGE_BYTES = 4096;

/** The cache: three views of memory, and maintenance. Nothing at them throws. */
export class CpuCache implements CacheMaintenance {
  readonly lineBytes: number;
  /** The CPU's view through the cache. */
  readonly cached: MemoryPort;
  /** The CPU's view past the cache: what a mapping of uncached memory gives. */
  readonly uncached: MemoryPort;
  /** A coherent observer's view: sees dirty lines, and what it writes drops them. */
  readonly snooped: MemoryPort;

  readonly #world: World;
  readonly #memory: MemoryPort;
  readonly #geometry: CacheGeometry;
  readonly #ways: number;
  readonly #setMask: number;
  readonly #random: Random;
  /** Line number held by each slot (set x ways + way), or EMPTY. */
  readonly #tags: Float64Array;
  readonly #dirty: Uint8Array;
  readonly #data: Uint8Array;
  /** The bytes of each slot: a view for each, made once, since one for each fill or write-back was most of their cost. */
  readonly #lines: readonly Uint8Array[];
  readonly #dropped: Float64Array = new Float64Array(RECENTLY_DROPPED).fill(EMPTY);
  #droppedNext = 0;

  /** @throws LabError EINVAL on an impossible geometry. */
  constructor(world: World, memory: MemoryPort, geometry: CacheGeometry) {
    const { lineBytes, sets, ways } = geometry;
    if (
      !isPowerOfTwo(lineBytes) ||
      lineBytes < 16 ||
      lineBytes > 256 ||
      !isPowerOfTwo(sets) ||
      !Number.isSafeInteger(ways) ||
      ways < 1
    ) {
      throw new LabError('EINVAL', 'impossible cache geometry', { ...geometry });
    }
    this.#world = world;
    this.#memory = memory;
    this.#geometry = geometry;
    this.#ways = ways;
    this.#setMask = sets - 1;
    this.#random = world.random.fork('cpu-cache');
    this.lineBytes = lineBytes;
    this.#tags = new Float64Array(sets * ways).fill(EMPTY);
    this.#dirty = new Uint8Array(sets * ways);
    this.#data = new Uint8Array(sets * ways * lineBytes);
    this.#lines = Array.from({ length: sets * ways }, (_, slot) =>
      this.#data.subarray(slot * lineBytes, (slot + 1) * lineBytes),
    );
    this.cached = new ByteView(
      memory,
      (address, into) => this.#load(address, into),
      (address, from) => this.#store(address, from),
    );
    this.uncached = new ByteView(
      memory,
      (address, into) => memory.read(address, into),
      (address, from) => {
        const stored = memory.write(address, from);
        if (stored) world.interposer.notify('store', address, from.length);
        return stored;
      },
    );
    this.snooped = new ByteView(
      memory,
      (address, into) => this.#snoopRead(address, into),
      (address, from) => this.#snoopWrite(address, from),
    );
  }

  clean(start: PhysAddr, sizeBytes: number): void {
    this.#eachLine(start, sizeBytes, (slot) => this.#writeBack(slot));
    this.#world.interposer.notify('clean', start, sizeBytes);
    this.#disturb();
  }

  invalidate(start: PhysAddr, sizeBytes: number): void {
    this.#eachLine(start, sizeBytes, (slot) => this.#drop(slot));
    this.#world.interposer.notify('invalidate', start, sizeBytes);
    this.#disturb();
  }

  cleanInvalidate(start: PhysAddr, sizeBytes: number): void {
    this.#eachLine(start, sizeBytes, (slot) => {
      this.#writeBack(slot);
      this.#drop(slot);
    });
    this.#world.interposer.notify('clean', start, sizeBytes);
    this.#disturb();
  }

  /** For observers: whether the line over `address` is `absent`, `clean` or `dirty`. Changes nothing. */
  lineState(address: PhysAddr): 'absent' | 'clean' | 'dirty' {
    const slot = this.#lookup(Math.floor(address / this.lineBytes));
    if (slot === EMPTY) return 'absent';
    return this.#dirty[slot] === 1 ? 'dirty' : 'clean';
  }

  #load(address: PhysAddr, into: Uint8Array): boolean {
    this.#disturb();
    for (let done = 0; done < into.length;) {
      const offset = this.#offsetInLine(address + done);
      const slot = this.#fill((address + done - offset) / this.lineBytes);
      if (slot === EMPTY) return false;
      const count = Math.min(into.length - done, this.lineBytes - offset);
      copy(this.#data, slot * this.lineBytes + offset, into, done, count);
      done += count;
    }
    return true;
  }

  #store(address: PhysAddr, from: Uint8Array): boolean {
    this.#disturb();
    if (!this.#isMemory(address, from.length)) return false;
    for (let done = 0; done < from.length;) {
      const offset = this.#offsetInLine(address + done);
      const slot = this.#fill((address + done - offset) / this.lineBytes);
      if (slot === EMPTY) return false;
      const count = Math.min(from.length - done, this.lineBytes - offset);
      copy(from, done, this.#data, slot * this.lineBytes + offset, count);
      this.#dirty[slot] = 1;
      done += count;
    }
    this.#world.interposer.notify('store', address, from.length);
    return true;
  }

  /** Whether every page of a range answers; asked first, for a store that fails must store nothing. */
  #isMemory(address: number, sizeBytes: number): boolean {
    for (let at = address; at < address + sizeBytes; at += PAGE_BYTES - (at % PAGE_BYTES)) {
      if (this.#memory.read32((at - (at % 4)) as PhysAddr) < 0) return false;
    }
    return true;
  }

  #snoopRead(address: PhysAddr, into: Uint8Array): boolean {
    if (!this.#memory.read(address, into)) return false;
    for (let done = 0; done < into.length;) {
      const offset = this.#offsetInLine(address + done);
      const slot = this.#lookup((address + done - offset) / this.lineBytes);
      const count = Math.min(into.length - done, this.lineBytes - offset);
      if (slot !== EMPTY) copy(this.#data, slot * this.lineBytes + offset, into, done, count);
      done += count;
    }
    return true;
  }

  #snoopWrite(address: PhysAddr, from: Uint8Array): boolean {
    this.#eachLine(address, from.length, (slot) => {
      this.#writeBack(slot);
      this.#drop(slot);
    });
    return this.#memory.write(address, from);
  }

  #offsetInLine(address: number): number {
    return address & (this.lineBytes - 1);
  }

  #eachLine(start: number, sizeBytes: number, visit: (slot: number) => void): void {
    if (sizeBytes <= 0) return;
    const last = Math.floor((start + sizeBytes - 1) / this.lineBytes);
    for (let line = Math.floor(start / this.lineBytes); line <= last; line++) {
      const slot = this.#lookup(line);
      if (slot !== EMPTY) visit(slot);
    }
  }

  #lookup(line: number): number {
    const first = this.#firstSlot(line);
    const end = first + this.#ways;
    const tags = this.#tags;
    for (let slot = first; slot < end; slot++) if (tags[slot] === line) return slot;
    return EMPTY;
  }

  /** `&` takes the low bits of any line number, and is not the division of doubles that `%` would be. */
  #firstSlot(line: number): number {
    return (line & this.#setMask) * this.#ways;
  }

  /** The slot that holds `line`, filled from memory if need be; EMPTY on a bus error. */
  #fill(line: number): number {
    const present = this.#lookup(line);
    if (present !== EMPTY) return present;
    const first = this.#firstSlot(line);
    let slot = first + this.#random.integer(0, this.#ways - 1);
    for (let candidate = first; candidate < first + this.#ways; candidate++) {
      if (this.#tags[candidate] === EMPTY) slot = candidate;
    }
    this.#writeBack(slot);
    this.#drop(slot);
    const filled = this.#memory.read((line * this.lineBytes) as PhysAddr, this.#lines[slot] as Uint8Array);
    if (!filled) return EMPTY;
    this.#tags[slot] = line;
    return slot;
  }

  #writeBack(slot: number): void {
    if (this.#dirty[slot] !== 1) return;
    const address = ((this.#tags[slot] as number) * this.lineBytes) as PhysAddr;
    this.#memory.write(address, this.#lines[slot] as Uint8Array);
    this.#dirty[slot] = 0;
  }

  #drop(slot: number): void {
    const line = this.#tags[slot] as number;
    if (line === EMPTY) return;
    this.#tags[slot] = EMPTY;
    this.#dirty[slot] = 0;
    this.#dropped[this.#droppedNext] = line;
    this.#droppedNext = (this.#droppedNext + 1) % RECENTLY_DROPPED;
  }

  /** What the cache does of its own accord around a CPU access. */
  #disturb(): void {
    if (this.#random.oneIn(this.#geometry.evictOneIn)) {
      const slot = this.#random.integer(0, this.#tags.length - 1);
      this.#writeBack(slot);
      this.#drop(slot);
    }
    if (this.#random.oneIn(this.#geometry.speculateOneIn)) {
      const line = this.#dropped[this.#random.integer(0, RECENTLY_DROPPED - 1)] as number;
      if (line !== EMPTY) this.#fill(line);
    }
  }
}

/** Part of a line: too short to be worth a view for `set`. */
function copy(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, count: number): void {
  for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i] as number;
}

/** A MemoryPort over two byte functions; why a read failed is what `memory` says. */
class ByteView implements MemoryPort {
  readonly #memory: MemoryPort;
  readonly read: (address: PhysAddr, into: Uint8Array) => boolean;
  readonly write: (address: PhysAddr, from: Uint8Array) => boolean;
  readonly #word = new Uint8Array(4);
  readonly #wordView: DataView = new DataView(this.#word.buffer);

  constructor(
    memory: MemoryPort,
    read: (address: PhysAddr, into: Uint8Array) => boolean,
    write: (address: PhysAddr, from: Uint8Array) => boolean,
  ) {
    this.#memory = memory;
    this.read = read;
    this.write = write;
  }

  read32(address: PhysAddr): number {
    return this.read(address, this.#word) ? this.#wordView.getUint32(0, true) : this.#refusalAt(address);
  }

  write32(address: PhysAddr, value: number): boolean {
    this.#wordView.setUint32(0, value, true);
    return this.write(address, this.#word);
  }

  #refusalAt(address: PhysAddr): number {
    const answer = this.#memory.read32(address);
    return answer < 0 ? answer : BUS_ERROR;
  }
}
