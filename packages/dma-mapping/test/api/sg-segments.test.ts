/** Which segments a scatter list has for the device, against an oracle made of the words of the kernel's documentation. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import type { DmaSegment, SgEntry } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, ARENA_BYTES, Machine, PAGE, pattern } from './fixture.ts';
import { type Engine, expectedSegments } from './sg-oracle.ts';

interface Piece {
  readonly page: number;
  readonly offset: number;
  readonly length: number;
}

function entryOf({ page, offset, length }: Piece): SgEntry {
  return { address: physAddr(ARENA + page * PAGE + offset), length };
}

const CONTENTS = pattern(ARENA_BYTES, 3);

/** Maps the list, looks at it from all sides, takes it back. @returns the segments, from the start of the range on */
function segmentsOf(pieces: readonly Piece[], engine: Engine): DmaSegment[] {
  const machine = new Machine();
  const { dma, device, read } = machine.add('rot', { granule: engine.granule });
  machine.memory.write(ARENA, CONTENTS);
  dma.setParameters({
    maxSegmentBytes: engine.maxSegmentBytes,
    segmentBoundaryMask: engine.boundary - 1,
  });
  const entries = pieces.map(entryOf);
  const segments = dma.mapSg(entries, 'to-device');
  const seen = segments.map(({ address, length }) => read(address, length) ?? new Uint8Array());
  const expected = entries.map(({ address, length }) =>
    CONTENTS.subarray(address - ARENA, address - ARENA + length),
  );
  if (!Buffer.concat(seen).equals(Buffer.concat(expected))) throw new Error('other bytes');
  const [first] = segments as [DmaSegment];
  const start = first.address - (first.address % engine.granule);
  dma.unmapSg(segments, 'to-device');
  expect(segments.map(({ address }) => read(address, 1))).toEqual(segments.map(() => undefined));
  expect([dma.mappedBytes, machine.layer.iovaReport(device)?.allocatedBytes]).toEqual([0, 0]);
  return segments.map(({ address, length }) => ({ address: address - start, length })) as DmaSegment[];
}

const piece = fc.record({
  page: fc.nat({ max: 90 }),
  offset: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat({ max: PAGE - 1 })),
  pages: fc.nat({ max: 3 }),
  tail: fc.oneof({ weight: 3, arbitrary: fc.constant(PAGE) }, fc.integer({ min: 1, max: PAGE })),
});
const engine = fc.record({
  granule: fc.constantFrom(PAGE, 4 * PAGE),
  boundary: fc.constantFrom(8 * PAGE, 16 * PAGE, 2 ** 32),
  maxSegmentBytes: fc.oneof(
    fc.constantFrom(2 * PAGE, 8 * PAGE, 16 * PAGE, 2 ** 31),
    fc.integer({ min: 1, max: 16 * PAGE }),
  ),
});

/** An entry of the generator: up to 4 pages from its offset on, ending on a page more often than not. */
function pieceOf({
  page,
  offset,
  pages,
  tail,
}: {
  page: number;
  offset: number;
  pages: number;
  tail: number;
}): Piece {
  return { page, offset, length: Math.max(1, pages * PAGE + tail - offset) };
}

test('any list, any engine: the segments of the oracle, the bytes of the entries, nothing left', () => {
  const met = { merged: 0, padded: 0 };
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 24 }), engine, (list, parameters) => {
      const pieces = list.map(pieceOf);
      const segments = segmentsOf(pieces, parameters);
      expect(segments).toEqual(expectedSegments(pieces.map(entryOf), parameters));
      // What the oracle could have wrong too: the two limits themselves.
      const longest = Math.max(...pieces.map(({ length }) => length), parameters.maxSegmentBytes);
      const { boundary } = parameters;
      const isWithin = segments.every(
        ({ address, length }) =>
          length <= longest &&
          Math.floor(address / boundary) === Math.floor((address + length - 1) / boundary),
      );
      expect(isWithin).toBe(true);
      if (segments.length < pieces.length) met.merged++;
      const whole = expectedSegments(pieces.map(entryOf), { ...parameters, boundary: 2 ** 40 });
      if ((whole.at(-1)?.address ?? 0) < (segments.at(-1)?.address ?? 0)) met.padded++;
    }),
    { numRuns: 200 },
  );
  expect(met.merged).toBeGreaterThan(40);
  expect(met.padded).toBeGreaterThan(10);
});

