/** Plays a scenario on a fresh system and tells how it went. */
import { isLabError, type LabEvent } from '@iommu-lab/machine';
import { createSystem } from '../create-system.ts';
import type { DmaSettings } from '../dma-settings.ts';
import { type Picture, picture } from '../picture.ts';
import type { System } from '../system.ts';
import { testCard } from '../test-card.ts';
import { Accounting } from './accounting.ts';
import { recordFaults } from './fault-record.ts';
import { startJob } from './jobs/index.ts';
import type { Artifact, JobContext, JobOutcome } from './jobs/job.ts';
import type { Report, StepReport } from './report.ts';
import type { Scenario, Step } from './schema.ts';
import { Stage } from './stage.ts';

/** What a run gets besides its scenario; all of it has a default. */
export interface RunOptions {
  /** What the camera sees; a test card unless given. */
  readonly scene?: Picture;
  /** Hears of every event from the first on. */
  readonly onEvent?: (event: LabEvent) => void;
  /** May look at the system, and tamper with it, before the first step. */
  readonly prepare?: (system: System) => void;
}

/** Where a run is. */
export interface RunProgress {
  /** From 1. */
  readonly step: number;
  readonly steps: number;
  readonly what: string;
}

/** What a run leaves: the report, and what its steps made, in order. */
export interface RunResult {
  readonly report: Report;
  readonly artifacts: readonly Artifact[];
}

/**
 * Runs to the end.
 * @throws LabError ENODEV for a board that is not there, EINVAL for a scene that is no picture. What goes wrong
 * in a step is in the report
 */
export function runScenario(scenario: Scenario, options: RunOptions = {}): RunResult {
  const run = playScenario(scenario, options);
  for (;;) {
    const next = run.next();
    if (next.done === true) return next.value;
  }
}

/** `runScenario` as a generator, which yields before each piece of work, so that a caller can show progress. */
export function* playScenario(
  scenario: Scenario,
  options: RunOptions = {},
): Generator<RunProgress, RunResult, void> {
  const { width, height, pixels } = options.scene ?? testCard();
  const stage = new Stage(picture(width, height, pixels));
  const { board, seed, hardware, frames } = scenario;
  const settings = { board, seed, ...hardware };
  const system = createSystem({
    ...settings,
    outside: { sensor: stage.sensor, panel: stage.panel },
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  const accounting = new Accounting(system);
  options.prepare?.(system);
  let shown = 0;
  const context = {
    system,
    seed,
    makeSystem: (dma: DmaSettings) => createSystem({ ...settings, dma }),
    stage,
    frames,
    countFrame: () => shown++,
  };
  const steps: StepReport[] = [];
  const faults = recordFaults(system, () => steps.length);
  const artifacts: Artifact[] = [];

  for (const step of scenario.steps) {
    const outcome = yield* playStep(step, context, (what) => ({
      step: steps.length + 1,
      steps: scenario.steps.length,
      what: `${step.do}: ${what}`,
    }));
    for (const artifact of outcome.artifacts) artifacts.push(withUniqueName(artifact, artifacts));
    steps.push({
      do: step.do,
      title: outcome.title,
      ok: outcome.problems.length === 0,
      results: outcome.results,
      problems: outcome.problems,
    });
  }

  const report: Report = {
    schemaVersion: 1,
    scenario: scenario.name,
    board,
    seed,
    ok: steps.every((step) => step.ok),
    modelTimeNs: system.world.clock.now,
    steps,
    iommus: accounting.report(),
    faults,
    artifacts: artifacts.map((artifact) => artifact.name),
  };
  return { report, artifacts };
}

/** A step that misuses the stack fails, and the next one runs. However it ends, it gives back what it holds. */
function* playStep(
  step: Step,
  context: Omit<JobContext, 'atEnd'>,
  progress: (what: string) => RunProgress,
): Generator<RunProgress, JobOutcome, void> {
  const held: (() => void)[] = [];
  const failures: string[] = [];
  const attempt = <T>(action: () => T): T | undefined => {
    try {
      return action();
    } catch (error) {
      if (!isLabError(error)) throw error;
      failures.push(error.message);
      return undefined;
    }
  };
  const job = startJob({ ...context, atEnd: (giveBack) => held.push(giveBack) }, step);
  let next = attempt(() => job.next());
  while (next !== undefined && next.done !== true) {
    yield progress(next.value);
    next = attempt(() => job.next());
  }
  for (const giveBack of held.reverse()) attempt(giveBack);
  const outcome =
    next?.done === true ? next.value : { title: step.do, results: [], problems: [], artifacts: [] };
  return { ...outcome, problems: [...outcome.problems, ...failures] };
}

/** Steps of a kind may leave the same name twice: the second becomes `canvas-painter-2.png`. */
function withUniqueName(artifact: Artifact, others: readonly Artifact[]): Artifact {
  const [, stem, ending] = /^(.*)(\.[a-z]+)$/.exec(artifact.name) ?? ['', artifact.name, ''];
  let { name } = artifact;
  for (let n = 2; others.some((other) => other.name === name); n++) name = `${stem}-${n}${ending}`;
  return { ...artifact, name };
}
