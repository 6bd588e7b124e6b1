/** Moves of bindings that belong together, with the events that tell of them. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, type World } from '@iommu-lab/machine';
import { attachAll, type DomainOf, mustAttach, quarantine } from './attach.ts';
import { internalsOf, type IommuDomain } from '../domain.ts';
import { type Binding, coreDomainOf, type GroupState, isIdle } from './group.ts';

export class GroupMoves {
  readonly #world: World;
  readonly #blocked: IommuDomain;

  /** @param blocked where a group belongs while somebody owns it */
  constructor(world: World, blocked: IommuDomain) {
    this.#world = world;
    this.#blocked = blocked;
  }

  /** @throws LabError EBUSY when one of them is attached to something of somebody's */
  refuseAttached(bindings: readonly Binding[]): void {
    const busy = bindings.find((b) => !isIdle(b, this.#blocked));
    if (busy === undefined) return;
    throw new LabError('EBUSY', `${busy.device.name} is attached to ${busy.domain?.name}`, {
      device: busy.device.name,
    });
  }

  /**
   * Refuses a domain that is not for whoever asks: a process's, one of an address space, another group's default. Who keeps
   * it would not know of the device, and take it from under it.
   * @throws LabError EINVAL
   */
  refuseHeld(domain: IommuDomain, group: GroupState): void {
    const { heldBy } = internalsOf(domain);
    if (heldBy === undefined || group.bindings.some((b) => b.home === domain)) return;
    throw new LabError('EINVAL', `domain ${domain.name} is kept by ${heldBy}`, { domain: domain.name });
  }

  /** Moves every binding to its domain, or none. @throws LabError as `attachAll` */
  place(group: GroupState, domainOf: DomainOf): void {
    attachAll(this.#world, group.bindings, domainOf);
    this.report(group.bindings);
  }

  /** Those of the group that leave, to where they belong while nobody has attached them elsewhere. Never fails. */
  putBack(group: GroupState, isLeaving: (binding: Binding) => boolean = () => true): void {
    this.report(this.leave(group.bindings, isLeaving, coreDomainOf(group, this.#blocked)));
  }

  /**
   * Moves those that `isLeaving` says. Never fails: what cannot be moved is blocked, with what the hardware cannot tell it
   * from. @returns those that left
   */
  leave(
    bindings: readonly Binding[],
    isLeaving: (binding: Binding) => boolean,
    domainOf: DomainOf,
  ): readonly Binding[] {
    const leaving = bindings.filter((b) => isLeaving(b) && b.domain !== domainOf(b));
    for (const binding of leaving) mustAttach(this.#world, binding, domainOf(binding));
    for (const failed of leaving.filter((b) => b.domain === undefined)) {
      for (const b of bindings)
        if (b.isolationKey === failed.isolationKey) quarantine(this.#world, b, failed);
    }
    return leaving;
  }

  /** The events of bindings that were moved together: each device once for each domain that it is on now. */
  report(bindings: readonly Binding[]): void {
    for (const device of new Set(bindings.map((b) => b.device))) {
      const domains = new Set(bindings.filter((b) => b.device === device).map((b) => b.domain));
      for (const domain of domains) this.#emit(device, domain);
    }
  }

  /** The event of one binding that was moved by itself. */
  reportBinding({ device, domain, endpoint }: Binding): void {
    this.#emit(device, domain, endpoint.context);
  }

  #emit(device: Device, domain: IommuDomain | undefined, context?: string): void {
    // What could not be attached was reported when it was quarantined.
    if (domain === undefined) return;
    this.#world.emit('iommu:attach_device_to_domain', {
      device: device.name,
      domain: domain.name,
      ...(context === undefined ? {} : { context }),
    });
  }
}
