/** Devices and IOMMUs come and go: who is in which group, and what is on the hardware while they change. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, type World } from '@iommu-lab/machine';
import { attachAll, release } from './attach.ts';
import { discardDefaults, homeIn, makeDefaults } from './default-domains.ts';
import type { DomainFactory } from '../domain-factory.ts';
import type { IommuDomain } from '../domain.ts';
import { type Binding, GroupState, groupWithKeys } from './group.ts';
import type { GroupMoves } from './group-moves.ts';
import { type GroupRegistry, type ProbedEndpoint, probeEndpoints } from './group-registry.ts';
import type { InstanceRegistry } from '../instance-registry.ts';
import type { IoAddressSpace } from '../io-address-space.ts';
import { checkMayUse } from './ownership.ts';
import { mapDirectRegions, reservedRegionsOf } from '../reserved-regions.ts';

/** What membership works on. */
export interface MembershipParts {
  readonly world: World;
  readonly instances: InstanceRegistry;
  readonly groups: GroupRegistry;
  readonly domains: DomainFactory;
  readonly moves: GroupMoves;
  readonly createSpace: (name: string) => IoAddressSpace;
  /** Bindings have left their domains: whoever keeps something for them may let it go. */
  readonly onDeparture: () => void;
}

export class Membership {
  readonly #parts: MembershipParts;
  #groupId = 0;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
  }

  /** `Iommu.configure`. */
  add(device: Device): void {
    const { world, instances, groups, domains, moves, onDeparture } = this.#parts;
    if (device.endpoints.length === 0) return;
    const known = groups.find(device);
    if (known !== undefined) return checkMayUse(known, device, domains.blocked);
    const probed = probeEndpoints(device, instances);
    const keys = probed.map((p) => p.isolationKey);
    const joined = groupWithKeys(groups.all, keys, device);
    if (joined !== undefined) checkMayUse(joined, device, domains.blocked);
    const group = joined ?? this.#makeGroup(device, probed);
    const undo: (() => void)[] = joined === undefined ? [() => discardDefaults(group)] : [];
    try {
      const bindings = probed.map((p): Binding => ({
        ...p,
        home: homeIn(group, p.instance),
        domain: undefined,
        blockedBy: undefined,
        isGone: false,
      }));
      undo.push(mapDirectRegions(group.defaultSpace ?? group.defaultDomain, reservedRegionsOf(bindings)));
      attachAll(world, bindings, (b) => placeIn(group, b, domains.blocked));
      // What has blocked its twin, and will put that back, takes it along.
      for (const b of bindings)
        b.blockedBy = group.live.find((t) => t.isolationKey === b.isolationKey)?.blockedBy;
      group.bindings.push(...bindings);
    } catch (error) {
      for (const step of undo.reverse()) step();
      onDeparture();
      throw error;
    }
    if (joined === undefined) groups.add(group);
    group.devices.push(device);
    world.emit('iommu:add_device_to_group', { group: group.id, device: device.name });
    moves.report(group.bindings.filter((b) => b.device === device));
  }

  /** `Iommu.cleanup`. */
  remove(device: Device): void {
    const { world, groups, moves, onDeparture } = this.#parts;
    const group = groups.find(device);
    if (group === undefined) return;
    const mine = group.bindings.filter((b) => b.device === device);
    for (const binding of mine.reverse()) release(world, binding);
    group.devices.splice(group.devices.indexOf(device), 1);
    const others = group.bindings.filter((b) => b.device !== device);
    if (others.length > 0) group.bindings.splice(0, Infinity, ...others);
    group.claims.delete(device);
    if (group.claims.size === 0 && group.owner !== undefined) {
      group.owner = undefined;
      if (others.length > 0) moves.putBack(group);
    }
    if (group.devices.length === 0) groups.remove(group);
    onDeparture();
    if (group.devices.length === 0) discardDefaults(group);
    world.emit('iommu:remove_device_from_group', { group: group.id, device: device.name });
  }

  /** `Iommu.unregisterInstance`. */
  unregister(provider: string): void {
    const users = this.#behind(provider);
    if (users.length > 0) {
      const names = [...new Set(users.map((b) => b.device.name))].join(', ');
      throw new LabError('EBUSY', `the IOMMU "${provider}" serves ${names}: unbind them first`, { provider });
    }
    this.#parts.instances.remove(provider);
    this.#parts.onDeparture();
  }

  /** `Iommu.removeInstance`. */
  removeInstance(provider: string): void {
    const { world, instances, onDeparture } = this.#parts;
    const bindings = this.#behind(provider);
    for (const binding of bindings) {
      release(world, binding);
      binding.isGone = true;
    }
    instances.remove(provider);
    onDeparture();
    const devices = [...new Set(bindings.map((b) => b.device.name))];
    world.emit('iommu:instance_removed', { provider, devices });
  }

  #makeGroup(device: Device, probed: readonly ProbedEndpoint[]): GroupState {
    const { world, domains, createSpace } = this.#parts;
    if (world.fail('iommu-core.group')) {
      throw new LabError('ENOMEM', `no memory for a group for ${device.name}`, { device: device.name });
    }
    const instances = probed.map((p) => p.instance);
    return new GroupState(this.#groupId++, makeDefaults(domains, createSpace, device, instances));
  }

  #behind(provider: string): readonly Binding[] {
    return this.#parts.groups.bindings().filter((b) => b.endpoint.provider === provider && !b.isGone);
  }
}

/**
 * Where a newcomer's binding belongs in a group that nobody has attached elsewhere: with what the hardware cannot tell it
 * from, which may be blocked; else with the group.
 */
function placeIn(group: GroupState, { isolationKey, home }: Binding, blocked: IommuDomain): IommuDomain {
  const twin = group.live.find((b) => b.isolationKey === isolationKey);
  if (twin !== undefined) return twin.domain ?? blocked;
  return group.owner !== undefined || group.domain === blocked ? blocked : home;
}
