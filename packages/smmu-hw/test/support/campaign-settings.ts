/** How a long random test is told what to run: by the environment, and how it tells what to run again. */

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

/** The command that runs one failed case again. */
export function rerunCommand(
  file: string,
  settings: { readonly seed: number; readonly path?: string | null; readonly runs?: number },
): string {
  const { seed, path, runs } = settings;
  const words = [
    `FC_SEED=${seed}`,
    ...(path == null ? [] : [`FC_PATH=${path}`]),
    ...(runs === undefined ? [] : [`FC_RUNS=${runs}`]),
  ];
  return `${words.join(' ')} pnpm --filter @iommu-lab/smmu-hw test ${file}`;
}

function integer(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined;
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Error(`${name} is not an integer: ${value}`);
  return number;
}
