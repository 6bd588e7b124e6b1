#!/usr/bin/env node
// Mutates bit operators and numbers of the package in the working directory (in a copy of it), and reports what its
// tests do not notice.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { mutantsOf, runCampaign } from './campaign.mjs';
import { mutantLine, scoreTable } from './report.mjs';

const USAGE = `lab-mutate [--files A,B] [--only N,N] [--jobs N] [--json FILE] [--list]

  --files  files to mutate, relative to the package; without it, those of stryker.config.mjs
  --only   the mutants of these numbers alone
  --jobs   test runs at a time (1)
  --json   also write the results of a whole campaign to FILE
  --list   number the mutants and run nothing`;

const { values } = parseArgs({
  options: {
    files: { type: 'string', multiple: true },
    only: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    json: { type: 'string' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

if (values.help) console.log(USAGE);
else await main();

async function main() {
  const packageFolder = process.cwd();
  const files = values.files?.flatMap((list) => list.split(',')) ?? (await filesOfStryker(packageFolder));
  const missing = files.filter((file) => !existsSync(resolve(packageFolder, file)));
  if (missing.length > 0) throw new Error(`no such file: ${missing.join(', ')}`);
  const only = values.only?.split(',').map((number) => count('only', number));
  if (values.list) {
    for (const mutant of mutantsOf(packageFolder, files)) console.log(mutantLine(mutant));
    return;
  }
  const start = performance.now();
  let done = 0;
  const results = await runCampaign({
    packageFolder,
    files,
    only,
    jobs: count('jobs', values.jobs),
    onResult: (result) => {
      if (++done % 50 === 0) console.log(`${done} mutants, ${seconds(start)} s`);
      if (result.status !== 'killed' || only !== undefined) console.log(mutantLine(result));
    },
  });
  console.log(`\n${scoreTable(results)}\n${results.length} mutants in ${seconds(start)} s`);
  if (values.json !== undefined && only === undefined) {
    mkdirSync(dirname(resolve(values.json)), { recursive: true });
    writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  }
}

/** One list for both tools; `bitsToo` are files of other packages, which Stryker cannot reach. */
async function filesOfStryker(packageFolder) {
  const config = await import(pathToFileURL(resolve(packageFolder, 'stryker.config.mjs')).href);
  return [...config.default.mutate, ...(config.bitsToo ?? [])];
}

function count(option, text) {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${option} takes numbers from 1 up`);
  return number;
}

function seconds(start) {
  return ((performance.now() - start) / 1000).toFixed(0);
}
