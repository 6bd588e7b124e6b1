/** The checks as Jest tests. */
import { describe, test } from '@jest/globals';
import type { Check } from './check.ts';
import { COMPLIANCE_CHECKS } from './checks.ts';
import { caught } from './demand.ts';
import type { BackendUnderTest } from './fixture.ts';
import { runCheck } from './run-checks.ts';

/** Registers every check as a test of the running test file: a backend's whole compliance test is this one call. */
export function describeIommuBackend(backend: BackendUnderTest): void {
  const run = backend.stopAtFirst === true ? untilOneFails(backend) : runCheck.bind(undefined, backend);
  describe(`${backend.name}: the IOMMU contract`, () => {
    for (const aspect of new Set(COMPLIANCE_CHECKS.map((check) => check.aspect))) {
      describe(`${aspect}`, () => {
        for (const check of COMPLIANCE_CHECKS) if (check.aspect === aspect) register(check, run);
      });
    }
  });
}

function register(check: Check, checkIt: (check: Check) => void): void {
  test(`${check.name}`, () => {
    checkIt(check);
  });
}

/** Once a check has failed, the others are not run. */
function untilOneFails(backend: BackendUnderTest): (check: Check) => void {
  let hasFailed = false;
  return (check) => {
    if (hasFailed) return;
    const error = caught(() => runCheck(backend, check));
    hasFailed = error !== undefined;
    if (hasFailed) throw error;
  };
}
