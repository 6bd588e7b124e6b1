/** An IOMMU of another kind beside the one under test, that translates: the kit's reference IOMMU, in the same system. */
import { Device } from '@iommu-lab/driver-core';
import type { IommuCapabilities } from '@iommu-lab/iommu-core';
import { BusMaster, DEFAULT_ATTRIBUTES } from '@iommu-lab/machine';
import type { Bench, Side } from './bench.ts';
import { referenceContext, ReferenceIommu } from './reference/reference-iommu.ts';

const PROVIDER = 'compliance-foreign';
const STREAM = 1;

/** A device behind another kind of IOMMU. */
export interface ForeignSide extends Side {
  readonly instance: ReferenceIommu;
}

/**
 * A configured device behind an IOMMU of another kind, which can map whatever the one under test can: its granule is half
 * as large, its aperture is everything, unless `differences` says else.
 */
export function foreignSide(
  bench: Bench,
  differences: Partial<IommuCapabilities> = {},
  name: string = PROVIDER,
): ForeignSide {
  const instance = foreignInstance(bench, differences, name);
  bench.iommu.registerInstance(instance);
  return foreignDevice(bench, instance);
}

/** A configured device behind an instance that is registered. */
export function foreignDevice({ fixture, iommu }: Bench, instance: ReferenceIommu): ForeignSide {
  const device = new Device(`${instance.provider}-device`);
  const endpoint = {
    provider: instance.provider,
    context: referenceContext(STREAM),
    streamIds: [STREAM],
  };
  device.endpoints = [endpoint];
  iommu.configure(device);
  const master = new BusMaster(fixture.world, {
    name: device.name,
    streamId: STREAM,
    port: instance,
    attributes: DEFAULT_ATTRIBUTES,
  });
  return { device, endpoint, master, instance };
}

/** The IOMMU alone, not registered. */
export function foreignInstance(
  { fixture, iommu, granule }: Bench,
  differences: Partial<IommuCapabilities> = {},
  provider: string = PROVIDER,
): ReferenceIommu {
  return new ReferenceIommu({
    world: fixture.world,
    iommu,
    memory: fixture.memory,
    provider,
    capabilities: {
      pageSizes: [granule / 2, 8 * granule],
      aperture: { start: 0, last: 2 ** 40 - 1 },
      lastPhysAddr: 2 ** 40 - 1,
      permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true },
      identity: true,
      switchKind: 'atomic',
      coherentWalk: true,
      stall: false,
      pasids: 0,
      dirtyTracking: false,
      nesting: false,
      processFormats: [],
      ...differences,
    },
  });
}
