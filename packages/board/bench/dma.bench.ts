/** The DMA API call by call: a buffer mapped and unmapped, by the way the device does DMA; and invalidations per operation. */
import { benchCase, type BenchCase, type PreparedCase } from '@iommu-lab/bench';
import { DmaRig, mapAndUnmapEach, type Way, WAYS } from './dma-rig.ts';

const PAGES = 64;
const ROUNDS = 16;
const PAIRS = PAGES * ROUNDS;
/** Unmaps that the flush queue of a CPU holds. */
const RING = 256;
/** Up to so many pages are invalidated one by one, more all at once. */
const BY_PAGE = 32;

const BUFFERS: readonly (readonly [string, number, number])[] = [
  ['4 KiB', 0, 4096],
  ['1500 B', 64, 1500],
];

/** The cases. */
export default [
  ...BUFFERS.flatMap(([size, offset, sizeBytes]) =>
    WAYS.map((way) => single(`map and unmap ${size}, ${way}`, way, offset, sizeBytes, true)),
  ),
  single('map and unmap 1500 B, strict, cache maintained', 'strict', 64, 1500, false),
  ...[16, 256].flatMap((entries) =>
    (['direct', 'strict', 'deferred'] as const).map((way) => list(entries, way)),
  ),
] as readonly BenchCase[];

function single(
  name: string,
  way: Way,
  offset: number,
  sizeBytes: number,
  isDmaCoherent: boolean,
): BenchCase {
  return benchCase({
    name,
    operations: PAIRS,
    prepare: (): PreparedCase => {
      const rig = new DmaRig(way, PAGES, isDmaCoherent);
      return {
        run: () => {
          const sum = mapAndUnmapEach(rig, offset, sizeBytes, 'to-device', ROUNDS);
          rig.flush();
          return sum;
        },
        verify: () => rig.verify(),
        counters: () => ({ invalidations: rig.invalidations }),
        expected: { invalidations: invalidationsOf(way, PAIRS) },
      };
    },
  });
}

/** An operation is a list mapped and unmapped. */
function list(entries: number, way: Way): BenchCase {
  const lists = 4096 / entries;
  return benchCase({
    name: `map and unmap a list of ${entries} pages, ${way}`,
    operations: lists,
    prepare: (): PreparedCase => {
      const rig = new DmaRig(way, entries);
      const pieces = rig.entries;
      return {
        run: () => {
          let sum = 0;
          for (let i = 0; i < lists; i++) {
            const segments = rig.dma.mapSg(pieces, 'from-device');
            sum = (sum + segments.length) | 0;
            rig.dma.unmapSg(segments, 'from-device');
          }
          rig.flush();
          return sum;
        },
        verify: () => rig.verify(),
        counters: () => ({ invalidations: rig.invalidations }),
        expected: {
          invalidations:
            way === 'direct'
              ? 0
              : way === 'deferred'
                ? Math.ceil(lists / RING)
                : lists * (entries > BY_PAGE ? 1 : entries),
        },
      };
    },
  });
}

/** Strict: one for each unmap. Deferred: one for each ring that is full. Without an IOMMU: none. */
function invalidationsOf(way: Way, unmaps: number): number {
  if (way === 'strict') return unmaps;
  return way === 'deferred' ? unmaps / RING : 0;
}
