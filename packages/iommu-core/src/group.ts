/**
 * Groups and bindings. A group is the smallest set of devices the hardware can isolate; its members share a domain.
 * A binding is one endpoint of a member, with the domain that translates it now.
 */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';

/** A group as its users see it. */
export interface IommuGroup {
  readonly id: number;
  readonly devices: readonly Device[];
  /** What the members return to. */
  readonly defaultDomain: IommuDomain;
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
  /** What translates it; undefined before the first attach and when nothing could be attached: blocked then. */
  domain: IommuDomain | undefined;
}

/** A group as the core keeps it. */
export interface GroupState extends IommuGroup {
  readonly devices: Device[];
  readonly bindings: Binding[];
  domain: IommuDomain;
  owner: unknown;
  /** Members through which the owner holds its claim. */
  readonly claims: Set<Device>;
}

/** The domain a member is on when nobody has attached another: blocked while somebody owns the group. */
export function coreDomain(group: GroupState, blocked: IommuDomain): IommuDomain {
  return group.owner === undefined ? group.defaultDomain : blocked;
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
