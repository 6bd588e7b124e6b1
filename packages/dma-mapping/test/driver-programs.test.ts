/**
 * Random driver programs against a flat array of bytes that knows no cache and no address translation. The same program
 * must read the same bytes whatever stands between CPU, memory and device. (Long, because steps, oracle and the rules of
 * ownership that decide what a step may do only make sense side by side.)
 */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import type { DmaDirection, DmaSegment, SgEntry } from '../src/index.ts';
import { ARENA, makeSystem, type SystemOptions, type TestSystem } from './support/system.ts';

const LINE = 32;
const ARENA_USED = 3 * 4096;
const UNKNOWN = -1;

interface Buffer {
  readonly entries: readonly SgEntry[];
  readonly segments: readonly DmaSegment[];
  readonly direction: DmaDirection;
  readonly isSg: boolean;
  owner: 'device' | 'cpu';
  isStoredTo: boolean;
}

type Step =
  | { readonly kind: 'store' | 'load'; readonly at: number; readonly length: number; readonly value: number }
  | {
      readonly kind: 'map';
      readonly at: readonly number[];
      readonly length: number;
      readonly direction: DmaDirection;
    }
  | {
      readonly kind: 'device-write' | 'device-read';
      readonly which: number;
      readonly at: number;
      readonly length: number;
      readonly value: number;
    }
  | { readonly kind: 'sync' | 'unmap'; readonly which: number };

const place = fc.integer({ min: 0, max: ARENA_USED - 1 });
const length = fc.integer({ min: 1, max: 200 });
const value = fc.integer({ min: 0, max: 255 });
const which = fc.nat(7);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('store', 'load'), at: place, length, value }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('map'),
      at: fc.array(place, { minLength: 1, maxLength: 3 }),
      length,
      direction: fc.constantFrom<DmaDirection>('to-device', 'from-device', 'bidirectional'),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('device-write', 'device-read'),
      which,
      at: fc.nat(600),
      length,
      value,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('sync', 'unmap'), which }) },
) as fc.Arbitrary<Step>;

/** Runs a program; what driver or device may not do by the rules of ownership is left out. */
class Driver {
  readonly done = new Map<string, number>();
  readonly #system: TestSystem;
  /** The oracle: what each byte of the arena is, for whoever may look at it. */
  readonly #bytes: number[] = Array.from({ length: ARENA_USED }, () => 0);
  readonly #buffers: Buffer[] = [];

  constructor(system: TestSystem) {
    this.#system = system;
  }

