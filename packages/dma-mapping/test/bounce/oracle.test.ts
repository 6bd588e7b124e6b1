/** Random requests, and the pool against a naive oracle. Seeds are printed on failure. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { codeOf } from '../support/code-of.ts';
import { type MapStep, type OtherStep, POOL_BYTES, Run } from './oracle.ts';
import { BUFFER_BYTES, BUFFERS, FRAMES, KIB, makeRig, request } from './rig.ts';

const SLOT_BYTES = 2048;
const MASK = fc.constantFrom(0, 0, 0, 511, 2047, 4095, 8191, 65535);
const SIZE = fc.oneof(
  fc.integer({ min: 1, max: 2 * SLOT_BYTES }),
  fc.integer({ min: 1, max: 20 * SLOT_BYTES }),
  fc.constantFrom(1, SLOT_BYTES, SLOT_BYTES + 1, 4096, 4097, 8192, 128 * SLOT_BYTES),
);
const MAP: fc.Arbitrary<MapStep> = fc.record({
  kind: fc.constant('map' as const),
  original: fc.integer({ min: 0, max: BUFFER_BYTES - 128 * SLOT_BYTES }),
  sizeBytes: SIZE,
  allocAlignMask: MASK,
  minAlignMask: MASK,
  segmentBoundaryMask: fc.constantFrom(0xffffffff, 0xffffffff, 65535, 16383, 4095),
  limit: fc.oneof(
    fc.constant(Number.MAX_SAFE_INTEGER),
    fc.integer({ min: FRAMES, max: FRAMES + POOL_BYTES }),
  ),
  isUntrusted: fc.boolean(),
  cpu: fc.nat(5),
});
const OTHER: fc.Arbitrary<OtherStep> = fc.record({
  kind: fc.constantFrom<OtherStep['kind'][]>('release', 'release', 'device', 'in', 'out'),
  which: fc.nat(),
  from: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
  value: fc.nat(255),
});

test('slots never overlap, the rules hold, and a request fails only when no place is left', () => {
  let mapped = 0;
  let refused = 0;
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ arbitrary: MAP, weight: 3 }, { arbitrary: OTHER, weight: 2 }), {
        minLength: 40,
        maxLength: 160,
        size: 'max',
      }),
      (steps) => {
        const run = new Run();
        for (const step of steps) {
          if (step.kind === 'map') run.map(step);
          else run.other(step);
        }
        mapped += run.rig.pool.occupancy.mapped;
        refused += run.rig.pool.occupancy.refused;
        run.check();
        run.finish();
      },
    ),
    { numRuns: 40 },
  );
  // The runs see both; about 1500 and 250 of them.
  expect(mapped).toBeGreaterThan(500);
  expect(refused).toBeGreaterThan(50);
});

test('a buffer of maxMappingSize fits into the empty pool, whatever its address', () => {
  const mask = fc.constantFrom(0, 1, 511, 2047, 4095, 8191, 65535, 131071);
  fc.assert(
    fc.property(mask, mask, fc.nat(BUFFER_BYTES / 2), (minAlignMask, allocAlignMask, offset) => {
      const { pool } = makeRig({ sizeBytes: 256 * KIB });
      const sizeBytes = pool.maxMappingSize(minAlignMask, allocAlignMask);
      expect(sizeBytes).toBe(256 * KIB - 2048 * Math.ceil(minAlignMask / 2048));
      pool.map(request({ original: BUFFERS + offset, sizeBytes, minAlignMask, allocAlignMask }));
    }),
  );
});

test('no size is sure to fit when an alignment is larger than a segment', () => {
  const { pool } = makeRig();
  expect(pool.maxMappingSize(512 * KIB - 1)).toBe(0);
  expect(pool.maxMappingSize(0, 512 * KIB - 1)).toBe(0);
  expect(pool.maxMappingSize(0, 256 * KIB - 1)).toBe(256 * KIB);
  expect(codeOf(() => pool.map(request({ allocAlignMask: 512 * KIB - 1 })))).toBe('EINVAL');
  // In a large pool there is a place all the same, here for the buffer's bits.
  const slot = pool.map(request({ original: BUFFERS + 300 * KIB, minAlignMask: 512 * KIB - 1 }));
  expect(slot.address).toBe(FRAMES + 300 * KIB);
});
