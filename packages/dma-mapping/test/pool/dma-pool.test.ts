import { describe, expect, test } from '@jest/globals';
import { type LabEvent, World } from '@iommu-lab/machine';
import { DmaPool, type DmaPoolBlock, type DmaPoolOptions } from '../../src/pool/dma-pool.ts';
import { codeOf } from '../support/code-of.ts';
import { FakeCoherent } from './fake-coherent.ts';

interface Made {
  readonly world: World;
  readonly dma: FakeCoherent;
  readonly pool: DmaPool;
  readonly events: (readonly [name: string, fields: LabEvent['fields']])[];
}

function make(options: Partial<DmaPoolOptions> = {}, skew = 0): Made {
  const world = new World();
  const dma = new FakeCoherent(skew);
  const pool = new DmaPool(world, dma, { name: 'descriptors', sizeBytes: 64, ...options });
  const events: (readonly [string, LabEvent['fields']])[] = [];
  world.events.subscribe(({ name, fields }) => void events.push([name, fields]));
  return { world, dma, pool, events };
}

function blocks(pool: DmaPool, count: number): readonly DmaPoolBlock[] {
  return Array.from({ length: count }, () => pool.alloc());
}

function addressesOf(given: readonly DmaPoolBlock[]): readonly number[] {
  return given.map((block) => block.dmaAddress);
}

describe('a pool', () => {
  test.each<readonly [Partial<DmaPoolOptions>, number]>([
    [{ sizeBytes: 64 }, 64],
    [{ sizeBytes: 1 }, 8],
    [{ sizeBytes: 9 }, 9],
    [{ sizeBytes: 9, alignBytes: 0 }, 9],
    [{ sizeBytes: 20, alignBytes: 16 }, 32],
    [{ sizeBytes: 1, alignBytes: 256 }, 256],
    [{ sizeBytes: 20, boundaryBytes: 32 }, 20],
    [{ sizeBytes: 4, boundaryBytes: 8 }, 8],
  ])('of %j has blocks of %p bytes', (options, sizeBytes) => {
    const { pool } = make(options);
    expect([pool.sizeBytes, pool.alloc().sizeBytes]).toEqual([sizeBytes, sizeBytes]);
  });

  test.each<Partial<DmaPoolOptions>>([
    { sizeBytes: 0 },
    { sizeBytes: -8 },
    { sizeBytes: 8.5 },
    { sizeBytes: Number.NaN },
    { sizeBytes: 2 ** 31 },
    { alignBytes: 3 },
    { alignBytes: -1 },
    { alignBytes: 0.5 },
    { boundaryBytes: 96 },
    { boundaryBytes: 32 },
    { boundaryBytes: -64 },
    { sizeBytes: 4, boundaryBytes: 4 },
    { sizeBytes: 20, alignBytes: 16, boundaryBytes: 16 },
  ])('of %j is EINVAL', (options) => {
    expect(codeOf(() => make(options))).toBe('EINVAL');
  });

  test('holds no page until a block is asked for, and grows page by page', () => {
    const { pool, dma } = make({ sizeBytes: 1024 });
    expect([pool.pages, dma.live.size]).toEqual([0, 0]);
    const first = blocks(pool, 4);
    expect([pool.pages, pool.allocatedBlocks]).toEqual([1, 4]);
    expect(addressesOf(first)).toEqual([0, 1, 2, 3].map((n) => 0x10_0000 + n * 1024));
    pool.alloc();
    expect([pool.pages, dma.live.size, pool.allocatedBlocks]).toEqual([2, 2, 5]);
    expect([...dma.live].map((page) => [page.sizeBytes, page.site])).toEqual([
      [4096, 'descriptors'],
      [4096, 'descriptors'],
    ]);
  });

  test('of blocks larger than a page has one in each', () => {
    const { pool, dma } = make({ sizeBytes: 5000, boundaryBytes: 8192 });
    blocks(pool, 2);
    expect([...dma.live].map((page) => page.sizeBytes)).toEqual([5000, 5000]);
  });

  test('uses what was freed last first', () => {
    const { pool } = make();
    const [a, b, c] = blocks(pool, 3) as [DmaPoolBlock, DmaPoolBlock, DmaPoolBlock];
    for (const block of [b, c, a]) pool.free(block);
    expect(addressesOf(blocks(pool, 3))).toEqual(addressesOf([a, c, b]));
    expect(pool.pages).toBe(1);
  });

  test('skips what is left of a boundary when a block does not fit there', () => {
    const { pool } = make({ sizeBytes: 24, alignBytes: 8, boundaryBytes: 64 });
    expect(addressesOf(blocks(pool, 5)).map((address) => address - 0x10_0000)).toEqual([0, 24, 64, 88, 128]);
  });

  test('goes by the device’s addresses where a page is not aligned', () => {
    const { pool } = make({ sizeBytes: 32, alignBytes: 32, boundaryBytes: 64 }, 20);
    expect(addressesOf(blocks(pool, 3)).map((address) => address - 0x10_0000)).toEqual([32, 64, 96]);
    const { pool: large, dma } = make({ sizeBytes: 4096, alignBytes: 4096 }, 20);
    expect([codeOf(() => large.alloc()), large.pages, dma.live.size]).toEqual(['ENOMEM', 0, 0]);
  });
});

