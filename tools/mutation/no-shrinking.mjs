// Of Jest, before each test file: a property that fails has failed. The smallest case would interest nobody here, and
// the search for it may take longer than all other tests together.
import { readFileSync } from 'node:fs';
import { expect } from '@jest/globals';

const { testPath } = expect.getState();
if (readFileSync(testPath, 'utf8').includes(`from 'fast-check'`)) {
  const { default: fc } = await import('fast-check'); // for those files alone: it takes a while to load
  fc.configureGlobal({ endOnFailure: true });
}
