/**
 * Drivers that call at random, half of the time wrongly, over the DMA layer itself, which refuses what does not fit: with the
 * checker between them no call is refused, the two records stay the same, and right calls alone are silent.
 */
import { describe, expect, test } from '@jest/globals';
import type { Iova } from '@iommu-lab/machine';
import fc from 'fast-check';
import type { CoherentBuffer, DmaDirection, DmaSegment } from '../../src/dma-ops.ts';
import { makeRealScene, type RealPath, type RealScene } from './support/real-scene.ts';
import { at, BUFFER, SECOND } from './support/scene.ts';

const SEED = Number(process.env['FC_SEED'] ?? 2010);
const RUNS = Number(process.env['FC_RUNS'] ?? 60);

interface Held {
  readonly type: 'single' | 'sg' | 'coherent';
  /** Undefined: memory of its own. */
  readonly place?: number;
  readonly direction: DmaDirection;
  readonly sizeBytes: number;
  readonly segments: readonly DmaSegment[];
  readonly buffer?: CoherentBuffer;
}

const directions = fc.constantFrom<DmaDirection>('to-device', 'from-device', 'bidirectional');
const step = fc.record({
  kind: fc.constantFrom('single', 'sg', 'coherent', 'unmap', 'unmap', 'sync'),
  place: fc.nat(5),
  which: fc.nat(20),
  direction: directions,
  sizeBytes: fc.integer({ min: 1, max: 300 }),
  /** What is wrong with it; 0: nothing. */
  mistake: fc.oneof(
    { weight: 2, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 5 }) },
  ),
  offset: fc.integer({ min: 1, max: 299 }),
  forCpu: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** @returns whether the call was wrong */
function run({ dma }: RealScene, held: Held[], s: Step): boolean {
  const place = at(BUFFER, s.place * 512);
  const { direction, sizeBytes } = s;
  if (s.kind === 'single' || s.kind === 'sg' || s.kind === 'coherent') {
    // Cache lines of its own: overlaps are not what this is about.
    const isTaken = held.some((mapping) => mapping.place === s.place);
    if (s.kind === 'coherent') {
      const buffer = dma.allocCoherent(sizeBytes);
      const segments = [{ address: buffer.dmaAddress, length: sizeBytes }];
      held.push({ type: 'coherent', direction: 'bidirectional', sizeBytes, segments, buffer });
    } else if (!isTaken && s.kind === 'single') {
      const address = dma.mapSingle(place, sizeBytes, direction);
      held.push({
        type: 'single',
        place: s.place,
        direction,
        sizeBytes,
        segments: [{ address, length: sizeBytes }],
      });
    } else if (!isTaken) {
      const entries = [
        { address: place, length: sizeBytes },
        { address: at(SECOND, s.place * 512), length: 64 },
      ];
      const segments = dma.mapSg(entries, direction);
      held.push({ type: 'sg', place: s.place, direction, sizeBytes: sizeBytes + 64, segments });
    }
    return false;
  }
  const index = s.which % Math.max(held.length, 1);
  const mapping = held[index];
  if (mapping === undefined) return false;
  if (s.kind === 'sync') return sync(dma, mapping, s);
  held.splice(index, 1);
  return unmap(dma, mapping, s);
}

function sync(dma: RealScene['dma'], mapping: Held, s: Step): boolean {
  const { direction, sizeBytes, segments, type } = mapping;
  const [first] = segments as readonly [DmaSegment];
  const call = (address: Iova, bytes: number, d: DmaDirection): void =>
    s.forCpu ? dma.syncSingleForCpu(address, bytes, d) : dma.syncSingleForDevice(address, bytes, d);
  if (type === 'coherent') {
    call(first.address, 4, direction);
    return true;
  }
  if (type === 'sg' && s.mistake === 0) {
    if (s.forCpu) dma.syncSgForCpu(segments, direction);
    else dma.syncSgForDevice(segments, direction);
    return false;
  }
  if (s.mistake === 1) call(first.address, sizeBytes + s.offset, direction);
  else if (s.mistake === 2) call(at(first.address, 0x10_0000), sizeBytes, direction);
  else if (s.mistake === 3) {
    call(first.address, first.length, s.direction);
    return direction !== 'bidirectional' && direction !== s.direction;
  } else {
    call(first.address, first.length, direction);
    return false;
  }
  return true;
}

function unmap(dma: RealScene['dma'], mapping: Held, s: Step): boolean {
  const { type, direction, sizeBytes, segments, buffer } = mapping;
  const [first] = segments as readonly [DmaSegment];
  if (s.mistake === 1) {
    dma.unmapSingle(first.address, sizeBytes + s.offset, direction);
    return true;
  }
  if (s.mistake === 2) {
    if (type === 'sg') dma.unmapSg(segments, s.direction);
    else dma.unmapPage(first.address, sizeBytes, s.direction);
    return type === 'coherent' || s.direction !== direction;
  }
  if (s.mistake === 3) {
    dma.unmapSg(segments.slice(0, 1), direction);
    return type !== 'sg' || segments.length > 1;
  }
  if (s.mistake === 4) {
    dma.unmapResource(first.address, sizeBytes, direction);
    return true;
  }
  const times = s.mistake === 5 ? 2 : 1;
  for (let i = 0; i < times; i++) {
    if (type === 'single') dma.unmapSingle(first.address, sizeBytes, direction);
    else if (type === 'sg') dma.unmapSg(segments, direction);
    else dma.freeCoherent(buffer as CoherentBuffer);
  }
  return times === 2;
}

describe.each<RealPath>(['direct', 'bounce', 'strict', 'lazy'])('%s', (path) => {
  test('no wrong call gets through, and no right one is called wrong', () => {
    let wrong = 0;
    let right = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
        const scene = makeRealScene(path);
        const held: Held[] = [];
        for (const s of steps) {
          scene.debug.clear();
          const isWrong = run(scene, held, s);
          expect({ s, isReported: scene.debug.reports.length > 0 }).toEqual({ s, isReported: isWrong });
          if (isWrong) wrong++;
          else right++;
          const bytes = scene.debug.liveMappings().reduce((sum, mapping) => sum + mapping.sizeBytes, 0);
          expect(scene.dma.mappedBytes).toBe(bytes);
          expect(bytes).toBe(held.reduce((sum, mapping) => sum + mapping.sizeBytes, 0));
        }
      }),
      { seed: SEED, numRuns: RUNS },
    );
    expect(Math.min(wrong, right)).toBeGreaterThan(100);
  });
});
