import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mutated, placesIn } from './places.mjs';
import { TestRunner } from './test-runner.mjs';
import { copyWorkspace } from './workspace-copy.mjs';

/** Times the limit, for a test file that ran into it. */
const PATIENCE = 3;
/** So many test files that do not end are no accident. */
const ENOUGH_LATE = 3;

export function mutantsOf(packageFolder, files) {
  const mutants = files.flatMap((file) => {
    const text = readFileSync(join(packageFolder, file), 'utf8');
    const lines = text.split('\n');
    return placesIn(file, text).map((place) => ({ file, ...place, code: lines[place.line - 1].trim() }));
  });
  return mutants.map((mutant, index) => ({ number: index + 1, ...mutant }));
}

export async function runCampaign({
  packageFolder,
  files,
  only,
  jobs = 1,
  env = {},
  limitMs = (usualMs) => 5 * usualMs + 5000,
  onResult = () => {},
}) {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'lab-mutate-')));
  const runners = [];
  const cleanUp = () => {
    for (const runner of runners) runner.stop();
    rmSync(scratch, { recursive: true, force: true });
  };
  process.once('exit', cleanUp);
  try {
    // One copy of the checkout, and the others from that: an edit during the campaign is in none of them.
    const first = copyWorkspace(packageFolder, join(scratch, '0'));
    const waiting = mutantsOf(first, files).filter(
      ({ number }) => only === undefined || only.includes(number),
    );
    for (let job = 0; job < Math.min(jobs, waiting.length); job++) {
      const folder = job === 0 ? first : copyWorkspace(first, join(scratch, String(job)));
      runners.push(new TestRunner(folder, join(scratch, 'jest'), env));
    }
    if (waiting.length === 0) return [];
    const tests = await timedTests(runners[0]);
    const reaching = new Map();
    for (const file of new Set(waiting.map((mutant) => mutant.file))) {
      const names = new Set(await runners[0].testFiles(file));
      const own = tests.filter((test) => names.has(test.file)).map((test) => ({ ...test })); // kills are counted by file
      reaching.set(file, own);
    }
    const results = [];
    const work = async (runner) => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const result = { ...mutant, ...(await judge(runner, mutant, reaching.get(mutant.file), limitMs)) };
        results.push(result);
        onResult(result);
      }
    };
    await Promise.all(runners.map(work));
    return results.sort((a, b) => a.number - b.number);
  } finally {
    process.off('exit', cleanUp);
    cleanUp();
  }
}

/** The test files and how long each takes. They have to pass as the code stands. */
async function timedTests(runner) {
  const tests = [];
  for (const file of await runner.testFiles()) {
    const { outcome, ms, error } = await runner.run(file);
    if (outcome !== 'passed')
      throw new Error(`${file} ${outcome} without any mutant${error === undefined ? '' : `: ${error}`}`);
    tests.push({ file, usualMs: ms, spentMs: ms, kills: 1 });
  }
  if (tests.length === 0) throw new Error('the package has no tests');
  return tests;
}

async function judge(runner, mutant, tests, limitMs) {
  const path = join(runner.folder, mutant.file);
  const original = readFileSync(path, 'utf8');
  writeFileSync(path, mutated(original, mutant));
  const run = async (test, limit) => {
    const { outcome, ms } = await runner.run(test.file, limit);
    test.spentMs += ms;
    if (outcome !== 'passed') test.kills++;
    return outcome;
  };
  try {
    const late = [];
    // First those that have killed most for their time.
    for (const test of tests.toSorted((a, b) => b.kills / b.spentMs - a.kills / a.spentMs)) {
      const outcome = await run(test, limitMs(test.usualMs));
      if (outcome === 'timed out') {
        if (late.push(test) === ENOUGH_LATE) break;
      } else if (outcome !== 'passed') return { status: 'killed', by: test.file };
    }
    // A property that fails may look for a smaller case for long, and the machine may be busy: they get more time.
    for (const test of late) {
      const outcome = await run(test, PATIENCE * limitMs(test.usualMs));
      if (outcome !== 'passed')
        return { status: outcome === 'timed out' ? outcome : 'killed', by: test.file };
    }
    return { status: 'survived' };
  } finally {
    writeFileSync(path, original);
  }
}
