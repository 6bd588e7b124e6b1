/** Random drivers, CPUs and devices against a naive model that knows of every byte whose it is. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { DmaErrorKind } from '../../src/debug/dma-debug.ts';
import type { DmaDirection } from '../../src/dma-ops.ts';
import type { Iova } from '@iommu-lab/machine';
import { at, BUFFER, LINE, makeScene, type Scene } from './support/scene.ts';

const SEED = Number(process.env['FC_SEED'] ?? 2010);
const RUNS = Number(process.env['FC_RUNS'] ?? 300);

/** Where mappings may lie: in cache lines of their own, some with a neighbour in the last of them. */
const SLOTS = [
  { start: 0, length: 64 },
  { start: 64, length: 40 },
  { start: 128, length: 100 },
] as const;
const SPACE = 256;

interface Byte {
  readonly slot: number;
  readonly direction: DmaDirection;
  owner: 'cpu' | 'device';
  isStored: boolean;
}

/** The naive model: one entry a byte. */
class Model {
  readonly bytes: (Byte | undefined)[] = Array.from({ length: SPACE }, () => undefined);
  readonly #wasMapped = new Set<number>();

  map(slot: number, direction: DmaDirection): void {
    for (const i of slotBytes(slot)) this.bytes[i] = { slot, direction, owner: 'device', isStored: false };
  }

  unmap(slot: number): Set<DmaErrorKind> {
    const found = this.lose(slotBytes(slot));
    for (const i of slotBytes(slot)) {
      this.bytes[i] = undefined;
      this.#wasMapped.add(i);
    }
    return found;
  }

  toCpu(places: readonly number[]): Set<DmaErrorKind> {
    const found = this.lose(places);
    for (const i of places) (this.bytes[i] as Byte).owner = 'cpu';
    return found;
  }

  toDevice(places: readonly number[]): void {
    for (const i of places) Object.assign(this.bytes[i] as Byte, { owner: 'device', isStored: false });
  }

  store(start: number, end: number): Set<DmaErrorKind> {
    const found = new Set<DmaErrorKind>();
    const hit = new Set<number>();
    for (let i = start; i < end; i++) {
      const byte = this.bytes[i];
      if (byte === undefined) continue;
      hit.add(byte.slot);
      if (byte.owner === 'device') found.add('cpu-store-while-device-owns');
      else byte.isStored = true;
    }
    const isInWritten = this.#isWithinOneWritten(start, end);
    for (let i = start - (start % LINE); i < Math.ceil(end / LINE) * LINE; i++) {
      const byte = this.bytes[i];
      if (byte === undefined || hit.has(byte.slot) || isInWritten) continue;
      if (byte.direction !== 'to-device' && byte.owner === 'device') found.add('neighbour-in-line');
    }
    return found;
  }

  load(start: number, end: number): Set<DmaErrorKind> {
    const foreign = this.bytes
      .slice(start, end)
      .some((byte) => byte?.owner === 'device' && byte.direction !== 'to-device');
    return new Set<DmaErrorKind>(foreign ? ['cpu-load-while-device-owns'] : []);
  }

  access(start: number, end: number, isWrite: boolean): Set<DmaErrorKind> {
    const found = new Set<DmaErrorKind>();
    for (let i = start; i < end; i++) {
      const byte = this.bytes[i];
      const before = i > start ? this.bytes[i - 1] : undefined;
      const isFirst = i === start || before !== undefined;
      if (byte === undefined) {
        if (!isFirst) continue;
        if (before !== undefined) found.add('device-access-out-of-mapping');
        else found.add(this.#wasMapped.has(i) ? 'device-use-after-unmap' : 'device-access-never-mapped');
        continue;
      }
      if (isWrite && byte.direction === 'to-device') found.add('device-wrote-to-device-only');
      else if (!isWrite && byte.direction === 'from-device') found.add('device-read-of-from-device');
      else if (byte.isStored) found.add('missing-sync-for-device');
      byte.isStored = false;
      if (isWrite && byte.direction !== 'to-device') byte.owner = 'device';
    }
    return found;
  }

  lose(places: readonly number[]): Set<DmaErrorKind> {
    const found = new Set<DmaErrorKind>();
    for (const i of places) {
      const byte = this.bytes[i] as Byte;
      if (byte.direction === 'to-device' || !byte.isStored) continue;
      byte.isStored = false;
      found.add('missing-sync-for-device');
    }
    return found;
  }

  #isWithinOneWritten(start: number, end: number): boolean {
    const slots = new Set(
      this.bytes.slice(start, end).map((b) => (b?.direction === 'to-device' ? -1 : b?.slot)),
    );
    const [slot] = slots;
    return slots.size === 1 && slot !== undefined && slot >= 0;
  }
}

