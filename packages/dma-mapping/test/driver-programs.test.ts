/**
 * Random driver programs against a flat array of bytes that knows no cache and no address translation. The same program
 * must read the same bytes whatever stands between CPU, memory and device. `pnpm campaign` runs 100 000 of each test.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { expectSame } from './programs/looks.ts';
import { type Outcome, runProgram } from './programs/run-program.ts';
import { program, type StepKind } from './programs/steps.ts';
import { type Way, WAYS } from './programs/ways.ts';
import { campaignSettings } from './support/campaign-settings.ts';

const { seed, runs, path } = campaignSettings();
/** A failure is shrunk where FC_SHRINK is set: over all ways that takes minutes. */
const replay = {
  seed,
  endOnFailure: process.env['FC_SHRINK'] === undefined,
  ...(path !== undefined && { path }),
};
/** Programs that run on all ways; each counts as many as there are ways. */
const ON_ALL_WAYS = runs === undefined ? 30 : Math.ceil(runs / WAYS.length);
/** Programs that run on one way each, with the checker. */
const CHECKED = runs ?? 300;

/** Steps that a polite driver has too, and those it has not. */
const POLITE: readonly StepKind[] = [
  ...(['store', 'load', 'buffer-store', 'buffer-load', 'device-read', 'device-write'] as const),
  ...(['map', 'reserve', 'alloc', 'resource', 'sync', 'sync-part', 'release'] as const),
  ...(['time', 'flush', 'cpu'] as const),
];
const RUDE: readonly StepKind[] = ['trespass', 'late-access'];

describe('random driver programs', () => {
  test(`read on each of ${WAYS.length} ways what flat memory would give, and the same on all`, () => {
    const done = new Set<StepKind>();
    fc.assert(
      fc.property(program, fc.nat(), (steps, worldSeed) => {
        let first: Outcome | undefined;
        for (const way of WAYS) {
          const outcome = onWay(way, () => runProgram(way, worldSeed, steps));
          first ??= outcome;
          onWay(way, () => expectSame((first as Outcome).seen, outcome.seen));
          for (const kind of outcome.done) done.add(kind);
        }
      }),
      { ...replay, numRuns: ON_ALL_WAYS },
    );
    expect([...done].sort()).toEqual([...POLITE, ...RUDE].sort());
  });

  test('give the checker no cause to report anything', () => {
    const done = new Set<StepKind>();
    fc.assert(
      fc.property(program, fc.nat(), fc.constantFrom(...WAYS), (steps, worldSeed, way) => {
        const outcome = onWay(way, () => runProgram(way, worldSeed, steps, true));
        for (const kind of outcome.done) done.add(kind);
      }),
      { ...replay, numRuns: CHECKED },
    );
    expect([...done].sort()).toEqual([...POLITE].sort());
  });
});

/** Says which way it was. */
function onWay<T>({ name }: Way, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
