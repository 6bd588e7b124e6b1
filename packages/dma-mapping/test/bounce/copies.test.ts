/** What is in a slot, and what comes back. */
import { describe, expect, test } from '@jest/globals';
import { CpuCache, LabError, type PhysAddr, World } from '@iommu-lab/machine';
import { BouncePool } from '../../src/bounce/bounce-pool.ts';
import { codeOf } from '../support/code-of.ts';
import { BUFFERS, FRAMES, KIB, makeRig, pattern, request } from './rig.ts';

describe('contents', () => {
  test.each(['to-device', 'from-device', 'bidirectional'])(
    '%s: all of the buffer is copied in',
    (direction) => {
      const { pool, read, write } = makeRig();
      write(BUFFERS + 5, pattern(10_000, 1));
      const slot = pool.map(request({ original: BUFFERS + 5, sizeBytes: 10_000, direction }));
      expect(read(slot.address, 10_000)).toEqual(pattern(10_000, 1));
      expect(pool.occupancy.copiedBytes).toBe(10_000);
    },
  );

  test('what the device does not write comes back as it was', () => {
    const { pool, read, write } = makeRig();
    write(BUFFERS, [1, 2, 3, 4]);
    const slot = pool.map(request({ sizeBytes: 4 }));
    write(slot.address + 1, [9]);
    pool.copyOut(slot, 0, 4);
    expect(read(BUFFERS, 4)).toEqual([1, 9, 3, 4]);
  });

  test('nothing beside the buffer is copied, and release copies nothing', () => {
    const { pool, read, write } = makeRig();
    write(BUFFERS, [1, 2, 3, 4, 5, 6]);
    const slot = pool.map(request({ original: BUFFERS + 1, sizeBytes: 4 }));
    expect(read(slot.address, 5)).toEqual([2, 3, 4, 5, 0]);
    write(slot.address, [9, 9, 9, 9, 9]);
    pool.copyOut(slot, 0, 4);
    expect(read(BUFFERS, 6)).toEqual([1, 9, 9, 9, 9, 6]);
    write(slot.address, [7, 7, 7, 7]);
    pool.release(slot);
    expect(read(BUFFERS, 6)).toEqual([1, 9, 9, 9, 9, 6]);
  });

  test('parts are copied either way, from the offset on', () => {
    const { pool, read, write } = makeRig();
    write(BUFFERS, pattern(9000, 3));
    const slot = pool.map(request({ sizeBytes: 9000 }));
    write(
      slot.address,
      Array.from({ length: 9000 }, () => 0xee),
    );
    pool.copyOut(slot, 4000, 4500);
    const half = pattern(9000, 3).fill(0xee, 4000, 8500);
    expect(read(BUFFERS, 9000)).toEqual(half);
    write(BUFFERS, pattern(9000, 8));
    pool.copyIn(slot, 2047, 5001);
    const expected = Array.from({ length: 9000 }, () => 0xee);
    expected.splice(2047, 5001, ...pattern(9000, 8).slice(2047, 7048));
    expect(read(slot.address, 9000)).toEqual(expected);
    expect(pool.occupancy.copiedBytes).toBe(9000 + 4500 + 5001);
    pool.copyIn(slot, 9000, 0);
    expect(pool.occupancy.copiedBytes).toBe(9000 + 4500 + 5001);
  });

  test('copies go through the cache of the CPU', () => {
    const { memory, frames, read } = makeRig();
    const world = new World();
    const cache = new CpuCache(world, memory, {
      lineBytes: 32,
      sets: 64,
      ways: 4,
      evictOneIn: 0,
      speculateOneIn: 0,
    });
    const pool = new BouncePool(world, frames, cache.cached);
    cache.cached.write(BUFFERS as PhysAddr, Uint8Array.of(1, 2, 3));
    const slot = pool.map(request({ sizeBytes: 3 }));
    expect(read(slot.address, 3)).toEqual([0, 0, 0]);
    cache.clean(slot.address, 3);
    expect(read(slot.address, 3)).toEqual([1, 2, 3]);
  });
});

