/** A pool that may grow: memory of single requests, more room in the background, and all of it given back. */
import { describe, expect, test } from '@jest/globals';
import type { LabEvent } from '@iommu-lab/machine';
import { BouncePool } from '../../src/bounce/bounce-pool.ts';
import { codeOf } from '../support/code-of.ts';
import { BUFFERS, FRAMES, KIB, makeRig, MIB, request, type Rig } from './rig.ts';

const GROWING = { sizeBytes: 512 * KIB, maxBytes: 2 * MIB };

/** A pool of 512 KiB that is full. */
function fullRig(options = GROWING, frameBytes: number = 4 * MIB): Rig {
  const rig = makeRig(options, frameBytes);
  for (const sizeBytes of [256 * KIB, 256 * KIB]) rig.pool.map(request({ sizeBytes }));
  return rig;
}

describe('full', () => {
  test('without growth there is ENOMEM, and room again after a release', () => {
    const { pool, frames, world } = fullRig({ sizeBytes: 512 * KIB, maxBytes: 0 });
    expect(codeOf(() => pool.map(request()))).toBe('ENOMEM');
    expect(() => pool.map(request({ sizeBytes: 5000, limit: 0xffffffff }))).toThrow(
      'camera: no 3 free slots in a row in the bounce pool up to 0xffffffff; 256 of 256 are used',
    );
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 1, transientPools: 0, grown: 0, refused: 2 });
    expect(frames.outBytes).toBe(512 * KIB);
    const [first] = pool.live();
    if (first !== undefined) pool.release(first);
    expect(pool.map(request()).address).toBe(FRAMES);
  });

  test('with growth the request gets memory of its own, which goes when it is released', () => {
    const { pool, frames, read, write } = fullRig();
    write(BUFFERS + 9, [1, 2, 3]);
    const slot = pool.map(request({ original: BUFFERS + 9, sizeBytes: 3 }));
    expect(read(slot.address, 3)).toEqual([1, 2, 3]);
    expect(pool.occupancy).toMatchObject({ transientPools: 1, bytes: 516 * KIB, slots: 258, usedSlots: 257 });
    expect(pool.slotAt(slot.address)).toBe(slot);
    expect(frames.outBytes).toBe(516 * KIB);
    pool.release(slot);
    expect(pool.occupancy).toMatchObject({ transientPools: 0, bytes: 512 * KIB, slots: 256, usedSlots: 256 });
    expect(frames.outBytes).toBe(512 * KIB);
  });

  test('the memory of a request serves no other', () => {
    const { pool } = fullRig();
    pool.map(request());
    pool.map(request());
    expect(pool.occupancy.transientPools).toBe(2);
  });

  test.each([
    { sizeBytes: 100, allocAlignMask: 65535, minAlignMask: 65535 },
    { sizeBytes: 33 * KIB, segmentBoundaryMask: 65535 },
    { sizeBytes: 100, minAlignMask: 65535 },
    { sizeBytes: 256 * KIB },
    { sizeBytes: 4096 },
  ])('it keeps to the rules: %o', (wanted) => {
    const { pool, frames } = fullRig();
    // What is free next is aligned to nothing.
    frames.allocateContiguous(36 * KIB, 4096);
    const original = BUFFERS + 0x5432;
    const { address } = pool.map(request({ original, ...wanted }));
    expect(pool.occupancy.transientPools).toBe(1);
    const {
      minAlignMask = 0,
      segmentBoundaryMask = 0xffffffff,
      sizeBytes,
    } = wanted as Record<string, number>;
    expect((address ^ original) & minAlignMask).toBe(0);
    expect(Math.floor(address / (segmentBoundaryMask + 1))).toBe(
      Math.floor((address + (sizeBytes as number) - 1) / (segmentBoundaryMask + 1)),
    );
  });

  test('memory that lies too high is given back at once', () => {
    const { pool, frames } = fullRig();
    expect(codeOf(() => pool.map(request({ limit: FRAMES + 512 * KIB })))).toBe('ENOMEM');
    expect(pool.occupancy).toMatchObject({ transientPools: 0, bytes: 512 * KIB });
    expect(frames.outBytes).toBe(512 * KIB);
    expect(codeOf(() => pool.map(request({ limit: FRAMES + 512 * KIB + 63 })))).toBe('done');
  });
});

