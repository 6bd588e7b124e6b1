/**
 * Groups and bindings. A group is the smallest set of devices the hardware can isolate; its members share a domain.
 * A binding is one endpoint of a member, with the domain that translates it now.
 */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from '../domain.ts';
import type { IommuInstance } from '../driver-port.ts';
import type { IoAddressSpace } from '../io-address-space.ts';

/** A group as its users see it. */
export interface IommuGroup {
  readonly id: number;
  readonly devices: readonly Device[];
  /** What the members return to; where they sit behind IOMMUs of several kinds, what the first endpoint returns to. */
  readonly defaultDomain: IommuDomain;
  /** What holds the default domains of several kinds of IOMMU together; undefined where there is one. */
  readonly defaultSpace: IoAddressSpace | undefined;
  /** What translates the first endpoint whose IOMMU is there; undefined: nothing does, it is blocked. */
  readonly domain: IommuDomain | undefined;
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
  /** Who has blocked it and will put it back; undefined once somebody else has moved it. */
  blockedBy: object | undefined;
  /** The IOMMU has been removed: nothing translates it until the device is configured anew. */
  isGone: boolean;
}

/** The default domains a group is made with. */
export type GroupDefaults = Pick<IommuGroup, 'defaultDomain' | 'defaultSpace'>;

/** A group as the core keeps it. What it is on follows from its bindings. */
export class GroupState implements IommuGroup {
  readonly id: number;
  readonly defaultSpace: IoAddressSpace | undefined;
  readonly devices: Device[] = [];
  readonly bindings: Binding[] = [];
  owner: unknown = undefined;
  /** Members through which the owner holds its claim. */
  readonly claims: Set<Device> = new Set();
  readonly #firstDefault: IommuDomain;

  constructor(id: number, { defaultDomain, defaultSpace }: GroupDefaults) {
    this.id = id;
    this.defaultSpace = defaultSpace;
    this.#firstDefault = defaultDomain;
  }

  /** Bindings whose IOMMU is there. */
  get live(): readonly Binding[] {
    return this.bindings.filter((b) => !b.isGone);
  }

  get defaultDomain(): IommuDomain {
    return (this.live[0] ?? this.bindings[0])?.home ?? this.#firstDefault;
  }

  get domain(): IommuDomain | undefined {
    return this.live[0]?.domain;
  }
}

/** Where a member's bindings are when nobody has attached them elsewhere: blocked while somebody owns the group. */
export function coreDomainOf(group: GroupState, blocked: IommuDomain): (binding: Binding) => IommuDomain {
  return (binding) => (group.owner === undefined ? binding.home : blocked);
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
  const sharing = [...groups].filter((g) => g.live.some((b) => keys.includes(b.isolationKey)));
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
  const [binding, second] = bindingsNamed(group, device, context);
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

/**
 * `bindingAt`, for an operation on that one alone.
 * @throws LabError as `bindingAt`; EINVAL when the hardware cannot tell it from another one of the group
 */
export function separableBinding(group: GroupState, device: Device, context: string): Binding {
  const binding = bindingAt(group, device, context);
  const other = inseparableFrom(group, binding);
  if (other === undefined) return binding;
  throw new LabError(
    'EINVAL',
    `the hardware cannot tell ${binding.endpoint.context} from ${other.endpoint.context} of ${other.device.name}`,
    { context },
  );
}

/** The same for what must not fail: nothing where `separableBinding` would throw. */
export function separableBindings(group: GroupState, device: Device, context: string): readonly Binding[] {
  const found = bindingsNamed(group, device, context);
  return found.length === 1 && found.every((b) => inseparableFrom(group, b) === undefined) ? found : [];
}

function bindingsNamed(group: GroupState, device: Device, context: string): readonly Binding[] {
  return group.bindings.filter(
    ({ device: owner, endpoint }) =>
      owner === device &&
      (endpoint.context === context || `${endpoint.provider}:${endpoint.context}` === context),
  );
}

function inseparableFrom(group: GroupState, binding: Binding): Binding | undefined {
  return group.live.find((b) => b !== binding && b.isolationKey === binding.isolationKey);
}
