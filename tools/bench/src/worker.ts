/** The measuring process: prepares one case, sees that it does what it says, and measures it. */
import { Bench } from 'tinybench';
import { allocatedBytes } from './allocation.ts';
import type { BenchCase, PreparedCase } from './bench-case.ts';

/** What a process is to do with a case. */
export interface WorkerOrder {
  readonly name: string;
  readonly mode: 'time' | 'allocation';
  readonly milliseconds: number;
}

/** What it found; the last line it writes. */
export interface WorkerResult {
  /** Nanoseconds per operation, median over the runs. 0 in mode `allocation`, as the next. */
  readonly ns: number;
  readonly plainNs?: number;
  /** Bytes allocated per operation. */
  readonly bytes?: number;
  readonly checksum: number;
  /** What one run adds to the counters. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Carries out `order` on the case of that name. @throws Error when a result is wrong. */
export async function measure(cases: readonly BenchCase[], order: WorkerOrder): Promise<WorkerResult> {
  const bench = cases.find(({ name }) => name === order.name);
  if (bench === undefined) throw new Error(`there is no case '${order.name}'`);
  const prepared = bench.prepare();
  prepared.verify();
  prepared.run(); // what is cached is cached from here on
  prepared.undo?.();
  const { checksum, counts } = countedRun(prepared);
  expectCounts(counts, prepared.expected ?? {}, 1);

  let runs = 0;
  const counted = (): number => {
    runs++;
    const sum = prepared.run();
    if (sum !== checksum) throw new Error(`checksum ${sum} after ${checksum}: the runs do not do the same`);
    return sum;
  };
  const before = prepared.counters?.() ?? {};
  const found =
    order.mode === 'time' ? time(counted, prepared, order) : await allocation(counted, prepared, order);
  expectCounts(difference(prepared.counters?.() ?? {}, before), counts, runs);
  prepared.verify();
  const perOperation = 1 / bench.operations;
  return {
    ns: found.ns * perOperation,
    ...(found.plainNs === undefined ? {} : { plainNs: found.plainNs * perOperation }),
    ...(found.bytes === undefined ? {} : { bytes: found.bytes * perOperation }),
    checksum: checksum >>> 0,
    counts,
  };
}

interface Found {
  readonly ns: number;
  readonly plainNs?: number;
  readonly bytes?: number;
}

function time(run: () => number, prepared: PreparedCase, { milliseconds }: WorkerOrder): Found {
  const harness = new Bench({
    time: milliseconds,
    warmupTime: milliseconds / 2,
    iterations: 5,
    throws: true,
    now: cpuMilliseconds,
  });
  harness.add('run', run, { async: false, afterEach: () => prepared.undo?.() });
  if (prepared.plain !== undefined) harness.add('plain', () => prepared.plain?.(), { async: false });
  const [own, plain] = harness.runSync().map(({ result }) => {
    if (result.state !== 'completed') throw new Error(`tinybench: ${result.state}`);
    return result.latency.p50 * 1e6;
  });
  return { ns: own as number, ...(plain === undefined ? {} : { plainNs: plain }) };
}

async function allocation(
  run: () => number,
  prepared: PreparedCase,
  { milliseconds }: WorkerOrder,
): Promise<Found> {
  // Optimised code allocates less; what is measured is what a long simulation sees.
  const until = cpuMilliseconds() + milliseconds;
  let calls = 0;
  for (; cpuMilliseconds() < until; calls++) {
    run();
    prepared.undo?.();
  }
  return { ns: 0, bytes: await allocatedBytes(run, Math.ceil(calls / 4), prepared.undo?.bind(prepared)) };
}

/** Time this process has had on a core: a machine that others use as well does not count. */
function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function countedRun(prepared: PreparedCase): { checksum: number; counts: Record<string, number> } {
  const before = prepared.counters?.() ?? {};
  const checksum = prepared.run();
  const counts = difference(prepared.counters?.() ?? {}, before);
  prepared.undo?.();
  return { checksum, counts };
}

function difference(
  after: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)]));
}

function expectCounts(
  counts: Readonly<Record<string, number>>,
  expected: Readonly<Record<string, number>>,
  runs: number,
): void {
  for (const [key, value] of Object.entries(expected)) {
    if (counts[key] !== value * runs)
      throw new Error(`${key}: ${counts[key]} in ${runs} runs, not ${value} in each`);
  }
}
