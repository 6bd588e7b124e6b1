/**
 * Bytes that a function allocates on the JavaScript heap: what the used heap grows by, over a heap large enough that
 * nothing is collected in between, less what the measurement itself takes. A collection that happens nevertheless
 * shows as an entry of the performance timeline, and the measurement is made again with fewer runs.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';

/** The flags a measuring process needs. */
export const ALLOCATION_FLAGS: readonly string[] = [
  '--expose-gc',
  '--min-semi-space-size=64',
  '--max-semi-space-size=64',
];
const ROUNDS = 5;
/** Less than the process itself makes now and then; nothing that happens in every operation is that small. */
const NOISE_BYTES = 1024;

/**
 * Bytes one call of `run` allocates: the least of some rounds, for what every call does is in each of them.
 * @param undo called after each call; what it allocates does not count
 * @throws Error if each attempt meets a collection
 */
export async function allocatedBytes(run: () => number, calls: number, undo?: () => void): Promise<number> {
  for (let count = calls; count >= 1; count = Math.floor(count / 4)) {
    const empty: (number | undefined)[] = [];
    const full: (number | undefined)[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      empty.push(await heapGrowth(nothing, count, undo === undefined ? undefined : nothing));
      full.push(await heapGrowth(run, count, undo));
    }
    const [base, grown] = [leastOf(empty), leastOf(full)];
    if (base === undefined || grown === undefined) continue;
    return grown - base < NOISE_BYTES ? 0 : (grown - base) / count;
  }
  throw new Error('one call allocates more than the young generation holds');
}

/** undefined if a collection spoilt one of them. */
function leastOf(rounds: readonly (number | undefined)[]): number | undefined {
  return rounds.reduce((least, bytes) =>
    least === undefined || bytes === undefined ? undefined : Math.min(least, bytes),
  );
}

function nothing(): number {
  return 0;
}

/** undefined if there was a collection. */
async function heapGrowth(
  run: () => number,
  calls: number,
  undo: (() => void) | undefined,
): Promise<number | undefined> {
  const observer = new PerformanceObserver(() => {});
  globalThis.gc?.();
  await setImmediate();
  observer.observe({ entryTypes: ['gc'] });
  let growth = 0;
  if (undo === undefined) {
    const before = heapUsed();
    for (let i = 0; i < calls; i++) sink ^= run();
    growth = heapUsed() - before;
  } else {
    for (let i = 0; i < calls; i++) {
      const before = heapUsed();
      sink ^= run();
      growth += heapUsed() - before;
      undo();
    }
  }
  await setImmediate();
  const collections = observer.takeRecords().length;
  observer.disconnect();
  return collections === 0 ? growth : undefined;
}

function heapUsed(): number {
  return process.memoryUsage().heapUsed;
}

let sink = 0;
