/** Where slots lie: hand-worked examples. */
import { describe, expect, test } from '@jest/globals';
import { codeOf } from '../support/code-of.ts';
import { BUFFERS, FRAMES, KIB, makeRig, MIB, request } from './rig.ts';

/** The distance of slots from the start of the pool, in KiB. */
const kibOf = ({ address }: { address: number }): number => (address - FRAMES) / KIB;

describe('size', () => {
  test('a pool has 1 MiB of slots of 2 KiB unless told', () => {
    expect(makeRig().pool.occupancy).toMatchObject({ bytes: MIB, slots: 512, usedSlots: 0, pools: 1 });
  });

  test.each([
    [1, 1, 256 * KIB],
    [256 * KIB + 1, 1, 512 * KIB],
    [256 * KIB, 3, MIB],
    [MIB + 1, 4, 2 * MIB],
  ])('%d bytes for %d CPUs are %d: whole segments in each area', (sizeBytes, cpus, bytes) => {
    expect(makeRig({ sizeBytes, cpus }).pool.occupancy.bytes).toBe(bytes);
  });

  test.each([
    [1, 1],
    [2048, 1],
    [2049, 2],
    [256 * KIB, 128],
  ])('%d bytes take %d slots', (sizeBytes, usedSlots) => {
    const { pool } = makeRig();
    pool.map(request({ sizeBytes }));
    expect(pool.occupancy.usedSlots).toBe(usedSlots);
  });

  test('the highest number of slots used is remembered', () => {
    const { pool } = makeRig();
    pool.release(pool.map(request({ sizeBytes: 20 * KIB })));
    pool.map(request());
    expect(pool.occupancy).toMatchObject({ usedSlots: 1, highestUsedSlots: 10, mappings: 1, mapped: 2 });
  });

  test('more than 256 KiB are refused', () => {
    const { pool } = makeRig();
    expect(pool.maxMappingSize(0)).toBe(256 * KIB);
    expect(codeOf(() => pool.map(request({ sizeBytes: 256 * KIB + 1 })))).toBe('EINVAL');
    expect(pool.occupancy.usedSlots).toBe(0);
  });

  test.each([0, -1, 1.5, Number.NaN])('a size of %d is refused', (sizeBytes) => {
    expect(codeOf(() => makeRig().pool.map(request({ sizeBytes })))).toBe('EINVAL');
  });

  test.each(['allocAlignMask', 'minAlignMask', 'segmentBoundaryMask'])('%s is 2^n - 1', (mask) => {
    const { pool } = makeRig();
    for (const wrong of [4096, -1, 1.5, Number.NaN, 2 ** 40, 2 ** 54]) {
      expect(codeOf(() => pool.map(request({ [mask]: wrong })))).toBe('EINVAL');
    }
    for (const right of mask === 'segmentBoundaryMask'
      ? [2 ** 40 - 1, Number.MAX_SAFE_INTEGER]
      : [0, 1, 2047]) {
      expect(codeOf(() => pool.map(request({ [mask]: right })))).toBe('done');
    }
  });
});

