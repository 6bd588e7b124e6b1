import { expect, test } from '@jest/globals';
import { World } from '@iommu-lab/machine';
import fc from 'fast-check';
import { DmaPool, type DmaPoolBlock } from '../../src/pool/dma-pool.ts';
import { FakeCoherent } from './fake-coherent.ts';

const PAGE = 4096;

const shape = fc
  .record({
    sizeBytes: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 9000 })),
    alignLog2: fc.integer({ min: 0, max: 9 }),
    /** Boundary as a power of two above the size; absent: none. */
    boundaryLog2: fc.option(fc.integer({ min: 0, max: 5 })),
    skew: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100 })),
  })
  .map(({ sizeBytes, alignLog2, boundaryLog2, skew }) => {
    const alignBytes = 2 ** alignLog2;
    const rounded = Math.ceil(Math.max(sizeBytes, 8) / alignBytes) * alignBytes;
    const boundaryBytes = boundaryLog2 === null ? 0 : 2 ** (Math.ceil(Math.log2(rounded)) + boundaryLog2);
    return { sizeBytes, alignBytes, boundaryBytes, rounded, skew };
  });

const step = fc.record({
  what: fc.constantFrom('alloc', 'alloc', 'alloc', 'free', 'free', 'burst'),
  which: fc.nat(),
  zeroed: fc.boolean(),
});

type Shape = typeof shape extends fc.Arbitrary<infer T> ? T : never;

/** Byte by byte: every start in the page at which a block may lie, the lowest first, none over another. */
function placesIn(page: number, { rounded, alignBytes, boundaryBytes }: Shape): readonly number[] {
  const places: number[] = [];
  const end = page + Math.max(rounded, PAGE);
  for (let at = page; at + rounded <= end; at++) {
    const last = at + rounded - 1;
    const isCrossing =
      boundaryBytes > 0 && Math.floor(at / boundaryBytes) !== Math.floor(last / boundaryBytes);
    const previous = places.at(-1);
    if (at % alignBytes !== 0 || isCrossing || (previous !== undefined && at < previous + rounded)) continue;
    places.push(at);
  }
  return places;
}

function same(got: unknown, wanted: unknown, what: string): void {
  if (got !== wanted) throw new Error(`${what}: ${String(got)}, not ${String(wanted)}`);
}

test('property: blocks lie where a search byte by byte puts them, last freed first used, and keep their bytes', () => {
  let allocated = 0;
  let reused = 0;
  let full = 0;
  fc.assert(
    fc.property(shape, fc.array(step, { maxLength: 60, size: 'max' }), (given, steps) => {
      const world = new World();
      const events: string[] = [];
      world.events.subscribe(({ name }) => void events.push(name));
      const dma = new FakeCoherent(given.skew);
      const pool = new DmaPool(world, dma, { name: 'p', ...given });
      /** Of the device's addresses; the next one last. */
      const free: number[] = [];
      const busy = new Map<DmaPoolBlock, number>();
      let salt = 0;

      const alloc = (zeroed: boolean): void => {
        const before = new Set(dma.live);
        let block: DmaPoolBlock | undefined;
        try {
          block = pool.alloc({ zeroed });
        } catch {
          same(dma.live.size, before.size, 'pages after a refusal');
        }
        const isGrowing = free.length === 0;
        const [page] = [...dma.live].filter((each) => !before.has(each));
        if (page !== undefined) free.push(...[...placesIn(page.dmaAddress, given)].reverse());
        same(page !== undefined, isGrowing && block !== undefined, 'grown');
        if (block === undefined) {
          // Only a page that is not aligned can have no place at all.
          same(given.skew > 0 && isGrowing, true, 'refused');
          full++;
          return;
        }
        allocated++;
        if (!isGrowing) reused++;
        same(block.dmaAddress, free.pop(), 'where the block is');
        same(block.sizeBytes, given.rounded, 'its size');
        const first = zeroed ? 0 : 0xa9;
        same(
          dma.deviceRead(block.dmaAddress, given.rounded).every((byte) => byte === first),
          true,
          'contents',
        );
        salt = (salt + 1) % 251;
        block.write(0, new Uint8Array(given.rounded).fill(salt));
        busy.set(block, salt);
      };
      const release = (which: number): void => {
        const [block, value] = [...busy][which % Math.max(1, busy.size)] ?? [];
        if (block === undefined) return;
        const kept = dma.deviceRead(block.dmaAddress, given.rounded).every((byte) => byte === value);
        same(kept, true, 'bytes of a block in use');
        pool.free(block);
        busy.delete(block);
        free.push(block.dmaAddress);
      };

      for (const { what, which, zeroed } of steps) {
        if (what === 'alloc') alloc(zeroed);
        else if (what === 'free') release(which);
        else for (let n = 0; n < 10; n++) alloc(zeroed);
        same(pool.allocatedBlocks, busy.size, 'blocks in use');
        same(pool.pages, dma.live.size, 'pages');
      }
      const inUse = [...busy.keys()].filter((_, i) => i % 3 === 0);
      for (const block of [...busy.keys()])
        if (!inUse.includes(block)) release([...busy.keys()].indexOf(block));
      const leaked = [...dma.live].filter(({ dmaAddress, sizeBytes }) =>
        inUse.some((block) => block.dmaAddress >= dmaAddress && block.dmaAddress < dmaAddress + sizeBytes),
      );
      pool.destroy();
      same(
        [...dma.live].every((page) => leaked.includes(page)),
        true,
        'only pages in use are leaked',
      );
      same(dma.live.size, leaked.length, 'pages leaked');
      same(events.filter((name) => name === 'dma:pool_busy').length, leaked.length, 'reports');
      same(events.length, leaked.length, 'nothing else to report');
    }),
    { numRuns: 200 },
  );
  expect(allocated).toBeGreaterThan(3000);
  expect(reused / allocated).toBeGreaterThan(0.3);
  expect(full / allocated).toBeLessThan(0.2);
});