  run(steps: readonly Step[]): void {
    for (const s of steps) if (this.#step(s)) this.done.set(s.kind, (this.done.get(s.kind) ?? 0) + 1);
    while (this.#buffers.length > 0) this.#step({ kind: 'unmap', which: 0 });
    const all = this.#system.cpuRead(ARENA, ARENA_USED);
    this.#expectBytes(all, this.#bytes, 'the arena at the end');
  }

  #step(s: Step): boolean {
    switch (s.kind) {
      case 'store':
        return this.#store(s.at, pattern(Math.min(s.length, ARENA_USED - s.at), s.value));
      case 'load':
        return this.#load(s.at, Math.min(s.length, ARENA_USED - s.at));
      case 'map':
        return this.#map(s.at, s.length, s.direction);
      case 'device-write':
      case 'device-read': {
        const buffer = this.#buffers[s.which % (this.#buffers.length || 1)];
        return (
          buffer !== undefined && this.#transfer(buffer, s.kind === 'device-write', s.at, s.length, s.value)
        );
      }
      case 'sync': {
        const buffer = this.#buffers[s.which % (this.#buffers.length || 1)];
        if (buffer !== undefined) this.#sync(buffer);
        return buffer !== undefined;
      }
      case 'unmap': {
        const at = s.which % (this.#buffers.length || 1);
        const buffer = this.#buffers[at];
        if (buffer === undefined) return false;
        this.#unmap(buffer);
        this.#buffers.splice(at, 1);
        return true;
      }
    }
  }

  #store(at: number, bytes: Uint8Array): boolean {
    const touching = this.#buffers.filter((b) => touches(b.entries, at, bytes.length));
    if (touching.some((b) => b.owner === 'device' || b.direction === 'from-device')) return false;
    // Inside its buffer the CPU may store; outside, the shared lines are the buffer's.
    if (touching.some((b) => !contains(b.entries, at, bytes.length))) return false;
    for (const buffer of touching) buffer.isStoredTo = true;
    this.#system.cpuWrite(ARENA + at, bytes);
    bytes.forEach((byte, i) => (this.#bytes[at + i] = byte));
    return true;
  }

  /** The CPU looks; what the device owns it may see in any state. */
  #load(at: number, size: number): boolean {
    const seen = this.#system.cpuRead(ARENA + at, size);
    const expected = this.#bytes.slice(at, at + size);
    for (const b of this.#buffers.filter((b) => b.owner === 'device' && b.direction !== 'to-device')) {
      for (const { address, length: bytes } of b.entries) {
        for (let i = 0; i < bytes; i++) {
          const index = address - ARENA + i - at;
          if (index >= 0 && index < size) expected[index] = UNKNOWN;
        }
      }
    }
    this.#expectBytes(seen, expected, `CPU load at ${at}`);
    return true;
  }

  #map(at: readonly number[], size: number, direction: DmaDirection): boolean {
    const entries: SgEntry[] = [];
    for (const start of at) {
      const bytes = Math.min(size, ARENA_USED - start);
      if ([...this.#buffers, { entries }].some((b) => touches(b.entries, start, bytes))) continue;
      entries.push({ address: physAddr(ARENA + start), length: bytes });
    }
    const [first, second] = entries;
    if (first === undefined) return false;
    const { dma } = this.#system;
    const isSg = second !== undefined;
    const segments = isSg
      ? dma.mapSg(entries, direction)
      : [{ address: dma.mapSingle(first.address, first.length, direction), length: first.length }];
    if (direction === 'from-device') {
      // What the CPU stored before is given up; what the device does not write is unspecified.
      for (const { address, length: bytes } of entries) {
        this.#bytes.fill(UNKNOWN, address - ARENA, address - ARENA + bytes);
      }
    }
    this.#buffers.push({ entries, segments, direction, isSg, owner: 'device', isStoredTo: false });
    return true;
  }

  #transfer(buffer: Buffer, isWrite: boolean, at: number, size: number, fill: number): boolean {
    const isAllowed =
      buffer.direction === 'bidirectional' || isWrite === (buffer.direction === 'from-device');
    if (buffer.owner !== 'device' || !isAllowed) return false;
    const places = buffer.entries.flatMap((e) =>
      Array.from({ length: e.length }, (_, i) => e.address - ARENA + i),
    );
    const from = at % places.length;
    const end = Math.min(places.length, from + size);
    const bytes = pattern(end - from, fill);
    let passed = 0;
    for (const segment of buffer.segments) {
      const start = Math.max(from, passed);
      const stop = Math.min(end, passed + segment.length);
      if (stop > start) {
        const address = segment.address + start - passed;
        if (isWrite) {
          this.#deviceWrite(address, bytes.subarray(start - from, stop - from));
        } else {
          const seen = this.#system.deviceRead(address, stop - start);
          const expected = places.slice(start, stop).map((p) => this.#bytes[p] as number);
          this.#expectBytes(seen as Uint8Array, expected, 'device read');
        }
      }
      passed += segment.length;
    }
    if (isWrite) places.slice(from, end).forEach((p, i) => (this.#bytes[p] = bytes[i] as number));
    return true;
  }

  #deviceWrite(address: number, bytes: Uint8Array): void {
    if (this.#system.deviceWrite(address, bytes) !== 'done') throw new Error('a device write faulted');
  }

  #sync(buffer: Buffer): void {
    const { dma } = this.#system;
    const { segments, direction, isSg } = buffer;
    const [first] = segments as [DmaSegment];
    if (buffer.owner === 'device') {
      if (isSg) dma.syncSgForCpu(segments, direction);
      else dma.syncSingleForCpu(first.address, first.length, direction);
      buffer.owner = 'cpu';
      return;
    }
    if (isSg) dma.syncSgForDevice(segments, direction);
    else dma.syncSingleForDevice(first.address, first.length, direction);
    buffer.owner = 'device';
    buffer.isStoredTo = false;
  }

  #unmap(buffer: Buffer): void {
    if (buffer.isStoredTo) this.#sync(buffer);
    const { segments, direction, isSg } = buffer;
    const [first] = segments as [DmaSegment];
    if (isSg) this.#system.dma.unmapSg(segments, direction);
    else this.#system.dma.unmapSingle(first.address, first.length, direction);
  }

  #expectBytes(seen: Uint8Array, expected: readonly number[], what: string): void {
    const wrong = expected.findIndex((byte, i) => byte !== UNKNOWN && byte !== seen[i]);
    if (wrong >= 0) throw new Error(`${what}: byte ${wrong} is ${seen[wrong]}, not ${expected[wrong]}`);
  }
}

/** Whether the bytes share a cache line with a buffer. */
function touches(entries: readonly SgEntry[], at: number, size: number): boolean {
  const first = Math.floor(at / LINE);
  const last = Math.floor((at + size - 1) / LINE);
  return entries.some(
    ({ address, length: bytes }) =>
      Math.floor((address - ARENA) / LINE) <= last &&
      first <= Math.floor((address - ARENA + bytes - 1) / LINE),
  );
}

function contains(entries: readonly SgEntry[], at: number, size: number): boolean {
  return entries.some((e) => e.address - ARENA <= at && at + size <= e.address - ARENA + e.length);
}

function pattern(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (seed + i * 7) & 0xff);
}

const LIVELY = { sets: 16, ways: 2, lineBytes: LINE, evictOneIn: 3, speculateOneIn: 2 };

describe.each<SystemOptions & { readonly name: string }>([
  { name: 'direct, not coherent', path: 'direct', cache: LIVELY },
  { name: 'through an IOMMU, not coherent', path: 'iommu', cache: LIVELY },
  { name: 'direct, coherent', path: 'direct', isCoherent: true, cache: LIVELY },
  { name: 'through an IOMMU, coherent', path: 'iommu', isCoherent: true, cache: LIVELY },
])('$name', (options) => {
  test('every program reads what flat memory would give', () => {
    const done = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 80, size: 'max' }), fc.nat(), (steps, seed) => {
        const system = makeSystem({ ...options, seed });
        const driver = new Driver(system);
        driver.run(steps);
        expect(system.dma.mappedBytes).toBe(0);
        for (const [kind, count] of driver.done) done.set(kind, (done.get(kind) ?? 0) + count);
      }),
      { numRuns: 100 },
    );
    for (const kind of ['store', 'load', 'map', 'device-read', 'device-write', 'sync', 'unmap']) {
      expect([kind, (done.get(kind) ?? 0) > 100]).toEqual([kind, true]);
    }
  });
});
