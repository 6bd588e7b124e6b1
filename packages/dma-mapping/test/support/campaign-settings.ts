/** How long random tests are told what to run: by the environment. */

/** Seed of the runs in continuous integration, where each run is the same. */
const DEFAULT_SEED = 20100730;

export interface CampaignSettings {
  readonly seed: number;
  /** Number of runs; the test's own number unless given. */
  readonly runs: number | undefined;
  /** One run and the steps of shrinking from it, as fast-check writes it. */
  readonly path: string | undefined;
}

/** FC_SEED (a number, or `random`), FC_RUNS, FC_PATH. @throws Error on what is no number. */
export function campaignSettings(): CampaignSettings {
  const { FC_SEED, FC_RUNS, FC_PATH } = process.env;
  return {
    seed: FC_SEED === 'random' ? Date.now() & 0x7fffffff : (integer('FC_SEED', FC_SEED) ?? DEFAULT_SEED),
    runs: integer('FC_RUNS', FC_RUNS),
    path: FC_PATH === undefined || FC_PATH === '' ? undefined : FC_PATH,
  };
}

function integer(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined;
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Error(`${name} is not an integer: ${value}`);
  return number;
}
