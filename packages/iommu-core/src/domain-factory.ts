/** Makes domains: the two static ones, paging domains, and the one a new group starts with. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, type World } from '@iommu-lab/machine';
import { commonCapabilities, NO_MAPPINGS } from './common-capabilities.ts';
import { internalsOf, IommuDomain } from './domain.ts';
import type { Binding, GroupState } from './group.ts';

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
  readonly #paging = new Set<IommuDomain>();
  #count = 0;

  /** @param groups the live list of groups: who uses a domain is read from it */
  constructor(world: World, defaultKind: DefaultDomainKind, groups: readonly GroupState[]) {
    this.#world = world;
    this.#defaultKind = defaultKind;
    this.#groups = groups;
    this.identity = this.#static('identity');
    this.blocked = this.#static('blocked');
  }

  /** Paging domains that are not freed, oldest first. */
  live(): readonly IommuDomain[] {
    for (const domain of this.#paging) if (internalsOf(domain).isFreed) this.#paging.delete(domain);
    return [...this.#paging];
  }

  /** Paging domains that `device` uses, or that nobody uses; oldest first. */
  notUsedByOthers(device: Device | undefined): readonly IommuDomain[] {
    const others = this.#groups.filter((g) => device === undefined || !g.devices.includes(device));
    return this.live().filter((domain) =>
      others.every((g) => g.defaultDomain !== domain && g.bindings.every((b) => b.domain !== domain)),
    );
  }

  /** @throws LabError EOPNOTSUPP for what the hardware or this model has not, ENOMEM */
  allocate(bindings: readonly Binding[], kind: DomainRequest, name?: string): IommuDomain {
    if (kind === 'paging') return this.paging(bindings, name);
    if (kind === 'blocked') return this.blocked;
    if (kind === 'identity') {
      const refusing = bindings.find((b) => !b.instance.capabilities.identity);
      if (refusing === undefined) return this.identity;
      throw new LabError('EOPNOTSUPP', `${refusing.instance.name} has no pass-through`, { kind });
    }
    throw new LabError('EOPNOTSUPP', `domains of kind ${kind} are not supported yet`, { kind });
  }

  /** A paging domain that all of `bindings` can use. @throws LabError EOPNOTSUPP when there can be none, ENOMEM */
  paging(bindings: readonly Binding[], name?: string): IommuDomain {
    const [first, ...rest] = bindings.map((b) => b.instance);
    if (first === undefined) throw new LabError('ENODEV', 'a paging domain is made for a device');
    const odd = rest.find((i) => i.tableKey !== first.tableKey);
    const capabilities = rest.reduce((sum, i) => commonCapabilities(sum, i.capabilities), first.capabilities);
    if (odd !== undefined || capabilities.pageSizes.length === 0) {
      throw new LabError(
        'EOPNOTSUPP',
        `one domain cannot span ${first.name} and ${(odd ?? rest[0] ?? first).name}: I/O address spaces over incompatible IOMMUs are not supported yet`,
        { instances: [first.name, ...rest.map((i) => i.name)] },
      );
    }
    if (this.#world.fail('iommu-core.domain')) throw new LabError('ENOMEM', 'no memory for a domain');
    const domain: IommuDomain = new IommuDomain(this.#world, {
      name: name ?? `paging-${this.#count++}`,
      target: { kind: 'paging', table: first.createPagingTable() },
      capabilities,
      tableKey: first.tableKey,
      users: () => this.#usersOf(domain),
    });
    this.#paging.add(domain);
    return domain;
  }

  /** What a new group of `device` starts with. Identity the hardware has not becomes `dma`, and that is reported. */
  makeDefault(bindings: readonly Binding[], device: Device): IommuDomain {
    if (this.#defaultKind === 'blocked') return this.blocked;
    if (this.#defaultKind === 'identity') {
      if (bindings.every((b) => b.instance.capabilities.identity)) return this.identity;
      this.#world.emit('iommu:default_domain_changed', {
        device: device.name,
        wanted: 'identity',
        is: 'dma',
      });
    }
    return this.paging(bindings, `dma:${device.name}`);
  }

  /** Frees a default domain whose group has gone. */
  discard(domain: IommuDomain): void {
    domain.free();
    this.#paging.delete(domain);
  }

  #usersOf(domain: IommuDomain): readonly string[] {
    const users = new Set<string>();
    for (const group of this.#groups) {
      for (const b of group.bindings) if (b.domain === domain) users.add(b.device.name);
      if (group.defaultDomain === domain) users.add(`group ${group.id}`);
    }
    return [...users];
  }

  #static(kind: 'identity' | 'blocked'): IommuDomain {
    return new IommuDomain(this.#world, {
      name: kind,
      target: { kind },
      capabilities: NO_MAPPINGS,
      tableKey: undefined,
      users: () => [],
    });
  }
}
