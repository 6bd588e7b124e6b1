/**
 * The order of a run: native program and model take turns, process by process, so that a machine that slows down
 * slows both.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ALLOCATION_FLAGS } from './allocation.ts';
import type { BenchCase } from './bench-case.ts';
import type { Floor, FloorResult } from './floor.ts';
import type { Options } from './options.ts';
import type { CaseResult } from './result.ts';
import { summarize } from './statistics.ts';
import type { BundledSuite, Tool } from './suite.ts';
import type { WorkerOrder, WorkerResult } from './worker.ts';

/** Lets it be seen that something happens. */
export type Progress = (line: string) => void;

/** Measures every case that `options` choose. A case that fails has an `error`, and the others go on. */
export function runSuites(
  suites: readonly BundledSuite[],
  options: Options,
  tool: Tool,
  floor: Floor | undefined,
  progress: Progress,
): readonly CaseResult[] {
  const running = suites.flatMap(({ module, cases }) =>
    chosen(cases, options.only).map((bench) => new RunningCase(bench, module, options, tool, floor)),
  );
  for (const each of running) {
    progress(`${each.bench.name}: result and allocation`);
    each.measureAllocation();
  }
  for (let process = 1; process <= options.processes; process++) {
    for (const each of running) {
      progress(`${each.bench.name}: process ${process} of ${options.processes}`);
      each.measureTime();
    }
  }
  return running.map((each) => each.result());
}

/** The cases whose name contains one of `texts`; all without any. */
export function chosen(cases: readonly BenchCase[], texts: readonly string[]): readonly BenchCase[] {
  if (texts.length === 0) return cases;
  const wanted = texts.map((text) => text.toLowerCase());
  return cases.filter(({ name }) => wanted.some((text) => name.toLowerCase().includes(text)));
}

class RunningCase {
  readonly bench: BenchCase;
  readonly #module: string;
  readonly #options: Options;
  readonly #tool: Tool;
  readonly #floor: Floor | undefined;
  readonly #own: number[] = [];
  readonly #plain: number[] = [];
  readonly #native: number[] = [];
  #bytes: number | undefined;
  #error: string | undefined;

  constructor(bench: BenchCase, module: string, options: Options, tool: Tool, floor: Floor | undefined) {
    this.bench = bench;
    this.#module = module;
    this.#options = options;
    this.#tool = tool;
    this.#floor = floor;
  }

  measureAllocation(): void {
    this.#attempt(() => {
      this.#bytes = this.#inProcess('allocation', ALLOCATION_FLAGS).bytes;
    });
  }

  measureTime(): void {
    this.#attempt(() => {
      const { floor } = this.bench;
      const native =
        floor === undefined ? undefined : this.#floor?.run(floor, this.#options.milliseconds / 2);
      const own = this.#inProcess('time', ['--expose-gc']);
      if (native !== undefined) {
        expectSame(own, native);
        this.#native.push(native.ns);
      }
      this.#own.push(own.ns);
      if (own.plainNs !== undefined) this.#plain.push(own.plainNs);
    });
  }

  result(): CaseResult {
    const { name, floor, targets = [] } = this.bench;
    if (this.#error !== undefined) return { name, error: this.#error };
    const yardstick = this.#plain.length > 0 ? 'plain loop' : floor === undefined ? 'none' : 'C';
    const values = yardstick === 'C' ? this.#native : this.#plain;
    return {
      name,
      ns: summarize(this.#own),
      yardstick,
      ...(values.length === 0 ? {} : { yardstickNs: summarize(values) }),
      bytes: this.#bytes as number,
      targets,
    };
  }

  #attempt(measurement: () => void): void {
    if (this.#error !== undefined) return;
    try {
      measurement();
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
    }
  }

  #inProcess(mode: WorkerOrder['mode'], flags: readonly string[]): WorkerResult {
    const order: WorkerOrder = { name: this.bench.name, mode, milliseconds: this.#options.milliseconds };
    const program = join(this.#tool.folder, 'measure.mjs');
    const args = ['--single-threaded', ...flags, program, this.#module, JSON.stringify(order)];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr.trim() || `the process ended with ${status}`);
    return JSON.parse(stdout) as WorkerResult;
  }
}

/** Checksum and counts of the model and of the native program. @throws Error if they did not do the same. */
function expectSame(own: WorkerResult, native: FloorResult): void {
  if (own.checksum !== native.checksum) {
    throw new Error(`checksum ${own.checksum}, but ${native.checksum} in C`);
  }
  for (const [key, value] of Object.entries(native.counts)) {
    if (own.counts[key] !== undefined && own.counts[key] !== value) {
      throw new Error(`${key}: ${own.counts[key]}, but ${value} in C`);
    }
  }
}
