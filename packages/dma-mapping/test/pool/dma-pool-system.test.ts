/** Pools over the device's own DMA operations. */
import { describe, expect, test } from '@jest/globals';
import { DmaPool } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { makeSystem, type TestSystem } from '../support/system.ts';

const WAYS = (['direct', 'iommu'] as const).flatMap((path) =>
  [false, true].map((isCoherent) => ({ path, isCoherent })),
);

function poolOf({ world, dma }: TestSystem): DmaPool {
  return new DmaPool(world, dma, { name: 'qh', sizeBytes: 96, alignBytes: 32, boundaryBytes: 1024 });
}

describe.each(WAYS)('a pool of a device ($path, coherent: $isCoherent)', (way) => {
  test('has blocks that CPU and device share at once', () => {
    const system = makeSystem(way);
    const pool = poolOf(system);
    const given = Array.from({ length: 60 }, () => pool.alloc({ zeroed: true }));
    for (const [n, block] of given.entries()) {
      expect(system.deviceRead(block.dmaAddress, 96)).toEqual(new Uint8Array(96));
      block.write32(92, n + 1);
      expect([...(system.deviceRead(block.dmaAddress + 92, 4) ?? [])]).toEqual([n + 1, 0, 0, 0]);
      system.deviceWrite(block.dmaAddress, Uint8Array.of(n, 1, 2, 3));
      expect(block.read32(0)).toBe(0x0302_0100 + n);
    }
    expect(given.map((block) => block.read32(92))).toEqual(given.map((_, n) => n + 1));
    expect(pool.pages).toBe(2);
  });

  test('finds out a device that goes on writing to what was freed', () => {
    const system = makeSystem({ ...way, cache: { evictOneIn: 2, speculateOneIn: 2 } });
    const pool = poolOf(system);
    const block = pool.alloc();
    pool.free(block);
    expect(system.deviceWrite(block.dmaAddress + 17, Uint8Array.of(1))).toBe('done');
    pool.alloc();
    const reports = system.events.filter(({ name }) => name === 'dma:pool_corruption');
    expect(reports.map(({ fields }) => [fields['pool'], fields['offset'], fields['value']])).toEqual([
      ['qh', 17, 1],
    ]);
  });

  test('gives everything back, but for a page that is in use', () => {
    const system = makeSystem(way);
    const before = [system.frames.freeBytes, system.dma.mappedBytes];
    for (const leaks of [0, 1]) {
      const pool = poolOf(system);
      const given = Array.from({ length: 100 }, () => pool.alloc());
      expect(system.dma.mappedBytes).toBe(3 * 4096);
      for (const block of given.slice(leaks)) pool.free(block);
      pool.destroy();
      expect([system.frames.freeBytes, system.dma.mappedBytes]).toEqual([
        (before[0] as number) - leaks * 4096,
        leaks * 4096,
      ]);
    }
  });

  test('is as it was when any step of growing fails', () => {
    let failures = 0;
    for (let n = 1; ; n++) {
      const system = makeSystem(way);
      const pool = poolOf(system);
      for (let i = 0; i < 40; i++) pool.alloc();
      const before = [system.frames.freeBytes, system.dma.mappedBytes, pool.pages, pool.allocatedBlocks];
      system.world.failpoints.failNth(n);
      const code = codeOf(() => pool.alloc());
      system.world.failpoints.reset();
      if (code === 'done') break;
      failures++;
      expect(['ENOMEM', 'ENOSPC']).toContain(code);
      expect([system.frames.freeBytes, system.dma.mappedBytes, pool.pages, pool.allocatedBlocks]).toEqual(
        before,
      );
      pool.alloc();
    }
    // The pool's own, and at least the page's.
    expect(failures).toBeGreaterThan(1);
  });
});
