import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { RunnerByFile, type InnerRunner, type MutantRunResult } from '../runner-by-file.mjs';

const HOME = process.cwd();
let folder = '';

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'files-')));
  mkdirSync(join(folder, 'test'));
  for (const name of ['a.test.ts', 'b.test.ts', 'c.test.ts', 'support.ts'])
    writeFileSync(join(folder, 'test', name), '');
  process.chdir(folder);
});

afterEach(() => {
  process.chdir(HOME);
  rmSync(folder, { recursive: true, force: true });
});

/** Every file has one test, named after it; those in `noticing` fail. Notes which files it ran. */
class FakeInner implements InnerRunner {
  readonly ran: string[] = [];
  noticing: string[] = [];

  capabilities(): unknown {
    return {};
  }

  async init(): Promise<void> {}

  dryRun(): Promise<unknown> {
    return this.run({});
  }

  async mutantRun(): Promise<MutantRunResult> {
    const { dryRunResult } = await this.run({ testNamePattern: 'whatever' });
    const tests = dryRunResult.tests ?? [];
    return tests.some(({ id }) => this.noticing.includes(id))
      ? { status: 'killed', nrOfTests: tests.length }
      : { status: 'survived', nrOfTests: tests.length };
  }

  async run(settings: {
    testFiles?: string[];
    testNamePattern?: string;
  }): Promise<{ dryRunResult: { tests: { id: string }[] } }> {
    const names = (settings.testFiles ?? []).map((path) => basename(path, '.test.ts'));
    this.ran.push(...(settings.testFiles === undefined ? ['all'] : names));
    return { dryRunResult: { tests: names.map((id) => ({ id })) } };
  }
}

const MUTANT = { sandboxFileName: 'src/x.ts' };

test('a mutant survives when every file has run, each on its own', async () => {
  const inner = new FakeInner();
  const runner = new RunnerByFile(inner);
  await runner.init();
  expect(await runner.mutantRun(MUTANT)).toEqual({ status: 'survived', nrOfTests: 3 });
  expect(inner.ran.sort()).toEqual(['a', 'b', 'c']);
});

test('nothing runs after the file that noticed, and that file is first for the next mutant', async () => {
  const inner = new FakeInner();
  const runner = new RunnerByFile(inner);
  await runner.init();
  inner.noticing = ['b'];
  expect(await runner.mutantRun(MUTANT)).toEqual({ status: 'killed', nrOfTests: 2 });
  expect(inner.ran).toEqual(['a', 'b']);
  inner.ran.length = 0;
  await runner.mutantRun(MUTANT);
  expect(inner.ran).toEqual(['b']);
});

test('a file known to have no test that reaches the mutant does not run', async () => {
  const inner = new FakeInner();
  const runner = new RunnerByFile(inner);
  await runner.init();
  await runner.mutantRun(MUTANT);
  inner.ran.length = 0;
  await runner.mutantRun({ ...MUTANT, testFilter: ['c'] });
  expect(inner.ran).toEqual(['c']);
});

test('the run without a mutant takes all files at once', async () => {
  const inner = new FakeInner();
  const runner = new RunnerByFile(inner);
  await runner.init();
  await runner.dryRun({});
  expect(inner.ran).toEqual(['all']);
});
