/** The checks as Jest tests. */
import { describe, test } from '@jest/globals';
import type { Check } from './check.ts';
import { COMPLIANCE_CHECKS } from './checks.ts';
import type { BackendUnderTest } from './fixture.ts';
import { runCheck } from './run-checks.ts';

/** Registers every check as a test of the running test file: a backend's whole compliance test is this one call. */
export function describeIommuBackend(backend: BackendUnderTest): void {
  describe(`${backend.name}: the IOMMU contract`, () => {
    for (const aspect of new Set(COMPLIANCE_CHECKS.map((check) => check.aspect))) {
      describe(`${aspect}`, () => {
        for (const check of COMPLIANCE_CHECKS) if (check.aspect === aspect) register(backend, check);
      });
    }
  });
}

function register(backend: BackendUnderTest, check: Check): void {
  const checkIt = (): void => runCheck(backend, check);
  test(`${check.name}`, () => {
    checkIt();
  });
}
