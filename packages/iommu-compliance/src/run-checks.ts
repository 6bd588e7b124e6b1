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

/**
 * Runs one check on a fixture of its own, and takes that down. @param onFailSite hears of each step that could be made to
 * fail @throws what the check throws
 */
export function runCheck(backend: BackendUnderTest, check: Check, onFailSite?: (site: string) => void): void {
  const fixture = backend.create();
  try {
    check.run(fixture, backend.random, onFailSite);
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

/**
 * The failpoints that the aspect `fail-nth` reaches, hence makes fail one by one: sorted, each once, without those of the
 * kit's own IOMMU of another kind. A backend's test pins them, so that a step that is new, or no longer reached, shows.
 * @throws what a check throws
 */
export function failSites(backend: BackendUnderTest): readonly string[] {
  const sites = new Set<string>();
  for (const check of COMPLIANCE_CHECKS) {
    if (check.aspect === 'fail-nth') runCheck(backend, check, (site) => sites.add(site));
  }
  return [...sites].filter((site) => !site.startsWith('reference.')).sort();
}