describe('the edge of a buffer of a device that is not trusted', () => {
  const EDGE = { reason: 'untrusted-edge', allocAlignMask: 4095, minAlignMask: 4095 };

  /** All of the pool is somebody's secret. */
  function usedPool(): ReturnType<typeof makeRig> {
    const rig = makeRig({ sizeBytes: 256 * KIB });
    rig.write(
      FRAMES,
      Array.from({ length: 256 * KIB }, () => 0x5e),
    );
    return rig;
  }

  test('the rest of its granules is zeroed, and no more', () => {
    const { pool, read, write } = usedPool();
    write(BUFFERS + 4096, pattern(8192, 1));
    const slot = pool.map(request({ ...EDGE, original: BUFFERS + 4096 + 3000, sizeBytes: 3000 }));
    expect(slot.address).toBe(FRAMES + 3000);
    expect(read(FRAMES, 3000)).toEqual(Array.from({ length: 3000 }, () => 0));
    expect(read(FRAMES + 3000, 3000)).toEqual(pattern(8192, 1).slice(3000, 6000));
    expect(read(FRAMES + 6000, 8192 - 6000)).toEqual(Array.from({ length: 8192 - 6000 }, () => 0));
    expect(read(FRAMES + 8192, 1)).toEqual([0x5e]);
    expect(pool.occupancy.usedSlots).toBe(4);
  });

  test('without the copy its own bytes are zeroed too', () => {
    const { pool, read } = usedPool();
    pool.map(request({ ...EDGE, original: BUFFERS + 100, sizeBytes: 100 }));
    expect(read(FRAMES, 4097)).toEqual([...Array.from({ length: 4096 }, () => 0), 0x5e]);
  });

  test('a granule smaller than a slot: the whole slot is zeroed', () => {
    const { pool, read } = usedPool();
    pool.map(request({ ...EDGE, allocAlignMask: 1023, minAlignMask: 1023, original: BUFFERS + 100 }));
    expect(read(FRAMES, 2049)).toEqual([...Array.from({ length: 2048 }, () => 0), 0x5e]);
  });

  test('for other reasons nothing is zeroed', () => {
    const { pool, read } = usedPool();
    pool.map(request({ ...EDGE, reason: 'forced', original: BUFFERS + 100 }));
    expect(read(FRAMES, 100)).toEqual(Array.from({ length: 100 }, () => 0x5e));
  });
});

describe('misuse is refused and changes nothing', () => {
  test('a slot that is not out', () => {
    const { pool } = makeRig();
    const slot = pool.map(request());
    const foreign = makeRig().pool.map(request());
    pool.release(slot);
    const kept = pool.map(request());
    const before = pool.occupancy;
    for (const wrong of [slot, foreign, { ...kept }]) {
      expect(codeOf(() => pool.release(wrong))).toBe('EINVAL');
      expect(codeOf(() => pool.copyIn(wrong, 0, 1))).toBe('EINVAL');
      expect(codeOf(() => pool.copyOut(wrong, 0, 1))).toBe('EINVAL');
    }
    expect(pool.occupancy).toEqual(before);
    expect(pool.live()).toEqual([kept]);
  });

  test.each([
    [-1, 1],
    [0, 65],
    [64, 1],
    [0, -1],
    [0.5, 1],
    [0, Number.NaN],
  ])('a copy of the part at %d of %d bytes', (offset, sizeBytes) => {
    const { pool } = makeRig();
    const slot = pool.map(request({ sizeBytes: 64 }));
    expect(codeOf(() => pool.copyIn(slot, offset, sizeBytes))).toBe('EINVAL');
    expect(codeOf(() => pool.copyOut(slot, offset, sizeBytes))).toBe('EINVAL');
    expect(pool.occupancy.copiedBytes).toBe(64);
  });

  test('a buffer that is no memory: EFAULT, also of a single request', () => {
    const { pool, frames } = makeRig({ sizeBytes: 256 * KIB, maxBytes: 512 * KIB });
    const full = pool.map(request({ sizeBytes: 256 * KIB }));
    for (const isFull of [true, false]) {
      if (!isFull) pool.release(full);
      const before = [pool.occupancy.usedSlots, pool.occupancy.mappings, frames.outBytes];
      expect(codeOf(() => pool.map(request({ original: 0x1000 })))).toBe('EFAULT');
      expect([pool.occupancy.usedSlots, pool.occupancy.mappings, frames.outBytes]).toEqual(before);
    }
    expect(pool.map(request({ sizeBytes: 252 * KIB })).sizeBytes).toBe(252 * KIB);
  });

  test.each([{ sizeBytes: 0 }, { sizeBytes: 1.5 }, { cpus: 0 }, { cpus: 1.5 }, { maxBytes: -1 }])(
    'a pool with %o',
    (options) => {
      expect(() => makeRig(options)).toThrow(LabError);
    },
  );
});