describe('one rule each', () => {
  const at = (page: number, offset: number, length: number): Piece => ({ page, offset, length });
  const wide: Engine = { granule: PAGE, boundary: 2 ** 32, maxSegmentBytes: 65536 };
  const segment = (address: number, length: number): unknown => ({ address, length });

  test('the sum may be as long as a segment may be, and no byte longer', () => {
    const list = [at(1, 0, PAGE), at(7, 0, PAGE)];
    expect(segmentsOf(list, { ...wide, maxSegmentBytes: 2 * PAGE })).toEqual([segment(0, 2 * PAGE)]);
    expect(segmentsOf(list, { ...wide, maxSegmentBytes: 2 * PAGE - 1 })).toEqual([
      segment(0, PAGE),
      segment(PAGE, PAGE),
    ]);
  });

  test('an entry longer than a segment may be is not split', () => {
    expect(segmentsOf([at(1, 0, 3 * PAGE)], { ...wide, maxSegmentBytes: PAGE })).toEqual([
      segment(0, 3 * PAGE),
    ]);
  });

  test('a boundary that an entry would cross leaves a hole, which the device cannot reach', () => {
    const engine4 = { ...wide, boundary: 4 * PAGE };
    expect(segmentsOf([at(1, 0, 3 * PAGE), at(7, 0, 2 * PAGE)], engine4)).toEqual([
      segment(0, 3 * PAGE),
      segment(4 * PAGE, 2 * PAGE),
    ]);
    const machine = new Machine();
    const { dma, read } = machine.add('rot');
    dma.setParameters({ segmentBoundaryMask: 4 * PAGE - 1 });
    const [first] = dma.mapSg([at(1, 0, 3 * PAGE), at(7, 0, 2 * PAGE)].map(entryOf), 'to-device') as [
      DmaSegment,
    ];
    expect(read(first.address + 3 * PAGE - 1, 1)).toBeDefined();
    expect(read(first.address + 3 * PAGE, 1)).toBeUndefined();
  });

  test('whichever step fails, also behind the hole, the list is not mapped and its space is free', () => {
    const entries = [at(1, 0, PAGE), at(5, 0, 2 * PAGE), at(9, 0, 2 * PAGE)].map(entryOf);
    let steps = 0;
    for (let code = ''; code !== 'done'; steps++) {
      const machine = new Machine();
      const { dma, device } = machine.add('rot');
      dma.setParameters({ segmentBoundaryMask: 4 * PAGE - 1 });
      machine.world.failpoints.failNth(steps + 1, 'flat-iommu.table');
      code = codeOf(() => dma.mapSg(entries, 'to-device'));
      if (code === 'done') break;
      expect([code, machine.iommu.domainOf(device)?.mappings()]).toEqual(['ENOMEM', []]);
      expect(machine.layer.iovaReport(device)?.allocatedBytes).toBe(0);
    }
    expect(steps).toBe(3);
  });

  test('a new segment starts on a boundary, also without a hole', () => {
    const list = [at(1, 0, 4 * PAGE), at(7, 0, PAGE), at(9, 0, PAGE)];
    expect(segmentsOf(list, { ...wide, boundary: 4 * PAGE })).toEqual([
      segment(0, 4 * PAGE),
      segment(4 * PAGE, 2 * PAGE),
    ]);
  });

  // Fails: a whole boundary is skipped there. iommu_dma_map_sg pads by (mask - iova_len + 1) & mask, which is 0 on a boundary.
  test('an entry longer than the boundary that starts on it gets no hole before it', () => {
    const list = [at(1, 0, 4 * PAGE), at(7, 0, 8 * PAGE)];
    expect(segmentsOf(list, { ...wide, boundary: 4 * PAGE })).toEqual([
      segment(0, 4 * PAGE),
      segment(4 * PAGE, 8 * PAGE),
    ]);
  });

  // Fails with EINVAL of the domain: the hole is half a granule. In the kernel the padding is 0 there.
  test('a boundary below the granule is no reason to fail: each entry starts on one', () => {
    const list = [at(1, 0, PAGE), at(7, 0, PAGE)];
    expect(segmentsOf(list, { ...wide, boundary: 2048 })).toEqual([segment(0, PAGE), segment(PAGE, PAGE)]);
  });
});

test('directly, entries are never merged, whatever the engine would take', () => {
  const { dma } = new Machine().add('rot', { behind: 'direct' });
  const list = [0, 1, 2].map((page) => entryOf({ page, offset: 0, length: PAGE }));
  expect(dma.mapSg(list, 'to-device')).toEqual(list);
});