describe('growth', () => {
  test('a pool as large as the first is added in the background, once for many requests', () => {
    const { pool, frames, world } = fullRig();
    const single = [pool.map(request()), pool.map(request())];
    expect(pool.occupancy.grown).toBe(0);
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 2, grown: 1, transientPools: 2, bytes: MIB + 8 * KIB });
    for (const slot of single) pool.release(slot);
    pool.map(request());
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 2, grown: 1, transientPools: 0, bytes: MIB });
    expect(frames.outBytes).toBe(MIB);
  });

  test('never above maxBytes', () => {
    const { pool, frames, world } = fullRig({ sizeBytes: 512 * KIB, maxBytes: 800 * KIB });
    for (let i = 0; i < 200; i++) {
      codeOf(() => pool.map(request()));
      if (i % 20 === 0) world.clock.run();
      expect(frames.outBytes).toBeLessThanOrEqual(800 * KIB);
      expect(pool.occupancy.bytes).toBe(frames.outBytes);
    }
    expect(pool.occupancy).toMatchObject({ pools: 2, grown: 1, bytes: 800 * KIB });
  });

  test('nor for a single request', () => {
    const { pool } = fullRig({ sizeBytes: 512 * KIB, maxBytes: 518 * KIB });
    expect(codeOf(() => pool.map(request({ sizeBytes: 8192 })))).toBe('ENOMEM');
    expect(codeOf(() => pool.map(request({ sizeBytes: 4096 })))).toBe('done');
    expect(codeOf(() => pool.map(request({ sizeBytes: 1 })))).toBe('ENOMEM');
    expect(pool.occupancy.bytes).toBe(516 * KIB);
  });

  test('again and again', () => {
    const { pool, world } = fullRig();
    for (const pools of [2, 3]) {
      pool.release(pool.map(request({ sizeBytes: 256 * KIB })));
      world.clock.run();
      expect(pool.occupancy).toMatchObject({ pools, grown: pools - 1, bytes: pools * 512 * KIB });
      for (const sizeBytes of [256 * KIB, 256 * KIB]) pool.map(request({ sizeBytes }));
    }
  });

  test('half as much and so on when there is no memory for more', () => {
    const { pool, world } = fullRig(GROWING, 1100 * KIB);
    pool.map(request());
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 2, bytes: 772 * KIB });
  });

  test('no memory at all: the pool stays as it is and tries again another time', () => {
    const { pool, world } = fullRig(GROWING, 512 * KIB);
    for (const _ of [1, 2]) {
      expect(codeOf(() => pool.map(request()))).toBe('ENOMEM');
      expect(world.clock.runUntil(() => false)).toBe(false);
      expect(pool.occupancy).toMatchObject({ pools: 1, grown: 0, bytes: 512 * KIB, transientPools: 0 });
    }
  });

  test('what is added has areas by CPU too', () => {
    const { pool, world } = makeRig({ sizeBytes: 512 * KIB, cpus: 2, maxBytes: 2 * MIB });
    for (const sizeBytes of [256 * KIB, 256 * KIB, 256 * KIB]) pool.map(request({ sizeBytes }));
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 2, transientPools: 1 });
    const at = [0, 1].map((cpu) => {
      world.currentCpu = cpu;
      return pool.map(request()).address;
    });
    expect((at[1] as number) - (at[0] as number)).toBe(256 * KIB);
  });

  test('the event of growth', () => {
    const { pool, world } = fullRig();
    const events: LabEvent[] = [];
    world.events.subscribe((event) => events.push(event));
    pool.map(request());
    world.clock.run();
    expect(events.map(({ name }) => name)).toEqual(['swiotlb:bounced', 'swiotlb:grown']);
    expect(events[1]?.fields).toEqual({ size: 512 * KIB, total: 514 });
  });
});

describe('failing steps', () => {
  test('a failing request leaves everything as it was', () => {
    const { pool, world, frames } = makeRig(GROWING);
    world.failpoints.failNth(1, 'dma-mapping.bounce');
    expect(codeOf(() => pool.map(request()))).toBe('ENOMEM');
    expect(pool.occupancy).toMatchObject({ usedSlots: 0, mappings: 0, transientPools: 0, refused: 1 });
    expect(frames.outBytes).toBe(512 * KIB);
    expect(codeOf(() => pool.map(request()))).toBe('done');
  });

  test('each allocation of memory may fail', () => {
    const { world, pool, frames, memory } = fullRig();
    world.failpoints.failNth(1, 'dma-mapping.bounce-memory');
    expect(codeOf(() => pool.map(request()))).toBe('ENOMEM');
    world.failpoints.failNth(1, 'dma-mapping.bounce-memory');
    world.clock.run();
    expect(pool.occupancy).toMatchObject({ pools: 2, grown: 1, bytes: 768 * KIB, transientPools: 0 });
    expect(frames.outBytes).toBe(768 * KIB);
    world.failpoints.failNth(1, 'dma-mapping.bounce-memory');
    expect(codeOf(() => new BouncePool(world, frames, memory))).toBe('ENOMEM');
    expect(frames.outBytes).toBe(768 * KIB);
  });
});

describe('the end', () => {
  test('all frames are given back, and a growth that was to come is not', () => {
    const { pool, frames, world } = fullRig();
    const slot = pool.map(request());
    world.clock.run();
    pool.map(request({ sizeBytes: 256 * KIB }));
    pool.map(request({ sizeBytes: 256 * KIB }));
    pool.release(slot);
    expect(codeOf(() => pool.destroy())).toBe('EBUSY');
    expect(frames.outBytes).toBe(MIB);
    const last = pool.map(request());
    for (const live of pool.live()) pool.release(live);
    expect(codeOf(() => pool.release(last))).toBe('EINVAL');
    pool.destroy();
    expect(frames.outBytes).toBe(0);
    world.clock.run();
    expect(frames.outBytes).toBe(0);
    expect(codeOf(() => pool.map(request()))).toBe('ENOMEM');
    expect(pool.occupancy).toMatchObject({ slots: 0, usedSlots: 0, pools: 0, transientPools: 0 });
    pool.destroy();
  });
});
