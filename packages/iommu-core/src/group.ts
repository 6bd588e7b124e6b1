/**
 * Groups and bindings. A group is the smallest set of devices the hardware can isolate; its members share a domain.
 * A binding is one endpoint of a member, with the domain that translates it now.
 */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';
import type { IoAddressSpace } from './io-address-space.ts';

/** A group as its users see it. */
export interface IommuGroup {
  readonly id: number;
  readonly devices: readonly Device[];
  /** What the members return to; the first of several where they sit behind IOMMUs of several kinds. */
  readonly defaultDomain: IommuDomain;
  /** What holds the default domains of several kinds of IOMMU together; undefined where there is one. */
  readonly defaultSpace: IoAddressSpace | undefined;
  /** What translates the members now, single endpoints that were attached elsewhere aside. */
  readonly domain: IommuDomain;
  /** Who has claimed the group, if somebody has. */
  readonly owner: unknown;
}

/** One endpoint at its IOMMU. */
export interface Binding {
  readonly device: Device;
  readonly endpoint: Endpoint;
  readonly instance: IommuInstance;
  /** What it cannot be told apart by, system-wide: provider and the instance's isolation key. */
  readonly isolationKey: string;
  /** What it returns to: the group's default domain, or that of its IOMMU's kind where one cannot serve all. */
  readonly home: IommuDomain;
  /** What translates it; undefined before the first attach and when nothing could be attached: blocked then. */
  domain: IommuDomain | undefined;
  /** The IOMMU has been removed: nothing translates it until the device is configured anew. */
  isGone: boolean;
}

/** A group as the core keeps it. */
export interface GroupState extends IommuGroup {
  readonly devices: Device[];
  readonly bindings: Binding[];
  defaultDomain: IommuDomain;
  domain: IommuDomain;
  owner: unknown;
  /** Members through which the owner holds its claim. */
  readonly claims: Set<Device>;
}

/** Where a member's bindings are when nobody has attached them elsewhere: blocked while somebody owns the group. */
export function coreDomainOf(group: GroupState, blocked: IommuDomain): (binding: Binding) => IommuDomain {
  return (binding) => (group.owner === undefined ? binding.home : blocked);
}

/** After bindings have gone: a group behind several kinds of IOMMU may have lost the domains it is known by. */
export function renewDomains(group: GroupState): void {
  const [first] = group.bindings;
  if (first === undefined) return;
  const isHome = group.domain === group.defaultDomain;
  group.defaultDomain = first.home;
  if (isHome) group.domain = first.home;
  else if (group.bindings.every((b) => b.domain !== group.domain)) group.domain = first.domain ?? first.home;
}

/** Whether nobody has attached the binding anywhere. */
export function isIdle({ domain, home }: Binding, blocked: IommuDomain): boolean {
  return domain === undefined || domain === home || domain === blocked;
}

/**
 * The group among `groups` that shares an isolation key with `keys`.
 * @throws LabError EINVAL when two do: live groups are not merged (as arm-smmu's device_group)
 */
export function groupWithKeys(
  groups: Iterable<GroupState>,
  keys: readonly string[],
  device: Device,
): GroupState | undefined {
  const sharing = [...groups].filter((g) => g.bindings.some((b) => keys.includes(b.isolationKey)));
  if (sharing.length > 1) {
    throw new LabError(
      'EINVAL',
      `${device.name} cannot be told apart from devices of groups ${sharing.map((g) => g.id).join(' and ')}: configure it before them`,
      { device: device.name },
    );
  }
  return sharing[0];
}

/**
 * The one of a device's bindings at `context`, or at `provider:context` where two IOMMUs have the name.
 * @throws LabError ENODEV when there is none, EINVAL when there are two
 */
export function bindingAt(group: GroupState, device: Device, context: string): Binding {
  const found = group.bindings.filter(
    ({ device: owner, endpoint }) =>
      owner === device &&
      (endpoint.context === context || `${endpoint.provider}:${endpoint.context}` === context),
  );
  const [binding, second] = found;
  if (binding === undefined) {
    throw new LabError('ENODEV', `${device.name} has no endpoint at context "${context}"`, { context });
  }
  if (second !== undefined) {
    throw new LabError('EINVAL', `${device.name} has two endpoints at "${context}": name the provider`, {
      context,
    });
  }
  return binding;
}