describe('a block', () => {
  test('is a stretch of memory for the CPU and the device', () => {
    const { pool, dma } = make();
    const [, block] = blocks(pool, 2) as [DmaPoolBlock, DmaPoolBlock];
    block.write(60, Uint8Array.of(1, 2, 3, 4));
    block.write32(0, 0xdead_beef);
    expect(dma.deviceRead(block.dmaAddress + 60, 4)).toEqual([1, 2, 3, 4]);
    expect(dma.deviceRead(block.dmaAddress, 4)).toEqual([0xef, 0xbe, 0xad, 0xde]);
    dma.deviceWrite(block.dmaAddress + 8, [7, 0, 0, 9]);
    const into = new Uint8Array(4);
    block.read(8, into);
    expect([[...into], block.read32(8)]).toEqual([[7, 0, 0, 9], 0x0900_0007]);
  });

  test.each([-1, 61, 64, 0.5, Number.NaN])(
    'is left by four bytes at %p: EINVAL, and no neighbour is touched',
    (offset) => {
      const { pool, dma } = make();
      const [before, block, after] = blocks(pool, 3) as [DmaPoolBlock, DmaPoolBlock, DmaPoolBlock];
      const all = (): readonly number[] =>
        dma.deviceRead(before.dmaAddress, after.dmaAddress + 64 - before.dmaAddress);
      const was = all();
      const uses = [
        () => block.read(offset, new Uint8Array(4)),
        () => block.write(offset, new Uint8Array(4)),
        () => block.read32(offset),
        () => block.write32(offset, 0),
      ];
      expect(uses.map(codeOf)).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL']);
      expect(all()).toEqual(was);
    },
  );

  test('is dead when it is freed, also while its memory is somebody else’s', () => {
    const { pool } = make();
    const block = pool.alloc();
    pool.free(block);
    const next = pool.alloc({ zeroed: true });
    expect(next.dmaAddress).toBe(block.dmaAddress);
    expect(codeOf(() => block.write32(0, 5))).toBe('EINVAL');
    expect(codeOf(() => block.read32(0))).toBe('EINVAL');
    expect(next.read32(0)).toBe(0);
  });

  test('holds zeroes when asked for, else a pattern, also when it was used before', () => {
    const { pool } = make({ sizeBytes: 8 });
    const read = (block: DmaPoolBlock): readonly number[] => {
      const into = new Uint8Array(8);
      block.read(0, into);
      return [...into];
    };
    for (const value of [0, 0xa9]) {
      const fresh = pool.alloc({ zeroed: value === 0 });
      expect(read(fresh)).toEqual(Array.from({ length: 8 }, () => value));
      fresh.write(0, new Uint8Array(8).fill(1));
      pool.free(fresh);
      const used = pool.alloc({ zeroed: value === 0 });
      expect(used.dmaAddress).toBe(fresh.dmaAddress);
      expect(read(used)).toEqual(Array.from({ length: 8 }, () => value));
    }
  });

  test('is freed once, by its own pool: EINVAL, and nothing changes', () => {
    const { pool, dma, world } = make();
    const other = new DmaPool(world, dma, { name: 'other', sizeBytes: 64 });
    const [block, foreign] = [pool.alloc(), other.alloc()];
    expect(() => pool.free(foreign)).toThrow(/not of this pool/);
    expect(() => pool.free({ ...foreign, dmaAddress: block.dmaAddress })).toThrow(/not of this pool/);
    pool.free(block);
    expect(() => pool.free(block)).toThrow(/free already/);
    expect(() => other.free(block)).toThrow(/not of this pool/);
    expect(codeOf(() => pool.free(block))).toBe('EINVAL');
    expect([pool.allocatedBlocks, other.allocatedBlocks]).toEqual([0, 1]);
    const again = blocks(pool, 2);
    expect(new Set(addressesOf(again)).size).toBe(2);
    other.free(foreign);
  });
});

