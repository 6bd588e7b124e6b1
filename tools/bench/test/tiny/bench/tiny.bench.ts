/** Cases whose every answer is known, and some that must be found out. */
import { benchCase, type BenchCase, type PreparedCase } from '../../../src/index.ts';

const OPERATIONS = 1000;

class Empty {}

const kept: unknown[] = ['not a number', new Empty()];

function half(i: number): number {
  kept[0] = i + 0.5;
  return i;
}

function object(i: number): number {
  kept[0] = new Empty();
  return i;
}

function loopOf(work: (i: number) => number): () => number {
  return () => {
    let sum = 0;
    for (let i = 0; i < OPERATIONS; i++) sum += work(i);
    return sum;
  };
}

function tiny(name: string, prepare: () => PreparedCase, extra: Partial<BenchCase> = {}): BenchCase {
  return benchCase({ name, operations: OPERATIONS, prepare, ...extra });
}

/** Every run finds the same; what `undo` does and allocates is more than what `run` does, and counts for nothing. */
function undone(): PreparedCase {
  let isClean = true;
  const objects = loopOf(object);
  return {
    run: () => {
      if (!isClean) throw new Error('not undone');
      isClean = false;
      return objects();
    },
    undo: () => {
      for (let i = 0; i < 10; i++) objects();
      isClean = true;
    },
    verify: () => {},
  };
}

const right = (work: (i: number) => number): PreparedCase => ({ run: loopOf(work), verify: () => {} });

/** The cases. */
export default [
  tiny('allocates nothing', () => right((i) => i), { targets: [{ kind: 'bytes', most: 0 }] }),
  tiny('allocates 16 bytes', () => right(half), { targets: [{ kind: 'bytes', most: 0 }] }),
  tiny('allocates 24 bytes', () => right(object)),
  tiny('allocates 24 bytes, undone', undone),
  tiny('beside a plain loop', () => ({ ...right((i) => i), plain: loopOf((i) => i) }), {
    targets: [
      { kind: 'yardstick', most: 1e6 },
      { kind: 'case', name: 'allocates nothing', most: 1e6 },
      { kind: 'case', name: 'no such case', most: 1e6 },
    ],
  }),
  tiny('wrong: verify', () => ({
    ...right((i) => i),
    verify: () => {
      throw new Error('not what it should be');
    },
  })),
  tiny('wrong: checksum', () => {
    let runs = 0;
    return { run: () => runs++, verify: () => {} };
  }),
  tiny('wrong: counts', () => {
    let count = 0;
    return {
      run: () => {
        count++;
        return 0;
      },
      verify: () => {},
      counters: () => ({ walks: count }),
      expected: { walks: 2 },
    };
  }),
  tiny('wrong: no longer what was verified', () => {
    let runs = 0;
    return {
      run: () => {
        runs++;
        return 0;
      },
      verify: () => {
        if (runs > 2) throw new Error('wrong in the end');
      },
    };
  }),
  tiny('wrong: other than C', () => right((i) => i), {
    floor: { program: 'smmu', args: ['hot one page', '64'] },
  }),
] as readonly BenchCase[];
