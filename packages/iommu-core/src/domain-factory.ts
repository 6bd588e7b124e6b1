/** Makes domains: the two static ones, paging domains, processes' domains, and the one a new group starts with. */
import type { Device } from '@iommu-lab/driver-core';
import { assert, LabError, type World } from '@iommu-lab/machine';
import { canServe, commonCapabilities, isOneKind, NO_MAPPINGS } from './common-capabilities.ts';
import { type DomainInit, type FaultHandler, internalsOf, IommuDomain } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';
import type { Binding, GroupState } from './groups/group.ts';
import type { ProcessSpace } from './process-space.ts';

/** `dma`: a paging domain for the DMA API; `identity`: no translation; `blocked`: no access. */
export type DefaultDomainKind = 'dma' | 'identity' | 'blocked';

/** Kinds a domain can be asked for by. */
export type DomainRequest = 'paging' | 'identity' | 'blocked' | 'sva' | 'nested';

export class DomainFactory {
  readonly identity: IommuDomain;
  readonly blocked: IommuDomain;
  readonly #world: World;
  readonly #defaultKind: DefaultDomainKind;
  readonly #groups: readonly GroupState[];
  readonly #live = new Set<IommuDomain>();
  #count = 0;

  /** @param groups the live list of groups: who uses a domain is read from it */
  constructor(world: World, defaultKind: DefaultDomainKind, groups: readonly GroupState[]) {
    this.#world = world;
    this.#defaultKind = defaultKind;
    this.#groups = groups;
    this.identity = this.#static('identity');
    this.blocked = this.#static('blocked');
  }

  /** Paging domains and processes' domains that are not freed, oldest first. */
  live(): readonly IommuDomain[] {
    for (const domain of this.#live) if (internalsOf(domain).isFreed) this.#live.delete(domain);
    return [...this.#live];
  }

  /** Domains that `device` uses, or that nobody uses; oldest first. */
  notUsedByOthers(device: Device | undefined): readonly IommuDomain[] {
    const others = this.#groups.filter((g) => device === undefined || !g.devices.includes(device));
    return this.live().filter((domain) =>
      others.every((g) => g.bindings.every((b) => b.home !== domain && b.domain !== domain)),
    );
  }

  /** @throws LabError EOPNOTSUPP for what the hardware or this model has not, EINVAL for a process's, ENOMEM */
  allocate(bindings: readonly Binding[], kind: DomainRequest, name?: string): IommuDomain {
    if (kind === 'paging')
      return this.paging(
        bindings.map((b) => b.instance),
        name,
      );
    if (kind === 'blocked') return this.blocked;
    if (kind === 'identity') {
      const refusing = bindings.find((b) => !b.instance.capabilities.identity);
      if (refusing === undefined) return this.identity;
      throw new LabError('EOPNOTSUPP', `${refusing.instance.name} has no pass-through`, { kind });
    }
    if (kind === 'sva') {
      const refusing = bindings.find((b) => b.instance.capabilities.processFormats.length === 0);
      if (refusing === undefined)
        throw new LabError('EINVAL', 'a process has its domain from bindProcess', { kind });
      throw new LabError('EOPNOTSUPP', `${refusing.instance.name} cannot walk a process's tables`, { kind });
    }
    // A nested domain is a guest's own table under one of these. No hardware here walks two stages.
    throw new LabError('EOPNOTSUPP', 'nested domains are not built: no IOMMU here has a second stage', {
      kind,
    });
  }

  /** A paging domain that all of `instances` can use. @throws LabError EOPNOTSUPP when there can be none, ENOMEM */
  paging(instances: readonly IommuInstance[], name?: string, heldBy?: string): IommuDomain {
    const [first, ...rest] = instances;
    if (first === undefined) throw new LabError('ENODEV', 'a paging domain is made for a device');
    if (!isOneKind(instances)) {
      const names = instances.map((i) => i.name);
      throw new LabError(
        'EOPNOTSUPP',
        `one domain cannot span ${names.join(' and ')}: an I/O address space can`,
        {
          instances: names,
        },
      );
    }
    const capabilities = rest.reduce((sum, i) => commonCapabilities(sum, i.capabilities), first.capabilities);
    this.#fail();
    return this.#keep({
      name: name ?? `paging-${this.#count++}`,
      target: { kind: 'paging', table: first.createPagingTable() },
      capabilities,
      accepts: (instance) =>
        instance.tableKey === first.tableKey && canServe(instance.capabilities, capabilities),
      ...(heldBy === undefined ? {} : { heldBy }),
    });
  }

  /**
   * A domain in which `instance` walks the tables of a process.
   * @throws LabError EOPNOTSUPP when it cannot, ENOMEM
   */
  process(instance: IommuInstance, space: ProcessSpace, handler: FaultHandler): IommuDomain {
    const { capabilities, name } = instance;
    if (!capabilities.processFormats.includes(space.tableFormat)) {
      throw new LabError(
        'EOPNOTSUPP',
        `${name} cannot walk the ${space.tableFormat} tables of ${space.name}`,
        {
          instance: name,
          format: space.tableFormat,
        },
      );
    }
    this.#fail();
    const table = instance.createProcessTable?.(space);
    assert(table !== undefined, 'a backend that walks the tables of processes has the operation for it');
    return this.#keep({
      name: `sva:${space.name}:${instance.provider}`,
      target: { kind: 'sva', table },
      capabilities: { ...capabilities, aperture: { start: 0, last: space.userEnd - 1 } },
      accepts: (other) => other === instance,
      process: space,
      heldBy: `the process ${space.name}`,
      handler,
    });
  }

  /**
   * What kind of domain a new group of `device` starts with. Identity that the hardware has not becomes `dma`, and that is
   * reported.
   */
  defaultKind(instances: readonly IommuInstance[], device: Device): DefaultDomainKind {
    if (this.#defaultKind !== 'identity' || instances.every((i) => i.capabilities.identity))
      return this.#defaultKind;
    this.#world.emit('iommu:default_domain_changed', { device: device.name, wanted: 'identity', is: 'dma' });
    return 'dma';
  }

  #fail(): void {
    if (this.#world.fail('iommu-core.domain')) throw new LabError('ENOMEM', 'no memory for a domain');
  }

  #keep(init: Omit<DomainInit, 'users'>): IommuDomain {
    const domain: IommuDomain = new IommuDomain(this.#world, { ...init, users: () => this.#usersOf(domain) });
    this.#live.add(domain);
    return domain;
  }

  #usersOf(domain: IommuDomain): readonly string[] {
    const users = new Set<string>();
    for (const group of this.#groups) {
      for (const { device, domain: current, home } of group.bindings) {
        if (current === domain) users.add(device.name);
        if (home === domain) users.add(`group ${group.id}`);
      }
    }
    return [...users];
  }

  #static(kind: 'identity' | 'blocked'): IommuDomain {
    return new IommuDomain(this.#world, {
      name: kind,
      target: { kind },
      capabilities: NO_MAPPINGS,
      accepts: () => true,
      users: () => [],
    });
  }
}
