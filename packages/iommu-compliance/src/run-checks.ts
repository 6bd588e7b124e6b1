/** Runs the checks without a test runner. */
import type { Aspect, Check } from './check.ts';
import { COMPLIANCE_CHECKS } from './checks.ts';
import { caught } from './demand.ts';
import type { BackendUnderTest } from './fixture.ts';

export interface CheckResult {
  readonly aspect: Aspect;
  readonly name: string;
  /** What went wrong; undefined when the check passed. */
  readonly error: unknown;
}

/** Runs one check on a fixture of its own, and takes that down. @throws what the check throws */
export function runCheck(backend: BackendUnderTest, check: Check): void {
  const fixture = backend.create();
  try {
    check.run(fixture, backend.random);
  } finally {
    fixture.world.failpoints.reset();
    backend.destroy?.(fixture);
  }
}

/** Runs `checks` (all, unless given), in order. Nothing is thrown: failures are results. */
export function runComplianceChecks(
  backend: BackendUnderTest,
  checks: readonly Check[] = COMPLIANCE_CHECKS,
): readonly CheckResult[] {
  return checks.map((check) => ({
    aspect: check.aspect,
    name: check.name,
    error: caught(() => runCheck(backend, check)),
  }));
}
