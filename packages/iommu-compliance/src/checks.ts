/** All checks, aspect by aspect. */
import { attach } from './aspects/attach.ts';
import { domainLife } from './aspects/domain-life.ts';
import { errors } from './aspects/errors.ts';
import { failNth } from './aspects/fail-nth.ts';
import { faults } from './aspects/faults.ts';
import { invalidation } from './aspects/invalidation.ts';
import { isolation } from './aspects/isolation.ts';
import { manifest } from './aspects/manifest.ts';
import { mapUnmap } from './aspects/map-unmap.ts';
import { modelRandom } from './aspects/model-random.ts';
import { pageSizes } from './aspects/page-sizes.ts';
import { permissions } from './aspects/permissions.ts';
import { switching } from './aspects/switch.ts';
import { teardown } from './aspects/teardown.ts';
import { translation } from './aspects/translation.ts';
import type { Check } from './check.ts';

/** The contract. */
export const COMPLIANCE_CHECKS: readonly Check[] = [
  manifest,
  domainLife,
  attach,
  mapUnmap,
  pageSizes,
  permissions,
  translation,
  invalidation,
  isolation,
  switching,
  faults,
  errors,
  teardown,
  modelRandom,
  failNth,
].flat();
