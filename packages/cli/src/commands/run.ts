/** `iommu-lab run`: plays a scenario, shows how it goes, and writes what came of it. */
import { setImmediate } from 'node:timers/promises';
import {
  type Artifact,
  type Picture,
  playScenario,
  type Report,
  type RunProgress,
  type RunResult,
  type Scenario,
} from '@iommu-lab/board';
import type { LabEvent } from '@iommu-lab/machine';
import { type OutputFile, prepareFolder, REPORT_FILE, writeFiles } from '../output-folder.ts';
import { encodePicture, readPicture } from '../picture-file.ts';
import { showProgress } from '../render/progress.ts';
import { renderSummary } from '../render/summary.ts';
import { readScenario } from '../scenario-files.ts';

/** What the command line gives; `main.ts` says what each is for. */
export interface RunCommandOptions {
  readonly board?: string;
  readonly image?: string;
  readonly frames?: number;
  readonly out: string;
  readonly seed?: number;
  readonly json?: true;
}

/** @returns whether everything was as it should be. @throws UserError with nothing written */
export async function run(scenarioName: string, options: RunCommandOptions): Promise<boolean> {
  const scenario = withOverrides(readScenario(scenarioName, options.board), options);
  const scene = options.image === undefined ? undefined : readPicture(options.image);
  const takeFolderBack = prepareFolder(options.out);
  try {
    const played = await play(scenario, scene);
    const files = outputFiles(played);
    writeFiles(options.out, files, options.image);
    process.stdout.write(options.json === true ? json(played.report) : summary(played, options.out, files));
    return played.report.ok;
  } catch (error) {
    takeFolderBack();
    throw error;
  }
}

interface Played extends RunResult {
  readonly timings: Timings;
  /** The event log: a line of JSON for each. */
  readonly events: string;
}

async function play(scenario: Scenario, scene: Picture | undefined): Promise<Played> {
  const events: string[] = [];
  const timings = new Timings();
  const progress = showProgress();
  try {
    const playing = playScenario(scenario, {
      ...(scene === undefined ? {} : { scene }),
      onEvent: (event) => events.push(eventLine(event)),
    });
    for (;;) {
      const next = playing.next();
      timings.note(next.done === true ? undefined : next.value);
      if (next.done === true) return { ...next.value, timings, events: events.join('') };
      progress.show(next.value);
      await setImmediate(); // lets the terminal draw
    }
  } finally {
    progress.end();
  }
}

function outputFiles({ report, artifacts, timings, events }: Played): readonly OutputFile[] {
  return [
    ...artifacts.map(artifactFile),
    { name: REPORT_FILE, content: json(report) },
    { name: 'timings.json', content: json(timings.report()) },
    { name: 'events.ndjson', content: events },
  ];
}

function summary({ report, timings }: Played, folder: string, files: readonly OutputFile[]): string {
  return renderSummary(report, {
    wallMs: timings.totalMs,
    folder,
    files: files.map((file) => file.name),
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
  });
}

function withOverrides(scenario: Scenario, { frames, seed }: RunCommandOptions): Scenario {
  return {
    ...scenario,
    ...(frames === undefined ? {} : { frames }),
    ...(seed === undefined ? {} : { seed }),
  };
}

function artifactFile(artifact: Artifact): OutputFile {
  const { name } = artifact;
  switch (artifact.kind) {
    case 'picture':
      return { name, content: encodePicture(artifact.picture) };
    case 'bytes':
      return { name, content: artifact.bytes };
    case 'text':
      return { name, content: artifact.text };
  }
}

/** One event as a line of JSON: its place and time, who speaks, its name, then its own fields. */
function eventLine({ seq, ns, scope, name, fields }: LabEvent): string {
  return `${JSON.stringify({ seq, ns, scope, event: name, ...fields })}\n`;
}

function json(value: Report | TimingsReport): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

interface TimingsReport {
  readonly totalMs: number;
  readonly bootMs: number;
  /** By step, in order. */
  readonly stepMs: readonly number[];
}

/** Wall-clock times. They stand apart from the report, which repeats byte for byte. */
class Timings {
  readonly #start = performance.now();
  readonly #stepStarts: number[] = [];
  #end = 0;

  /** Called with each step's progress, and with nothing at the end. */
  note(progress: RunProgress | undefined): void {
    this.#end = performance.now();
    if (progress !== undefined && progress.step > this.#stepStarts.length) this.#stepStarts.push(this.#end);
  }

  get totalMs(): number {
    return Math.round(this.#end - this.#start);
  }

  report(): TimingsReport {
    const bounds = [...this.#stepStarts, this.#end];
    return {
      totalMs: this.totalMs,
      bootMs: Math.round((bounds[0] as number) - this.#start),
      stepMs: this.#stepStarts.map((start, i) => Math.round((bounds[i + 1] as number) - start)),
    };
  }
}
