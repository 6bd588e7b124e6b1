/**
 * A random driver and its device. What they may not do by the rules of ownership is left out; whether it is depends on the
 * program alone, so that all ways do the same. (Long, because steps, model and the rules that decide what a step may do only
 * make sense side by side.)
 */
import type { Iova } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment, MapOptions, SgEntry } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { mustEqual } from '../support/must-equal.ts';
import { ARENA, type TestSystem } from '../support/system.ts';
import { ALLOCATED_BYTE, BlockPool } from './block-pool.ts';
import { Buffer, type Handle, touches } from './buffer.ts';
import { ByteModel } from './byte-model.ts';
import { syncAll, syncPart, syncRuns } from './hand-over.ts';
import { LateAccesses } from './late-accesses.ts';
import { Looks } from './looks.ts';
import { entriesOf, makeAllocation, makeMapping, makeReserved } from './making.ts';
import { useRegisters } from './registers.ts';
import {
  ARENA_USED,
  type InBuffer,
  pattern,
  type Place,
  type Release,
  type Step,
  type StepKind,
} from './steps.ts';
import { meets, trespass } from './trespass.ts';
import type { Way } from './ways.ts';

/** Buffers that are out at a time. */
const MOST = 8;
const FIRST_BYTES = pattern(ARENA_USED, 3);
const EVERYWHERE = Int32Array.from({ length: ARENA_USED }, (_, i) => i);

type Of<K extends StepKind> = Extract<Step, { readonly kind: K }>;
/** Steps on one of the buffers that are out. */
type OnBuffer = Exclude<Extract<Step, { readonly which: number }>, { readonly kind: 'late-access' }>;

export class Driver {
  readonly looks: Looks;
  readonly done: Set<StepKind> = new Set();
  readonly #system: TestSystem;
  readonly #way: Way;
  readonly #isPolite: boolean;
  readonly #arena = new ByteModel(ARENA_USED);
  readonly #buffers: Buffer[] = [];
  readonly #late: LateAccesses;
  readonly #blocks: BlockPool;

  constructor(system: TestSystem, way: Way, isPolite: boolean) {
    this.looks = new Looks(way.keepsUnwritten);
    this.#system = system;
    this.#way = way;
    this.#isPolite = isPolite;
    this.#late = new LateAccesses(system, way, (page) => this.#isMapped(page));
    this.#blocks = new BlockPool(system.world, system.dma);
    system.memory.write(ARENA, FIRST_BYTES);
    this.#arena.set(EVERYWHERE, 0, FIRST_BYTES);
  }

