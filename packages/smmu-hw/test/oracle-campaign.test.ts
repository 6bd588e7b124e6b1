import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runSample, type Tally } from './support/campaign-board.ts';
import { samples } from './support/campaign-sample.ts';
import { campaignSettings, rerunCommand } from './support/campaign-settings.ts';

/** Boards of a run; each has 48 cases on average. */
const BOARDS = 2200;
const LEAST_CASES = 100_000;

/** Least share of the cases, in a hundred: a suite in which nearly everything fails in one way proves little. */
const LEAST_SHARES: Readonly<Record<string, number>> = {
  translated: 40,
  bypassed: 1,
  TF: 1,
  'TF+SL': 1,
  AFF: 1,
  'AFF+SL': 1,
  APF: 1,
  'APF+SL': 1,
  TLBMF: 1,
  HTWDEEF: 1,
  'HTWDEEF+SL': 1,
  HTWSEEF: 1,
  'HTWSEEF+SL': 1,
  MHF: 1,
  'ESR.CFG': 1,
  'ESR.BYPASS': 1,
  'through the cache': 2,
  'above 4 GiB': 0.5,
  'access flag set': 0.5,
  stalled: 0.5,
  'V2P succeeds': 30,
  'V2P fails': 10,
};

describe('against an independent walker', () => {
  test('R29 to R45, R48, R54, R65: each access and each V2P comes to what the oracle says, on random boards', () => {
    const { seed, path, runs = path === undefined ? BOARDS : 1 } = campaignSettings();
    const tally: Tally = new Map();
    const result = fc.check(
      fc.property(samples, (sample) => runSample(sample, tally)),
      { seed, numRuns: runs, unbiased: true, ...(path === undefined ? {} : { path }) },
    );
    if (result.failed) {
      throw new Error(
        [
          `after ${result.numRuns} boards and ${result.numShrinks} steps of shrinking:`,
          String((result.errorInstance as Error | null)?.message ?? result.errorInstance),
          `first-level cards: ${hexes(result.counterexample?.[0]?.first)}`,
          `second-level cards: ${hexes(result.counterexample?.[0]?.second)}`,
          'again:',
          `  ${rerunCommand('oracle-campaign', { seed, path: boardOf(result.counterexamplePath) })}`,
        ].join('\n'),
      );
    }
    const cases = tally.get('cases') ?? 0;
    console.info(`seed ${seed}: ${report(tally)}`);
    if (runs < BOARDS) return;
    expect(cases).toBeGreaterThanOrEqual(LEAST_CASES);
    const tooRare = Object.entries(LEAST_SHARES).filter(
      ([what, least]) => (tally.get(what) ?? 0) * 100 < least * cases,
    );
    expect(tooRare).toEqual([]);
  }, 3_600_000);
});

/** The position of the board alone: it shrinks to the same case again, and the whole path has hundreds of steps. */
function boardOf(path: string | null): string {
  return (path ?? '0').split(':')[0] as string;
}

function report(tally: Tally): string {
  const cases = tally.get('cases') ?? 0;
  const parts = [...tally]
    .filter(([what]) => what !== 'cases')
    .sort((a, b) => b[1] - a[1])
    .map(([what, count]) => `${what} ${((count * 100) / cases).toFixed(1)}`);
  return `${cases} cases, in %: ${parts.join(', ')}`;
}

function hexes(cards: readonly (number | string)[] | undefined): string {
  return (cards ?? []).map((card) => (typeof card === 'number' ? card.toString(16) : card)).join(' ');
}
