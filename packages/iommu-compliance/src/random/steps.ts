/** What a random sequence is made of. */
import * as fc from 'fast-check';

/** Pages of the IOVA window, and of the RAM, that sequences use. */
export const PAGES = 32;
/** Paging domains per sequence; the index behind the last one is the blocked domain. */
export const DOMAINS = 2;

/** Positions are in granules. */
export type Step =
  | {
      readonly kind: 'map';
      readonly domain: number;
      readonly at: number;
      readonly to: number;
      readonly count: number;
      readonly rights: 'rw' | 'r' | 'w';
    }
  | { readonly kind: 'unmap'; readonly domain: number; readonly at: number; readonly count: number }
  | { readonly kind: 'move'; readonly side: 0 | 1; readonly domain: number }
  | {
      readonly kind: 'dma';
      readonly side: 0 | 1;
      readonly at: number;
      /** Goes to the `at`th page that is mapped, or that was unmapped, rather than to page `at` itself. */
      readonly aim: 'mapped' | 'unmapped' | 'any';
      readonly offset: number;
      readonly length: number;
      readonly isWrite: boolean;
    };

/**
 * Sequences whose steps meet each other often: something is mapped to begin with, the places are few, most DMA goes
 * where something is or was.
 * @param perLarger granules of the larger page size that sequences use, 1 if there is none
 */
export function sequences(granule: number, perLarger: number): fc.Arbitrary<readonly Step[]> {
  const page = fc.oneof(
    { weight: 6, arbitrary: fc.nat({ max: 4 }) },
    { weight: 1, arbitrary: fc.nat({ max: PAGES - 1 }) },
    { weight: 2, arbitrary: fc.nat({ max: Math.floor(PAGES / perLarger) - 1 }).map((i) => i * perLarger) },
  );
  const count = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constantFrom(perLarger, perLarger + 1));
  const side = fc.constantFrom(0 as const, 1 as const);
  const domain = fc.nat({ max: DOMAINS - 1 });
  const anyDomain = fc.oneof(
    { weight: 6, arbitrary: domain },
    { weight: 1, arbitrary: fc.constant(DOMAINS) },
  );
  const map = fc.record({
    kind: fc.constant('map' as const),
    domain,
    at: page,
    to: page,
    count,
    rights: fc.constantFrom('rw' as const, 'rw' as const, 'rw' as const, 'r' as const, 'w' as const),
  });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: map },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('unmap' as const), domain, at: page, count }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('move' as const), side, domain: anyDomain }),
    },
    {
      weight: 10,
      arbitrary: fc.record({
        kind: fc.constant('dma' as const),
        side,
        at: page,
        aim: fc.constantFrom(
          'mapped' as const,
          'mapped' as const,
          'mapped' as const,
          'unmapped' as const,
          'any' as const,
        ),
        // Near the end of a page half of the time, so that short transfers cross into the next.
        offset: fc.oneof(fc.nat({ max: granule - 1 }), fc.integer({ min: granule - 40, max: granule - 1 })),
        length: fc.oneof(
          { weight: 6, arbitrary: fc.integer({ min: 1, max: 64 }) },
          { weight: 1, arbitrary: fc.integer({ min: 1, max: 2 * granule }) },
        ),
        isWrite: fc.boolean(),
      }),
    },
  );
  return fc
    .tuple(fc.array(map, { maxLength: 4 }), fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }))
    .map((parts) => parts.flat());
}