describe('alignment', () => {
  test('less than a page goes to any slot, a page or more to a page', () => {
    const { pool } = makeRig();
    const places = [2048, 4095, 2048, 4096, 2048, 8192].map((sizeBytes) =>
      kibOf(pool.map(request({ sizeBytes }))),
    );
    expect(places).toEqual([0, 2, 6, 8, 12, 16]);
  });

  test('with another requirement pages are not page-aligned', () => {
    const { pool } = makeRig();
    pool.map(request());
    expect(kibOf(pool.map(request({ sizeBytes: 4096, minAlignMask: 511 })))).toBe(2);
  });

  test('an aligned slot owns all up to the next multiple', () => {
    const { pool } = makeRig();
    const sizes = [100, 8193, 16384];
    expect(sizes.map((sizeBytes) => kibOf(pool.map(request({ sizeBytes, allocAlignMask: 8191 }))))).toEqual([
      0, 8, 24,
    ]);
    expect(pool.occupancy.usedSlots).toBe(4 + 8 + 8);
  });

  test('the low bits are kept: in the slot, by the choice of the slot', () => {
    const { pool } = makeRig();
    const original = BUFFERS + 5 * KIB + 7;
    expect(pool.map(request({ original, minAlignMask: 3 })).address).toBe(FRAMES + 3);
    expect(pool.map(request({ original, minAlignMask: 2047 })).address).toBe(FRAMES + 3 * KIB + 7);
    expect(pool.map(request({ original, minAlignMask: 4095 })).address).toBe(FRAMES + 5 * KIB + 7);
    expect(pool.map(request({ original, minAlignMask: 8191 })).address).toBe(FRAMES + 13 * KIB + 7);
    expect(pool.occupancy.usedSlots).toBe(4);
  });

  test('low bits above a slot and below the alignment cost slots of padding', () => {
    const { pool } = makeRig();
    const original = BUFFERS + 0x1834;
    const masks = { allocAlignMask: 0x1fff, minAlignMask: 0x1fff };
    const slot = pool.map(request({ original, sizeBytes: 0x700, ...masks }));
    expect(slot.address).toBe(FRAMES + 0x1834);
    expect(pool.occupancy.usedSlots).toBe(4);
    const next = pool.map(request({ original, sizeBytes: 0x800, ...masks }));
    expect(next.address).toBe(FRAMES + 0x3834);
    expect(pool.occupancy.usedSlots).toBe(12);
    for (const at of [FRAMES, FRAMES + 0x1fff]) expect(pool.slotAt(at)).toBe(slot);
    for (const at of [FRAMES + 0x2000, FRAMES + 0x5fff]) expect(pool.slotAt(at)).toBe(next);
    expect(pool.slotAt(FRAMES + 0x6000)).toBeUndefined();
    pool.release(slot);
    pool.release(next);
    expect(pool.occupancy.usedSlots).toBe(0);
  });
});

test('masks above 32 bits', () => {
  const { pool } = makeRig();
  expect(codeOf(() => pool.map(request({ allocAlignMask: 2 ** 32 - 1 })))).toBe('EINVAL');
  expect(codeOf(() => pool.map(request({ minAlignMask: 2 ** 32 - 1 })))).toBe('ENOMEM');
});

describe('segments and boundaries', () => {
  test('a buffer that with the bits it keeps is longer than a segment is refused', () => {
    const { pool } = makeRig();
    const original = BUFFERS + 3 * KIB;
    const sizeBytes = 253 * KIB;
    expect(codeOf(() => pool.map(request({ original, sizeBytes, minAlignMask: 4095 })))).toBe('done');
    const longer = sizeBytes + 1;
    expect(codeOf(() => pool.map(request({ original, sizeBytes: longer, minAlignMask: 4095 })))).toBe(
      'EINVAL',
    );
    const masks = { allocAlignMask: 4095, minAlignMask: 4095 };
    expect(codeOf(() => pool.map(request({ original, sizeBytes, ...masks })))).toBe('done');
    expect(codeOf(() => pool.map(request({ original, sizeBytes: longer, ...masks })))).toBe('EINVAL');
  });

  test('no slot crosses a segment of 256 KiB', () => {
    const { pool } = makeRig();
    expect(kibOf(pool.map(request({ sizeBytes: 200 * KIB })))).toBe(0);
    expect(kibOf(pool.map(request({ sizeBytes: 60 * KIB })))).toBe(256);
    expect(kibOf(pool.map(request({ sizeBytes: 200 * KIB })))).toBe(512);
  });

  test('a buffer crosses no multiple of the boundary', () => {
    const { pool } = makeRig();
    pool.map(request({ sizeBytes: 6 * KIB }));
    expect(kibOf(pool.map(request({ sizeBytes: 3 * KIB, segmentBoundaryMask: 8191 })))).toBe(8);
    expect(kibOf(pool.map(request({ sizeBytes: 3 * KIB, segmentBoundaryMask: 8191 })))).toBe(12);
    expect(kibOf(pool.map(request({ sizeBytes: 8 * KIB, segmentBoundaryMask: 8191 })))).toBe(16);
  });

  test('what would cross a boundary wherever it lay is refused', () => {
    const { pool } = makeRig();
    expect(codeOf(() => pool.map(request({ sizeBytes: 8193, segmentBoundaryMask: 8191 })))).toBe('EINVAL');
    const bits = { original: BUFFERS + 500, sizeBytes: 13, segmentBoundaryMask: 511 };
    expect(codeOf(() => pool.map(request({ ...bits, minAlignMask: 2047 })))).toBe('EINVAL');
    expect(codeOf(() => pool.map(request({ ...bits, minAlignMask: 2047, sizeBytes: 12 })))).toBe('done');
    expect(codeOf(() => pool.map(request({ ...bits, minAlignMask: 255 })))).toBe('done');
  });
});

