/**
 * Random sequences of map, unmap, move and DMA, against a model that knows no table: for each domain a list of pages,
 * for the RAM a copy of its bytes.
 */
import * as fc from 'fast-check';
import { type Check, defineAspect } from '../check.ts';
import { runSequence } from '../random/sequence.ts';
import { PAGES, sequences } from '../random/steps.ts';

const DEFAULT_RUNS = 60;

export const modelRandom: readonly Check[] = defineAspect('model-random', {
  'random maps, unmaps, moves and DMA do what a flat list of pages says'(bench, { runs, seed }) {
    const { granule, capabilities } = bench;
    const ramBytes = PAGES * granule;
    // The second page size where one of it fits, so that sequences use both.
    const larger = capabilities.pageSizes.find((size) => size > granule && size <= ramBytes) ?? granule;
    const ram = { address: bench.page(ramBytes), initial: patternBytes(ramBytes, granule) };
    fc.assert(
      fc.property(sequences(granule, larger / granule), (steps) => runSequence(bench, ram, steps)),
      { numRuns: runs ?? DEFAULT_RUNS, ...(seed === undefined ? {} : { seed }) },
    );
  },
});

/** Bytes that differ from page to page and within a page. */
function patternBytes(length: number, granule: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 3 + (i >> 8) + Math.floor(i / granule) * 59;
  return bytes;
}
