import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** In tools/jest-preset: `test/**` with this ending. */
const ENDING = '.test.ts';

export class RunnerByFile {
  #inner;
  #files = [];
  /** By mutated file, for each test file: how often it noticed, in what time. */
  #records = new Map();
  #current;

  constructor(inner) {
    this.#inner = inner;
    const run = inner.run.bind(inner);
    inner.run = async (settings) => {
      const file = this.#current;
      if (file === undefined) return run(settings);
      const result = await run({ ...settings, testFiles: [file.path], testNamePattern: undefined });
      file.tests ??= result.dryRunResult.tests?.map(({ id }) => id);
      return result;
    };
  }

  capabilities() {
    return this.#inner.capabilities();
  }

  async init() {
    await this.#inner.init();
    const names = readdirSync('test', { recursive: true, encoding: 'utf8' });
    this.#files = names
      .filter((name) => name.endsWith(ENDING))
      .sort()
      .map((name) => ({ path: resolve(join('test', name)), tests: undefined }));
  }

  dryRun(options) {
    return this.#inner.dryRun(options);
  }

  async mutantRun({ testFilter, ...options }) {
    const covering = testFilter && new Set(testFilter);
    let nrOfTests = 0;
    for (const record of this.#recordsOf(options.sandboxFileName)) {
      // What a file contains is known once it ran.
      if (covering && record.file.tests?.every((id) => !covering.has(id))) continue;
      const start = performance.now();
      this.#current = record.file;
      const result = await this.#inner.mutantRun(options).finally(() => (this.#current = undefined));
      record.spentMs += performance.now() - start;
      nrOfTests += result.nrOfTests ?? 0;
      if (result.status !== 'survived') {
        record.found++;
        return 'nrOfTests' in result ? { ...result, nrOfTests } : result;
      }
    }
    return { status: 'survived', nrOfTests };
  }

  async dispose() {
    await this.#inner.dispose?.();
  }

  /** The test files, first those that found most for their time. */
  #recordsOf(mutatedFile) {
    let records = this.#records.get(mutatedFile);
    if (records === undefined) {
      records = this.#files.map((file) => ({ file, spentMs: 1000, found: 1 }));
      this.#records.set(mutatedFile, records);
    }
    return records.toSorted((a, b) => b.found / b.spentMs - a.found / a.spentMs);
  }
}
