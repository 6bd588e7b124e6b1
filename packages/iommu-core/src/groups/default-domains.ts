/** What a group of devices is on before somebody attaches it: one domain, or an address space over several kinds of IOMMU. */
import type { Device } from '@iommu-lab/driver-core';
import { assert } from '@iommu-lab/machine';
import { isOneKind } from '../common-capabilities.ts';
import type { DomainFactory } from '../domain-factory.ts';
import type { IommuDomain } from '../domain.ts';
import type { IommuInstance } from '../driver-port.ts';
import type { GroupDefaults } from './group.ts';
import type { IoAddressSpace } from '../io-address-space.ts';

/**
 * For a new group whose first member is `device`, behind `instances`.
 * @throws LabError ENOMEM, and what `createPagingTable` throws
 */
export function makeDefaults(
  domains: DomainFactory,
  createSpace: (name: string) => IoAddressSpace,
  device: Device,
  instances: readonly IommuInstance[],
): GroupDefaults {
  const kind = domains.defaultKind(instances, device);
  if (kind !== 'dma') return { defaultDomain: domains[kind], defaultSpace: undefined };
  const name = `dma:${device.name}`;
  if (isOneKind(instances)) {
    return {
      defaultDomain: domains.paging(instances, name, `the group of ${device.name}`),
      defaultSpace: undefined,
    };
  }
  const space = createSpace(name);
  try {
    const [first] = instances.map((instance) => space.reach(instance));
    assert(first !== undefined, 'a device with a group has an endpoint');
    return { defaultDomain: first, defaultSpace: space };
  } catch (error) {
    space.free();
    throw error;
  }
}

/**
 * The default domain of a group for one more binding. What kinds of IOMMU there are was settled with the first member; one
 * behind a further kind gets a domain that does not suit it, and attaching it fails.
 */
export function homeIn({ defaultDomain, defaultSpace }: GroupDefaults, instance: IommuInstance): IommuDomain {
  return defaultSpace?.suiting(instance) ?? defaultDomain;
}

/** A group that has no members any more gives its default domains back. */
export function discardDefaults({ defaultDomain, defaultSpace }: GroupDefaults): void {
  if (defaultSpace === undefined) defaultDomain.free();
  else defaultSpace.free();
}
