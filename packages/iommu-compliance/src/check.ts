/** A check: one sentence about backends, and the program that finds out whether it holds. */
import { Bench } from './bench.ts';
import type { ComplianceFixture, RandomSettings } from './fixture.ts';

/** Parts of the contract. */
export type Aspect =
  | 'manifest'
  | 'domain-life'
  | 'attach'
  | 'map-unmap'
  | 'page-sizes'
  | 'permissions'
  | 'translation'
  | 'invalidation'
  | 'isolation'
  | 'switch'
  | 'faults'
  | 'errors'
  | 'teardown'
  | 'hotplug'
  | 'reserved-regions'
  | 'dirty'
  | 'address-space'
  | 'process'
  | 'model-random'
  | 'fail-nth';

export interface Check {
  readonly aspect: Aspect;
  /** What holds for every backend. */
  readonly name: string;
  /**
   * Judges the backend in a fresh fixture. @param onFailSite hears of each step that was made to fail, or could be
   * @throws ComplianceFailure, or whatever the backend throws
   */
  run(fixture: ComplianceFixture, random?: RandomSettings, onFailSite?: (site: string) => void): void;
}

/** The checks of one aspect, by what they hold. */
export function defineAspect(
  aspect: Aspect,
  checks: Readonly<Record<string, (bench: Bench, random: RandomSettings) => void>>,
): readonly Check[] {
  return Object.entries(checks).map(([name, judge]) => ({
    aspect,
    name,
    run(fixture, random = {}, onFailSite) {
      judge(new Bench(fixture, onFailSite), random);
    },
  }));
}