  /** @throws Error at the first byte that is wrong */
  run(steps: readonly Step[]): void {
    for (const s of steps) if (this.#step(s)) this.done.add(s.kind);
    while (this.#buffers.length > 0) this.#release(0, 'whole');
    this.#blocks.destroy();
    const all = this.#system.cpuRead(ARENA, ARENA_USED);
    this.looks.check(all, this.#arena, EVERYWHERE, 'the arena at the end');
  }

  /** @returns whether it did anything */
  #step(s: Step): boolean {
    switch (s.kind) {
      case 'store':
        return this.#store(s.at, pattern(Math.min(s.length, ARENA_USED - s.at), s.value));
      case 'load':
        return this.#load(s.at, Math.min(s.length, ARENA_USED - s.at));
      case 'map':
        return this.#map(s);
      case 'reserve':
        return this.#reserve(s);
      case 'alloc':
        return this.#allocate(s);
      case 'resource':
        this.#late.add(useRegisters(this.#system, this.#way, s));
        return true;
      case 'late-access':
        return !this.#isPolite && this.#late.run(s);
      case 'time':
        this.#system.world.clock.advance(s.ns);
        this.#late.timePassed();
        return true;
      case 'flush':
        this.#system.layer.flush(this.#system.device);
        this.#late.flushed();
        return true;
      case 'cpu':
        this.#system.world.currentCpu = s.cpu;
        return true;
      case 'buffer-store':
      case 'buffer-load':
      case 'device-read':
      case 'device-write':
      case 'trespass':
      case 'sync':
      case 'sync-part':
      case 'release':
        return this.#buffers.length > 0 && this.#onBuffer(s, s.which % this.#buffers.length);
    }
  }

  #onBuffer(s: OnBuffer, index: number): boolean {
    const buffer = this.#buffers[index] as Buffer;
    const { dma } = this.#system;
    switch (s.kind) {
      case 'buffer-store':
        return this.#storeInBuffer(buffer, s);
      case 'buffer-load':
        return this.#loadFromBuffer(buffer, s);
      case 'device-read':
      case 'device-write':
        return this.#transfer(buffer, s.kind === 'device-write', s);
      case 'trespass':
        return this.#trespass(buffer, s.at % buffer.size);
      case 'sync':
        if (!buffer.isShared) syncAll(dma, buffer);
        return !buffer.isShared;
      case 'sync-part':
        if (!buffer.isShared) syncPart(dma, buffer, s.at % buffer.size, s.length);
        return !buffer.isShared;
      case 'release':
        this.#release(index, s.how);
        return true;
    }
  }

  #store(at: number, bytes: Uint8Array): boolean {
    const address = ARENA + at;
    // Shared lines are the buffer's: a store beside it would be lost or lose something.
    if (this.#buffers.some((b) => b.isInArena && touches(b.pieces, address, bytes.length))) return false;
    this.#system.cpuWrite(address, bytes);
    this.#arena.set(EVERYWHERE.subarray(at), 0, bytes);
    return true;
  }

  /** The CPU looks anywhere; what the device owns it may see in any state. */
  #load(at: number, length: number): boolean {
    const isOpen = new Uint8Array(length);
    for (const b of this.#buffers) {
      if (!b.isInArena || b.direction === 'to-device') continue;
      b.places.forEach((place, i) => {
        if (b.owned[i] === 1 && place >= at && place < at + length) isOpen[place - at] = 1;
      });
    }
    if (this.#isPolite && isOpen.includes(1)) return false;
    const seen = this.#system.cpuRead(ARENA + at, length);
    this.looks.check(seen, this.#arena, EVERYWHERE.subarray(at), `the CPU's load at ${at}`, isOpen);
    return true;
  }

  #storeInBuffer(buffer: Buffer, { at, length, value }: InBuffer): boolean {
    const from = at % buffer.size;
    const { view } = buffer.handle;
    if (view === undefined && (buffer.owned[from] === 1 || buffer.direction === 'from-device')) return false;
    const bytes = pattern(buffer.runEnd(from, length) - from, value);
    if (view !== undefined) view.write(from, bytes);
    else {
      for (const part of buffer.memoryParts(from, from + bytes.length)) {
        const start = part.from - from;
        this.#system.cpuWrite(part.address, bytes.subarray(start, start + part.length));
      }
      buffer.isStoredTo = true;
    }
    buffer.model.set(buffer.places, from, bytes);
    return true;
  }

  #loadFromBuffer(buffer: Buffer, { at, length }: InBuffer): boolean {
    const from = at % buffer.size;
    const { view } = buffer.handle;
    if (view === undefined && buffer.owned[from] === 1) return false;
    const end = buffer.runEnd(from, length);
    const seen = view?.read(from, end - from) ?? new Uint8Array(end - from);
    if (view === undefined) {
      for (const part of buffer.memoryParts(from, end)) {
        seen.set(this.#system.cpuRead(part.address, part.length), part.from - from);
      }
    }
    this.looks.check(seen, buffer.model, buffer.places.subarray(from), "the CPU's load from a buffer");
    return true;
  }

  #transfer(buffer: Buffer, isWrite: boolean, { at, length, value }: InBuffer): boolean {
    const from = at % buffer.size;
    if (buffer.owned[from] === 0 || !buffer.canDevice(isWrite)) return false;
    const end = buffer.runEnd(from, length);
    const bytes = isWrite ? pattern(end - from, value) : new Uint8Array(end - from);
    for (const part of buffer.parts(from, end)) {
      const start = part.from - from;
      if (isWrite) {
        const status = this.#system.deviceWrite(part.address, bytes.subarray(start, start + part.length));
        if (status !== 'done') throw new Error('a device write faulted');
      } else {
        const seen = this.#system.deviceRead(part.address, part.length);
        if (seen === undefined) throw new Error('a device read faulted');
        bytes.set(seen, start);
      }
      if (this.#system.dma.isStale(part.address as Iova)) throw new Error('a live mapping is stale');
    }
    if (isWrite) buffer.model.set(buffer.places, from, bytes);
    else this.looks.check(bytes, buffer.model, buffer.places.subarray(from), 'a read of the device');
    return true;
  }

  /** In a page of the pool the device is among blocks of its own. */
  #trespass(buffer: Buffer, at: number): boolean {
    if (this.#isPolite || this.#isBlock(buffer)) return false;
    if (this.#way.path !== 'iommu') return true;
    const isUntrusted = this.#way.isUntrusted === true;
    trespass(this.#system, buffer, (page) => this.#isMapped(page), at, isUntrusted);
    return true;
  }

  /** Pieces of the arena of which none shares a line with a buffer, or another of them. */
  #free(places: readonly Place[]): readonly SgEntry[] {
    const found: SgEntry[] = [];
    for (const { address, length: wanted } of entriesOf(ARENA, places)) {
      const length = Math.min(wanted, ARENA + ARENA_USED - address);
      const isTaken = this.#buffers.some((b) => b.isInArena && touches(b.pieces, address, length));
      if (!isTaken && !touches(found, address, length)) found.push({ address, length });
    }
    return found;
  }

  #map({ form, variant, places, direction }: Of<'map'>): boolean {
    let entries = this.#free(places);
    if (form === 'single' || form === 'page') entries = entries.slice(0, 1);
    if (entries.length === 0 || this.#buffers.length >= MOST) return false;
    const { dma } = this.#system;
    const isOwnSync = variant === 'own-sync';
    const options: MapOptions = {
      ...(isOwnSync && { skipCpuSync: true }),
      ...(variant === 'error-as-value' && { errorAsValue: true }),
      ...(variant === 'privileged' && { privileged: true }),
    };
    let handle: Handle | undefined;
    if (variant === 'require-coherent') {
      const isWhole = entries.every(({ address, length }) => address % 4096 === 0 && length % 4096 === 0);
      const mapped = dma.mappedBytes;
      const code = codeOf(() => {
        handle = makeMapping(dma, { form, entries, direction, options: { requireCoherent: true } });
      });
      mustEqual(code, isWhole ? this.#way.refusal.whole : this.#way.refusal.other);
      if (handle === undefined) mustEqual(dma.mappedBytes, mapped);
    }
    handle ??= makeMapping(dma, { form, entries, direction, options });
    if (isOwnSync) handle.sync('device');
    this.#addInArena(handle, entries, direction, !isOwnSync);
    return true;
  }

  #reserve(s: Of<'reserve'>): boolean {
    const last = s.pages.length - 1;
    const wanted = s.pages.map((page, i) => {
      const inPage = i === 0 ? s.inPage : 0;
      const rest = 4096 - inPage;
      return { at: page * 4096 + inPage, length: i === last ? Math.min(s.lastLength, rest) : rest };
    });
    const entries = this.#free(wanted);
    if (entries.length < wanted.length || this.#buffers.length >= MOST) return false;
    this.#addInArena(makeReserved(this.#system.dma, entries, s.direction), entries, s.direction, true);
    return true;
  }

  /** What the CPU stored before a device is to write is given up, unless the way keeps it. */
  #addInArena(
    handle: Handle,
    entries: readonly SgEntry[],
    direction: DmaDirection,
    canBeKept: boolean,
  ): void {
    const buffer = new Buffer(handle, direction, entries, { model: this.#arena, base: ARENA }, 'device');
    if (direction === 'from-device') this.#arena.forget(buffer.places, canBeKept);
    this.#buffers.push(buffer);
  }

  #allocate({ form, length, direction, isContiguous }: Of<'alloc'>): boolean {
    if (this.#buffers.length >= MOST) return false;
    if (form === 'block') return this.#allocateBlock(isContiguous);
    const made = makeAllocation(this.#system.dma, form, length, direction, isContiguous);
    const memory = { model: new ByteModel(length) };
    const owner = form === 'coherent' ? 'device' : 'cpu';
    this.#buffers.push(new Buffer(made.handle, made.direction, made.pieces, memory, owner));
    return true;
  }

  #allocateBlock(isZeroed: boolean): boolean {
    const handle = this.#blocks.alloc(isZeroed);
    const [{ length }] = handle.segments as readonly [DmaSegment];
    const model = new ByteModel(length);
    if (!isZeroed) model.set(EVERYWHERE, 0, new Uint8Array(length).fill(ALLOCATED_BYTE));
    // Where in memory it lies its driver does not know.
    this.#buffers.push(new Buffer(handle, 'bidirectional', [{ address: 0, length }], { model }, 'device'));
    return true;
  }

  #release(index: number, how: Release): void {
    const buffer = this.#buffers[index] as Buffer;
    const { handle, direction } = buffer;
    const { dma } = this.#system;
    if (handle.isOwnSync) {
      if (buffer.owned.includes(1)) syncAll(dma, buffer);
    } else if (buffer.isStoredTo && direction === 'bidirectional') {
      // Taking it back is a hand-over to the CPU, which would lose what the CPU has stored meanwhile.
      syncRuns(dma, buffer, 'device');
    }
    handle.release(how === 'again' ? 'two-calls' : how);
    this.#buffers.splice(index, 1);
    if (!this.#isBlock(buffer)) this.#late.add(handle.segments, buffer);
    if (how !== 'again' || !buffer.isInArena) return;
    // The same memory at once, in another direction.
    const places = buffer.pieces.map(({ address, length }) => ({ at: address - ARENA, length }));
    const next = direction === 'to-device' ? 'bidirectional' : 'to-device';
    this.#map({ kind: 'map', form: 'sg', variant: 'plain', places, direction: next });
  }

  #isMapped(page: number): boolean {
    return meets(this.#blocks.pages, page) || this.#buffers.some((b) => meets(b.handle.segments, page));
  }

  #isBlock({ handle: { segments } }: Buffer): boolean {
    return segments.some(({ address }) => meets(this.#blocks.pages, address - (address % 4096)));
  }
}
