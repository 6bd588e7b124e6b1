/** In which order a case uses its pages. floor/smmu.c makes the same ones in C. */
import { Draws } from '@iommu-lab/bench';
import { leafBytes } from '@iommu-lab/page-table/layout';
import { vaOf, type Mapping } from './tables.ts';

/** Operations of one run of a case. */
export const OPERATIONS = 65536;
/** Banks, and with them machine ids, of the benchmarks. */
export const BANKS = 4;

/** Addresses by operation. */
export type Pattern = Uint32Array<ArrayBuffer>;

/** The first page again and again. */
export function onePage(mapping: Mapping): Pattern {
  return pattern(mapping, () => 0);
}

/** The first `pages` pages in turn. */
export function inSequence(mapping: Mapping, pages: number): Pattern {
  return pattern(mapping, (_draws, i) => i % pages);
}

/** Some page of the first `pages`. */
export function atRandom(mapping: Mapping, pages: number): Pattern {
  return pattern(mapping, (draws) => draws.below(pages));
}

/** The same, and in the two lowest bits the machine id, at random too. */
export function atRandomOfBanks(mapping: Mapping, pages: number): Pattern {
  return pattern(mapping, (draws) => draws.below(pages), BANKS);
}

/** Every page once in random order, over and over. */
export function permuted(mapping: Mapping): Pattern {
  let order: readonly number[] = [];
  return pattern(mapping, (draws, i) => {
    if (i === 0) order = draws.permutation(mapping.count);
    return order[i % mapping.count] as number;
  });
}

/** Some page of a million. */
export function sparse(mapping: Mapping): Pattern {
  return pattern(mapping, (draws) => draws.below(1024) * 1024 + draws.below(1024));
}

/** 64 bytes further each time, through the first `pages` pages. */
export function stream(mapping: Mapping, pages: number): Pattern {
  return Uint32Array.from(
    { length: OPERATIONS },
    (_, i) => mapping.va + ((i * 64) % (pages * leafBytes(mapping.kind))),
  );
}

/** Some of `offsets`, in some bank's page of the register window. */
export function registerOffsets(offsets: readonly number[], bankBytes: number): Pattern {
  const draws = new Draws();
  return Uint32Array.from({ length: OPERATIONS }, () => {
    const bank = draws.below(BANKS);
    return bank * bankBytes + (offsets[draws.below(offsets.length)] as number);
  });
}

/** A word somewhere in each page that `pageOf` names. */
function pattern(mapping: Mapping, pageOf: (draws: Draws, i: number) => number, below = 1): Pattern {
  const draws = new Draws();
  return Uint32Array.from({ length: OPERATIONS }, (_, i) => {
    const page = pageOf(draws, i);
    const word = vaOf(mapping, page) + draws.below(1024) * 4;
    return below === 1 ? word : word + draws.below(below);
  });
}