describe('reach', () => {
  test('a slot ends at or below the limit', () => {
    const { pool } = makeRig();
    const limit = FRAMES + 4 * KIB + 99;
    expect(kibOf(pool.map(request({ sizeBytes: 100, limit })))).toBe(0);
    expect(kibOf(pool.map(request({ sizeBytes: 101, limit })))).toBe(2);
    expect(kibOf(pool.map(request({ sizeBytes: 100, limit })))).toBe(4);
    expect(codeOf(() => pool.map(request({ sizeBytes: 1, limit })))).toBe('ENOMEM');
    expect(kibOf(pool.map(request()))).toBe(6);
  });

  test('a limit counts up to the last byte', () => {
    const { pool } = makeRig();
    expect(codeOf(() => pool.map(request({ sizeBytes: 100, limit: FRAMES + 98 })))).toBe('ENOMEM');
    expect(codeOf(() => pool.map(request({ sizeBytes: 100, limit: FRAMES + 99 })))).toBe('done');
    expect(codeOf(() => pool.map(request({ limit: -1 })))).toBe('ENOMEM');
    // Also behind an offset into the slot.
    const kept = { original: BUFFERS + 1000, sizeBytes: 100, minAlignMask: 2047 };
    expect(codeOf(() => pool.map(request({ ...kept, limit: FRAMES + 2048 + 1098 })))).toBe('ENOMEM');
    expect(pool.map(request({ ...kept, limit: FRAMES + 2048 + 1099 })).address).toBe(FRAMES + 2048 + 1000);
  });
});

describe('order', () => {
  test('a search goes on where the last one ended, and comes round', () => {
    const { pool } = makeRig({ sizeBytes: 256 * KIB });
    const slots = Array.from({ length: 128 }, () => pool.map(request()));
    expect(slots.map(kibOf)).toEqual(Array.from({ length: 128 }, (_, i) => 2 * i));
    const [third, tenth] = [slots[3], slots[10]];
    if (third === undefined || tenth === undefined) throw new Error('128 of them');
    pool.release(tenth);
    pool.release(third);
    expect(kibOf(pool.map(request()))).toBe(6);
    pool.release(pool.slotAt(FRAMES + 6 * KIB) as typeof third);
    expect(kibOf(pool.map(request()))).toBe(20);
  });

  test('each CPU has an area, and takes of the others when it is full', () => {
    const { world, pool } = makeRig({ cpus: 4 });
    const take = (cpu: number, sizeBytes: number): number => {
      world.currentCpu = cpu;
      return kibOf(pool.map(request({ sizeBytes })));
    };
    expect([0, 1, 2, 3].map((cpu) => take(cpu, 2048))).toEqual([0, 256, 512, 768]);
    expect(take(6, 2048)).toBe(514);
    expect(take(2, 252 * KIB)).toBe(516);
    expect(take(2, 4096)).toBe(772);
    expect(take(3, 4096)).toBe(776);
  });
});

test('everything released: the pool is as it was, and the largest mapping fits again, everywhere', () => {
  const { pool } = makeRig();
  for (const first of [0, 1]) {
    const slots = Array.from({ length: 256 }, (_, i) =>
      pool.map(request({ sizeBytes: 1 + ((i * 997) % 4096) })),
    );
    expect(pool.occupancy.mappings).toBe(256);
    for (let i = 0; i < 256; i++) {
      const slot = slots[(i * 37 + first) % 256];
      if (slot !== undefined) pool.release(slot);
    }
    expect(pool.occupancy).toMatchObject({ usedSlots: 0, mappings: 0, slots: 512 });
    const largest = [1, 2, 3, 4].map(() => pool.map(request({ sizeBytes: 256 * KIB })));
    expect(largest.map(kibOf).sort((a, b) => a - b)).toEqual([0, 256, 512, 768]);
    for (const slot of largest) pool.release(slot);
  }
  expect(pool.occupancy.highestUsedSlots).toBe(512);
});
