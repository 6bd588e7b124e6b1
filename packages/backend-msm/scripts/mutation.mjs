#!/usr/bin/env node
// Changes one place of the driver at a time, in a copy, and asks the compliance kit alone whether it notices: bit operators
// and numbers as tools/mutation has them, statements left out, conditions turned round.
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { mutated, placesIn } from '../../../tools/mutation/places.mjs';
import { mutantLine, scoreTable } from '../../../tools/mutation/report.mjs';
import { TestRunner } from '../../../tools/mutation/test-runner.mjs';
import { copyWorkspace } from '../../../tools/mutation/workspace-copy.mjs';
import { statementsIn } from './statement-places.mjs';

const USAGE = `mutation.mjs [--files A,B] [--share N] [--only N,N] [--jobs N] [--json FILE] [--list]

  --files  files to mutate, relative to the package; without it, those that decide on registers and tables
  --share  every Nth mutant only (1: all); what an ended campaign has found is kept, and is a sample
  --only   the mutants of these numbers alone
  --jobs   test runs at a time (2)
  --json   where the results go (.mutation/compliance.json)
  --list   number the mutants and run nothing`;

const FILES = [
  'asids.ts',
  'bank-mover.ts',
  'bank-program.ts',
  'bank-state.ts',
  'fault-handler.ts',
  'held-access.ts',
  'hw.ts',
  'instance.ts',
  'msm-paging-table.ts',
  'msm-process-table.ts',
  'switch-in-place.ts',
  'switch-to-spare-bank.ts',
  'table-users.ts',
].map((file) => `src/${file}`);
/** Times what the tests usually take. */
const LIMIT = 10;

const home = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    files: { type: 'string' },
    share: { type: 'string', default: '1' },
    only: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    json: { type: 'string', default: '.mutation/compliance.json' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

if (values.help) console.log(USAGE);
else if (values.list) for (const mutant of mutantsOf(home)) console.log(mutantLine(mutant));
else await campaign();

async function campaign() {
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), 'msm-mutation-')));
  const runners = [];
  process.once('exit', () => {
    for (const runner of runners) runner.stop();
    rmSync(scratch, { recursive: true, force: true });
  });
  // One copy of the checkout, and the others from that: an edit during the campaign is in none of them.
  const first = copyWorkspace(home, join(scratch, '0'));
  const only = values.only?.split(',').map(Number);
  const waiting = mutantsOf(first).filter(({ number }) =>
    only === undefined ? number % Number(values.share) === 0 : only.includes(number),
  );
  // All over the files, always the same: a campaign that is ended early is a fair sample.
  waiting.sort((a, b) => scattered(a.number) - scattered(b.number));
  const env = { COMPLIANCE_STOP_AT_FIRST: '1' };
  for (let job = 0; job < Number(values.jobs); job++) {
    const folder = job === 0 ? first : copyWorkspace(first, join(scratch, String(job)));
    runners.push(new TestRunner(folder, join(scratch, 'jest'), env));
  }
  const tests = [];
  for (const file of await runners[0].testFiles()) {
    if (!/compliance[^/]*\.test\.ts$/.test(file) || file.includes('answers') || file.includes('sites'))
      continue;
    const { outcome, ms, error } = await runners[0].run(file);
    if (outcome !== 'passed') throw new Error(`${file} ${outcome} without any mutant: ${error ?? ''}`);
    tests.push({ file, ms, kills: 0 });
  }
  console.log(`${waiting.length} mutants; ${tests.map((t) => `${t.file} ${t.ms.toFixed(0)} ms`).join(', ')}`);
  const start = performance.now();
  const results = [];
  const work = async (runner) => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const result = { ...mutant, ...(await judge(runner, mutant, tests)) };
      results.push(result);
      if (only === undefined) save(results); // what is known, should the campaign be ended early
      if (result.status !== 'killed') console.log(mutantLine(result));
      if (results.length % 50 === 0) console.log(`${results.length} mutants, ${seconds(start)} s`);
    }
  };
  await Promise.all(runners.map(work));
  results.sort((a, b) => a.number - b.number);
  console.log(`\n${scoreTable(results)}\n${results.length} mutants in ${seconds(start)} s`);
  if (only === undefined) save(results);
}

function save(results) {
  const path = resolve(home, values.json);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`);
}

async function judge(runner, mutant, tests) {
  const path = join(runner.folder, mutant.file);
  const original = readFileSync(path, 'utf8');
  writeFileSync(path, mutated(original, mutant));
  try {
    for (const test of tests.toSorted((a, b) => b.kills - a.kills)) {
      const { outcome } = await runner.run(test.file, LIMIT * test.ms + 5000);
      if (outcome === 'passed') continue;
      test.kills++;
      return { status: outcome === 'timed out' ? outcome : 'killed', by: test.file };
    }
    return { status: 'survived' };
  } finally {
    writeFileSync(path, original);
  }
}

function mutantsOf(folder) {
  const files = values.files?.split(',') ?? FILES;
  const mutants = files.flatMap((file) => {
    const text = readFileSync(join(folder, file), 'utf8');
    const lines = text.split('\n');
    const places = [...placesIn(file, text), ...statementsIn(file, text)].sort((a, b) => a.start - b.start);
    return places.map((place) => ({ file, ...place, code: lines[place.line - 1].trim() }));
  });
  return mutants.map((mutant, index) => ({ number: index + 1, ...mutant }));
}

function scattered(number) {
  return (number * 7919) % 10007;
}

function seconds(start) {
  return ((performance.now() - start) / 1000).toFixed(0);
}
