import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Leaves the counts of a run in `.jest/`, an output of the test task: a run from the cache brings them back. */
export default class CountsReporter {
  constructor(globalConfig) {
    this.folder = join(globalConfig.rootDir, '.jest');
  }

  onRunComplete(_contexts, results) {
    const counts = {
      passed: results.numPassedTests,
      // A suite that cannot be loaded has no tests to count, but it has failed.
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
    };
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(join(this.folder, 'counts.json'), `${JSON.stringify(counts)}\n`);
  }
}
