/** All checks, aspect by aspect. */
import { addressSpace } from './aspects/address-space.ts';
import { addressSpaceRandom } from './aspects/address-space-random.ts';
import { attach } from './aspects/attach.ts';
import { dirty } from './aspects/dirty.ts';
import { domainLife } from './aspects/domain-life.ts';
import { errors } from './aspects/errors.ts';
import { failNth } from './aspects/fail-nth.ts';
import { failNthOfSpaces } from './aspects/fail-nth-spaces.ts';
import { faults } from './aspects/faults.ts';
import { hotplug } from './aspects/hotplug.ts';
import { invalidation } from './aspects/invalidation.ts';
import { isolation } from './aspects/isolation.ts';
import { manifest } from './aspects/manifest.ts';
import { mapUnmap } from './aspects/map-unmap.ts';
import { matrices } from './aspects/matrices.ts';
import { modelRandom } from './aspects/model-random.ts';
import { pageSizes } from './aspects/page-sizes.ts';
import { permissions } from './aspects/permissions.ts';
import { process } from './aspects/process.ts';
import { reservedRegions } from './aspects/reserved-regions.ts';
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
  matrices,
  permissions,
  translation,
  invalidation,
  isolation,
  switching,
  faults,
  errors,
  teardown,
  hotplug,
  reservedRegions,
  dirty,
  addressSpace,
  addressSpaceRandom,
  process,
  modelRandom,
  failNth,
  failNthOfSpaces,
].flat();