function slotBytes(slot: number): readonly number[] {
  const { start, length } = SLOTS[slot] as (typeof SLOTS)[number];
  return Array.from({ length }, (_, i) => start + i);
}

const step = fc.record({
  kind: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom('map', 'toCpu', 'store') },
    { weight: 4, arbitrary: fc.constantFrom('unmap', 'toDevice', 'load', 'read', 'write') },
  ),
  /** Syncs take all of the slot; accesses lie in the slot. */
  isAimed: fc.boolean(),
  slot: fc.nat(SLOTS.length - 1),
  direction: fc.constantFrom<DmaDirection>('to-device', 'from-device', 'bidirectional'),
  start: fc.nat(SPACE - 2),
  length: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 120 })),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function run(scene: Scene, model: Model, mapped: Map<number, Iova>, s: Step): Set<DmaErrorKind> {
  const none = new Set<DmaErrorKind>();
  const { dma } = scene;
  const slot = SLOTS[s.slot] as (typeof SLOTS)[number];
  const there = mapped.get(s.slot);
  const direction = model.bytes[slot.start]?.direction ?? s.direction;
  const isSync = s.kind === 'toCpu' || s.kind === 'toDevice';
  const from = s.isAimed && isSync ? 0 : s.start % slot.length;
  const size = s.isAimed && isSync ? slot.length : Math.min(s.length, slot.length - from);
  const start = s.isAimed ? slot.start + from : s.start;
  const end = s.isAimed ? start + size : Math.min(s.start + s.length, SPACE);
  const part = Array.from({ length: size }, (_, i) => slot.start + from + i);
  switch (s.kind) {
    case 'map':
      if (there !== undefined) return none;
      mapped.set(s.slot, dma.mapSingle(at(BUFFER, slot.start), slot.length, direction));
      model.map(s.slot, direction);
      return none;
    case 'unmap':
      if (there === undefined) return none;
      mapped.delete(s.slot);
      dma.unmapSingle(there, slot.length, direction);
      return model.unmap(s.slot);
    case 'toCpu':
      if (there === undefined) return none;
      dma.syncSingleForCpu(at(there, from), size, direction);
      return model.toCpu(part);
    case 'toDevice':
      if (there === undefined) return none;
      dma.syncSingleForDevice(at(there, from), size, direction);
      model.toDevice(part);
      return none;
    case 'store':
      scene.store(BUFFER + start, end - start);
      return model.store(start, end);
    case 'load':
      scene.load(BUFFER + start, end - start);
      return model.load(start, end);
    case 'read':
      scene.read(BUFFER + start, end - start);
      return model.access(start, end, false);
    case 'write':
      scene.write(BUFFER + start, end - start);
      return model.access(start, end, true);
  }
}

test('every load, store and access is judged as the bytes say', () => {
  const seen: Record<string, number> = {};
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
      const scene = makeScene({ path: 'direct' });
      const model = new Model();
      const mapped = new Map<number, Iova>();
      for (const s of steps) {
        scene.debug.clear();
        const expected = run(scene, model, mapped, s);
        const found = new Set(scene.debug.reports.map(({ kind }) => kind));
        expect({ step: s, found }).toEqual({ step: s, found: expected });
        for (const kind of expected) seen[kind] = (seen[kind] ?? 0) + 1;
      }
    }),
    { seed: SEED, numRuns: RUNS },
  );
  if (process.env['FC_RUNS'] !== undefined) console.info('ownership', { SEED, RUNS, seen });
  // A property that provokes nothing proves nothing.
  expect(Object.values(seen).filter((times) => times >= 10)).toHaveLength(9);
});
