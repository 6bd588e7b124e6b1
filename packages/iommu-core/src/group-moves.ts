/** Moves of whole groups, with the events that tell of them. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, type World } from '@iommu-lab/machine';
import { attachAll, type DomainOf, mustAttach } from './attach.ts';
import type { IommuDomain } from './domain.ts';
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

  /** Moves every binding to its domain, or none. @throws LabError as `attachAll` */
  place(group: GroupState, domainOf: DomainOf): void {
    attachAll(this.#world, group.bindings, domainOf);
    const [first] = group.bindings;
    if (first?.domain !== undefined) group.domain = first.domain;
    for (const device of group.devices) {
      const domains = new Set(group.bindings.filter((b) => b.device === device).map((b) => b.domain));
      for (const domain of domains) if (domain !== undefined) this.report(device, domain);
    }
  }

  /** To where the group belongs while nobody has attached it elsewhere. Never fails. */
  putBack(group: GroupState): void {
    const baseOf = coreDomainOf(group, this.#blocked);
    const [first] = group.bindings;
    if (first !== undefined) group.domain = baseOf(first);
    for (const binding of group.bindings) mustAttach(this.#world, binding, baseOf(binding));
    for (const device of group.devices) this.report(device, group.domain);
  }

  /** The event of one device that is on a domain now. */
  report(device: Device, domain: IommuDomain, context?: string): void {
    this.#world.emit('iommu:attach_device_to_domain', {
      device: device.name,
      domain: domain.name,
      ...(context === undefined ? {} : { context }),
    });
  }
}
