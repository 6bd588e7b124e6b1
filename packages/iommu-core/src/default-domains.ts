/** What a group of devices is on before somebody attaches it: one domain, or an address space over several kinds of IOMMU. */
import type { Device } from '@iommu-lab/driver-core';
import { isOneKind } from './common-capabilities.ts';
import type { DomainFactory } from './domain-factory.ts';
import type { IommuDomain } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';
import type { GroupState } from './group.ts';
import type { IoAddressSpace } from './io-address-space.ts';

export type GroupDefaults = Pick<GroupState, 'defaultDomain' | 'defaultSpace'>;

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
    return { defaultDomain: domains.paging(instances, name), defaultSpace: undefined };
  }
  const space = createSpace(name);
  try {
    for (const instance of instances) space.reach(instance);
  } catch (error) {
    space.free();
    throw error;
  }
  return { defaultDomain: space.domains[0] as IommuDomain, defaultSpace: space };
}

/** The default domain of a group for one more binding. @throws LabError as `IoAddressSpace.reach` */
export function homeIn({ defaultDomain, defaultSpace }: GroupDefaults, instance: IommuInstance): IommuDomain {
  return defaultSpace === undefined ? defaultDomain : defaultSpace.reach(instance);
}

/** A group that has no members any more gives its default domains back. */
export function discardDefaults({ defaultDomain, defaultSpace }: GroupDefaults): void {
  if (defaultSpace === undefined) defaultDomain.free();
  else defaultSpace.free();
}