describe('a free block that was written', () => {
  test.each([0, 5, 63])('is reported when it is handed out: byte %p', (at) => {
    const { pool, dma, events } = make();
    const [, block] = blocks(pool, 2) as [DmaPoolBlock, DmaPoolBlock];
    pool.free(block);
    dma.deviceWrite(block.dmaAddress + at, [0]);
    const again = pool.alloc();
    expect(again.dmaAddress).toBe(block.dmaAddress);
    expect(events).toEqual([
      [
        'dma:pool_corruption',
        { pool: 'descriptors', dma_addr: '0x00100040', size: 64, offset: at, value: 0 },
      ],
    ]);
    // It is sound again: a second report would be of a second write.
    pool.free(again);
    pool.alloc();
    expect(events.length).toBe(1);
  });

  test('is reported when it was never handed out', () => {
    const { pool, dma, events } = make();
    const block = pool.alloc();
    // The device runs over the end of its block.
    dma.deviceWrite(block.dmaAddress + 60, [1, 2, 3, 4, 5, 6]);
    pool.alloc();
    expect(events.map(([name, fields]) => [name, fields['offset'], fields['value']])).toEqual([
      ['dma:pool_corruption', 0, 5],
    ]);
  });

  test('is reported at the end of the pool', () => {
    const { pool, dma, events } = make();
    const [a, b] = blocks(pool, 2) as [DmaPoolBlock, DmaPoolBlock];
    for (const block of [a, b]) pool.free(block);
    dma.deviceWrite(a.dmaAddress + 9, [0xff]);
    pool.destroy();
    expect(events).toEqual([
      [
        'dma:pool_corruption',
        { pool: 'descriptors', dma_addr: '0x00100000', size: 64, offset: 9, value: 0xff },
      ],
    ]);
  });

  test('no report is made of what the owner writes', () => {
    const { pool, dma, events } = make();
    for (let round = 0; round < 3; round++) {
      const given = blocks(pool, 100);
      for (const block of given)
        dma.deviceWrite(
          block.dmaAddress,
          Array.from({ length: 64 }, () => round),
        );
      for (const block of given) pool.free(block);
    }
    pool.destroy();
    expect(events).toEqual([]);
  });
});

describe('without memory', () => {
  test.each(['ENOMEM', 'ENOSPC'] as const)('a pool that cannot grow says what its page said: %s', (code) => {
    const { pool, dma } = make({ sizeBytes: 2048 });
    blocks(pool, 2);
    dma.refusal = code;
    expect(codeOf(() => pool.alloc())).toBe(code);
    expect([pool.pages, pool.allocatedBlocks]).toEqual([1, 2]);
    dma.refusal = undefined;
    pool.alloc();
    expect([pool.pages, pool.allocatedBlocks]).toEqual([2, 3]);
  });

  test('its failpoint is ENOMEM, and nothing has changed', () => {
    const { pool, dma, world } = make();
    for (const pages of [0, 1]) {
      world.failpoints.failNth(1, 'dma-mapping.pool');
      expect(codeOf(() => pool.alloc())).toBe('ENOMEM');
      expect([pool.pages, pool.allocatedBlocks, dma.live.size]).toEqual([pages, pages, pages]);
      world.failpoints.reset();
      if (pages === 0) pool.alloc();
    }
  });
});

describe('destroy', () => {
  test('gives all pages back, and the pool is of no use any more', () => {
    const { pool, dma, events } = make({ sizeBytes: 1024 });
    const given = blocks(pool, 9);
    for (const block of given) pool.free(block);
    pool.destroy();
    pool.destroy();
    expect([dma.live.size, pool.pages, pool.allocatedBlocks, events]).toEqual([0, 0, 0, []]);
    expect(codeOf(() => pool.alloc())).toBe('EINVAL');
    expect(codeOf(() => pool.free(given[0]!))).toBe('EINVAL');
  });

  test('reports pages with blocks in use, and leaks them alone', () => {
    const { pool, dma, events } = make({ sizeBytes: 1024 });
    const given = blocks(pool, 12);
    const kept = [given[1]!, given[2]!, given[8]!];
    for (const block of given) if (!kept.includes(block)) pool.free(block);
    pool.destroy();
    const page = (n: number): number => given[4 * n]!.dmaAddress;
    expect(events).toEqual([
      [
        'dma:pool_busy',
        { pool: 'descriptors', dma_addr: `0x00${page(0).toString(16)}`, size: 4096, blocks: 2 },
      ],
      [
        'dma:pool_busy',
        { pool: 'descriptors', dma_addr: `0x00${page(2).toString(16)}`, size: 4096, blocks: 1 },
      ],
    ]);
    expect([...dma.live].map((each) => each.dmaAddress)).toEqual([page(0), page(2)]);
    expect([pool.pages, pool.allocatedBlocks]).toEqual([2, 3]);
    // Device and driver can go on: that is why the page is leaked.
    kept[0]?.write32(0, 7);
    expect(dma.deviceRead(kept[0]!.dmaAddress, 1)).toEqual([7]);
    expect(codeOf(() => pool.free(kept[0]!))).toBe('EINVAL');
    pool.destroy();
    expect(events.length).toBe(2);
  });
});
