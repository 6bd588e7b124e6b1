/**
 * The public object: instances register here, devices are configured here, and everything else starts from a device.
 * Nobody names an IOMMU to it: the device's endpoints do. Long because it is the whole public API with its errors; each
 * mechanism is in a file of its own.
 */
import type { Device, ReservedRegion } from '@iommu-lab/driver-core';
import { isLabError, LabError, type World } from '@iommu-lab/machine';
import { attachAll, mustAttach, refuseProcess, release } from './attach.ts';
import { discardDefaults, homeIn, makeDefaults } from './default-domains.ts';
import { DomainFactory, type DefaultDomainKind, type DomainRequest } from './domain-factory.ts';
import type { IommuDomain } from './domain.ts';
import type { FaultReport, FaultVerdict, IommuInstance } from './driver-port.ts';
import type { Explanation } from './faults/explanation.ts';
import { FaultDesk, type FaultListener } from './faults/fault-desk.ts';
import type { Fault } from './faults/fault.ts';
import {
  type Binding,
  bindingAt,
  coreDomainOf,
  groupWithKeys,
  type GroupState,
  type IommuGroup,
  renewDomains,
} from './group.ts';
import { GroupMoves } from './group-moves.ts';
import { GroupRegistry, type ProbedEndpoint, probeEndpoints } from './group-registry.ts';
import { InstanceRegistry } from './instance-registry.ts';
import { type AddressSpaceSpan, IoAddressSpace } from './io-address-space.ts';
import { checkMayUse, claim, unclaim } from './ownership.ts';
import { type ProcessBond, ProcessBindings } from './process-binding.ts';
import type { ProcessSpace } from './process-space.ts';
import { mapDirectRegions, reservedRegionsOf } from './reserved-regions.ts';

export interface IommuOptions {
  /** What a device is on before somebody attaches it; `dma` unless given. */
  readonly defaultDomain?: DefaultDomainKind;
}

export class Iommu {
  readonly #world: World;
  readonly #instances = new InstanceRegistry();
  readonly #groups = new GroupRegistry();
  readonly #domains: DomainFactory;
  readonly #moves: GroupMoves;
  readonly #faults: FaultDesk;
  readonly #processes: ProcessBindings;
  readonly #spaces = new Set<IoAddressSpace>();
  readonly #onRegistered = new Set<(instance: IommuInstance) => void>();
  #groupId = 0;

  constructor(world: World, options: IommuOptions = {}) {
    this.#world = world;
    this.#domains = new DomainFactory(world, options.defaultDomain ?? 'dma', this.#groups.all);
    this.#moves = new GroupMoves(world, this.#domains.blocked);
    this.#faults = new FaultDesk(world, this.#groups);
    this.#processes = new ProcessBindings(world, this.#groups, this.#domains, (fault, outcome) =>
      this.respond(fault, outcome),
    );
  }

  /**
   * Adds an IOMMU that its driver has probed. Address spaces that span all IOMMUs reach it from here on; where one maps
   * what its hardware cannot, that is reported, and a device behind it cannot join.
   * @throws LabError EEXIST when its provider has one
   */
  registerInstance(instance: IommuInstance): void {
    this.#instances.add(instance);
    this.#world.emit('iommu:instance_registered', { provider: instance.provider, instance: instance.name });
    for (const space of this.#spaces) this.#extend(space, instance);
    for (const listener of [...this.#onRegistered]) listener(instance);
  }

  /** Calls `listener` for each IOMMU that comes, for instance to try deferred probes again. @returns ends it */
  onInstanceRegistered(listener: (instance: IommuInstance) => void): () => void {
    this.#onRegistered.add(listener);
    return () => {
      this.#onRegistered.delete(listener);
    };
  }

  /** Takes an IOMMU away; harmless when there is none. @throws LabError EBUSY while a configured device sits behind it */
  unregisterInstance(provider: string): void {
    const users = this.#behind(provider);
    if (users.length > 0) {
      const names = [...new Set(users.map((b) => b.device.name))].join(', ');
      throw new LabError('EBUSY', `the IOMMU "${provider}" serves ${names}: unbind them first`, { provider });
    }
    this.#instances.remove(provider);
    this.#releaseSpaces();
  }

  /**
   * Takes an IOMMU away that devices still sit behind (hot-unplug): their endpoints there are released, hence blocked where
   * the hardware can, and stay without translation until the devices are configured anew; attaching them is `ENODEV`.
   * What is mapped in their domains can still be unmapped. Never fails; harmless when there is none.
   */
  removeInstance(provider: string): void {
    const bindings = this.#behind(provider);
    for (const binding of bindings) {
      release(this.#world, binding);
      binding.isGone = true;
    }
    for (const group of new Set(bindings.map((b) => this.#groups.find(b.device)))) {
      if (group !== undefined) renewDomains(group);
    }
    this.#instances.remove(provider);
    this.#releaseSpaces();
    const devices = [...new Set(bindings.map((b) => b.device.name))];
    this.#world.emit('iommu:instance_removed', { provider, devices });
  }

  /** Registered instances, in the order they came. */
  get instances(): readonly IommuInstance[] {
    return this.#instances.all();
  }

  /** Groups that have devices, by number. */
  get groups(): readonly IommuGroup[] {
    return [...this.#groups.all];
  }

  /** Paging domains, and those of processes, that are not freed; oldest first. */
  get domains(): readonly IommuDomain[] {
    return this.#domains.live();
  }

  /** The domain in which IOVA and physical address are the same; one for all. */
  get identityDomain(): IommuDomain {
    return this.#domains.identity;
  }

  /** The domain in which every access is refused; one for all. */
  get blockedDomain(): IommuDomain {
    return this.#domains.blocked;
  }

  /**
   * The bus's hook: finds the device's IOMMUs, puts it in a group and on the group's domain, in which its direct regions
   * are mapped before. A device without endpoints is left alone; one that is configured stays as it is.
   * @throws LabError EPROBE_DEFER while an IOMMU's driver has not come; ENODEV when the hardware has no such context;
   * EBUSY when somebody owns the group; EINVAL when it would join two groups, or be blocked in spite of direct regions;
   * ENOMEM and what `attach` throws. Everything is as before then.
   */
  configure(device: Device): void {
    if (device.endpoints.length === 0) return;
    const known = this.#groups.find(device);
    if (known !== undefined) return checkMayUse(known, device);
    const probed = probeEndpoints(device, this.#instances);
    const keys = probed.map((p) => p.isolationKey);
    const joined = groupWithKeys(this.#groups.all, keys, device);
    if (joined !== undefined) checkMayUse(joined, device);
    const group = joined ?? this.#makeGroup(device, probed);
    const undo: (() => void)[] = joined === undefined ? [() => discardDefaults(group)] : [];
    try {
      const bindings = probed.map((p): Binding => ({
        ...p,
        home: homeIn(group, p.instance),
        domain: undefined,
        isGone: false,
      }));
      const regions = reservedRegionsOf(bindings);
      for (const home of new Set(bindings.map((b) => b.home))) undo.push(mapDirectRegions(home, regions));
      const isDefault = group.domain === group.defaultDomain;
      attachAll(this.#world, bindings, (b) => (isDefault ? b.home : group.domain));
      group.bindings.push(...bindings);
    } catch (error) {
      for (const step of undo.reverse()) step();
      this.#releaseSpaces();
      throw error;
    }
    if (joined === undefined) this.#groups.add(group);
    group.devices.push(device);
    this.#world.emit('iommu:add_device_to_group', { group: group.id, device: device.name });
    this.#moves.report(device, group.domain);
  }

  /** Undoes `configure`: the endpoints are released (blocked where the hardware can), the last member takes the group along. */
  cleanup(device: Device): void {
    const group = this.#groups.find(device);
    if (group === undefined) return;
    const mine = group.bindings.filter((b) => b.device === device);
    for (const binding of mine.reverse()) release(this.#world, binding);
    group.devices.splice(group.devices.indexOf(device), 1);
    group.bindings.splice(0, Infinity, ...group.bindings.filter((b) => b.device !== device));
    renewDomains(group);
    group.claims.delete(device);
    if (group.claims.size === 0 && group.owner !== undefined) this.#endOwnership(group);
    if (group.devices.length === 0) {
      this.#groups.remove(group);
      discardDefaults(group);
    }
    this.#releaseSpaces();
    this.#world.emit('iommu:remove_device_from_group', { group: group.id, device: device.name });
  }

  /** The device's group; undefined when it is not configured or has no IOMMU. */
  groupOf(device: Device): IommuGroup | undefined {
    return this.#groups.find(device);
  }

  /** What translates the device now, or what translates its endpoint at `context`. @throws LabError ENODEV, no such context */
  domainOf(device: Device, context?: string): IommuDomain | undefined {
    const group = this.#groups.find(device);
    if (group === undefined || context === undefined) return group?.domain;
    return bindingAt(group, device, context).domain;
  }

  /** What the device's group returns to; the first of several behind IOMMUs of several kinds. */
  defaultDomainOf(device: Device): IommuDomain | undefined {
    return this.#groups.find(device)?.defaultDomain;
  }

  /**
   * Where the DMA API maps for the device while nobody has attached it elsewhere: its default domain, or the address space
   * that holds its default domains together.
   */
  dmaMappingsOf(device: Device): IommuDomain | IoAddressSpace | undefined {
    const group = this.#groups.find(device);
    return group?.defaultSpace ?? group?.defaultDomain;
  }

  /**
   * IOVAs of the device's group that are not free to use: what firmware and its IOMMUs say, ascending; none without IOMMU
   * (iommu_get_group_resv_regions).
   */
  reservedRegionsOf(device: Device): readonly ReservedRegion[] {
    const group = this.#groups.find(device);
    return group === undefined ? [] : reservedRegionsOf(group.bindings);
  }

  /**
   * A domain with nothing mapped, that any IOMMU compatible with the device's can use.
   * @throws LabError ENODEV when the device has no IOMMU; EOPNOTSUPP when its IOMMUs are incompatible; ENOMEM
   */
  allocPagingDomain(device: Device, name?: string): IommuDomain {
    return this.#domains.paging(this.#groups.instancesOf(device), name);
  }

  /**
   * The same for IOMMUs instead of a device, where something else than a device says which: any IOMMU that can do no less
   * than all of `instances` can use it.
   * @throws LabError ENODEV for none; EOPNOTSUPP when they are incompatible; ENOMEM
   */
  allocPagingDomainFor(instances: readonly IommuInstance[], name?: string): IommuDomain {
    return this.#domains.paging(instances, name);
  }

  /**
   * A domain by kind: a new one for `paging`, the shared one for `identity` and `blocked`.
   * @throws LabError as `allocPagingDomain`; EOPNOTSUPP `nested`, and `sva` where no IOMMU
   * can; EINVAL `sva` where it can: `bindProcess` makes it
   */
  allocDomain(device: Device, kind: DomainRequest, name?: string): IommuDomain {
    return this.#domains.allocate(this.#groups.bindingsOf(device), kind, name);
  }

  /**
   * A set of mappings that spans the IOMMUs of all devices that join it, `members` unless `span` says `all`.
   * @throws LabError ENOMEM without memory for the domains of `all`
   */
  createAddressSpace(name: string, span: AddressSpaceSpan = 'members'): IoAddressSpace {
    const space: IoAddressSpace = new IoAddressSpace(
      {
        world: this.#world,
        instances: () => this.#instances.all(),
        makeDomain: (instances, domainName) => this.#domains.paging(instances, domainName),
        groups: () => this.#groups.all,
        idleGroup: (device) => {
          const group = this.#groups.require(device);
          this.#moves.refuseAttached(group.bindings);
          return group;
        },
        place: (group, domainOf) => this.#moves.place(group, domainOf),
        putBack: (group) => this.#moves.putBack(group),
        forget: (gone) => this.#spaces.delete(gone),
      },
      name,
      span,
    );
    this.#spaces.add(space);
    return space;
  }

  /**
   * Lets the device (or its endpoint at `context`) work in the address space of a process: its IOVAs are the process's
   * addresses, its faults bring pages in. A second bind to the same process counts.
   * @throws LabError ENODEV without IOMMU or such context; EINVAL in a group with others, or when the process has ended;
   * EOPNOTSUPP when the IOMMU cannot walk its tables; ENOSPC when the context works for another process, or without address
   * space ids; EBUSY when it is on a domain of somebody's; ENOMEM, EIO
   */
  bindProcess(device: Device, process: ProcessSpace, context?: string): ProcessBond {
    return this.#processes.bind(device, process, context);
  }

  /**
   * Puts the device on `domain`: all its endpoints or none. The device must be on its default or the blocked domain.
   * @throws LabError ENODEV without IOMMU; EINVAL when its group has other members (`attachGroup`) or the domain was
   * made for other hardware, freed, or a process's (`bindProcess`); EBUSY when it is on another domain, or on this one; EOPNOTSUPP identity on
   * hardware without; ENOMEM, ENOSPC and EIO from the hardware
   */
  attach(domain: IommuDomain, device: Device): void {
    refuseProcess(domain);
    const group = this.#groups.requireAlone(device);
    this.#moves.refuseAttached(group.bindings);
    this.#moves.place(group, () => domain);
  }

  /** `attach` for every member of the device's group. @throws LabError as `attach` */
  attachGroup(domain: IommuDomain, device: Device): void {
    refuseProcess(domain);
    const group = this.#groups.require(device);
    this.#moves.refuseAttached(group.bindings);
    this.#moves.place(group, () => domain);
  }

  /**
   * Puts one endpoint on `domain`, on purpose beside the others. `context` as endpoints name it, or `provider:context`.
   * @throws LabError as `attach`; ENODEV when the device has no such endpoint
   */
  attachEndpoint(domain: IommuDomain, device: Device, context: string): void {
    refuseProcess(domain);
    const group = this.#groups.requireAlone(device);
    const binding = bindingAt(group, device, context);
    this.#moves.refuseAttached([binding]);
    attachAll(this.#world, [binding], () => domain);
    this.#moves.report(device, domain, context);
  }

  /**
   * The live switch: moves the device (or its endpoint at `context`) from whatever domain to `domain`. A running master
   * is translated by the old or the new one. @throws LabError as `attach`, without EBUSY for being attached
   */
  replace(domain: IommuDomain, device: Device, context?: string): void {
    refuseProcess(domain);
    const group = this.#groups.requireAlone(device);
    if (context === undefined) this.#moves.place(group, () => domain);
    else {
      attachAll(this.#world, [bindingAt(group, device, context)], () => domain);
      this.#moves.report(device, domain, context);
    }
    this.#releaseSpaces();
  }

  /**
   * Takes the device's group (or the device's endpoint at `context`) from `domain` back to its default, or to blocked
   * while it is owned. Endpoints that are not on `domain` stay. Never fails: what cannot be moved is blocked.
   */
  detach(domain: IommuDomain, device: Device, context?: string): void {
    const group = this.#groups.find(device);
    if (group === undefined) return;
    const baseOf = coreDomainOf(group, this.#domains.blocked);
    const bindings = context === undefined ? group.bindings : [bindingAt(group, device, context)];
    const leaving = bindings.filter((b) => b.domain === domain && domain !== baseOf(b));
    const [first] = group.bindings;
    if (context === undefined && group.domain === domain && first !== undefined) group.domain = baseOf(first);
    for (const binding of leaving) {
      const base = baseOf(binding);
      mustAttach(this.#world, binding, base);
      this.#moves.report(binding.device, base, context);
    }
    this.#releaseSpaces();
  }

  /**
   * Takes the device's group for one exclusive owner: it moves to the blocked domain at once. The same owner may claim
   * through several members; a driver may own what it is bound to (`owner` the driver or its name).
   * @throws LabError ENODEV, EINVAL without owner; EPERM while another owns it or a driver uses a member; EBUSY when
   * it is not on its default domain; what `attach` throws
   */
  claimOwnership(device: Device, owner: unknown): void {
    const group = this.#groups.require(device);
    const isFirst = claim(group, device, owner, () =>
      attachAll(this.#world, group.bindings, () => this.#domains.blocked),
    );
    if (!isFirst) return;
    group.domain = this.#domains.blocked;
    for (const member of group.devices) this.#moves.report(member, group.domain);
  }

  /**
   * Gives a claim back; with the last one the group returns to its default. Harmless when nothing is claimed.
   * @throws LabError EPERM when `owner` is given and is not the owner
   */
  releaseOwnership(device: Device, owner?: unknown): void {
    const group = this.#groups.find(device);
    if (group !== undefined && unclaim(group, device, owner)) this.#endOwnership(group);
  }

  /**
   * A driver's interrupt handler hands a fault on. The domain's handler is asked first, then every listener.
   * @returns the first verdict, or `terminate`
   */
  reportFault(instance: IommuInstance, report: FaultReport): FaultVerdict {
    return this.#faults.report(instance, report);
  }

  /**
   * Answers a fault whose verdict was `hold`. @returns whether the access was still waiting: the first answer counts, and
   * moving the device elsewhere is one. @throws LabError EIO when the hardware cannot be reached
   */
  respond(fault: Fault, outcome: 'retry' | 'terminate'): boolean {
    return this.#faults.respond(fault, outcome);
  }

  /** Calls `listener` for each fault from now on; it may give a verdict. @returns ends it */
  onFault(listener: FaultListener): () => void {
    return this.#faults.listen(listener);
  }

  /** The last 256 faults, oldest first. */
  get faults(): readonly Fault[] {
    return this.#faults.recent;
  }

  /** Faults so far. */
  get faultCount(): number {
    return this.#faults.total;
  }

  /** Why a fault happened. @throws LabError ENOENT for a fault that is not of this system, or forgotten */
  why(fault: Fault): Explanation {
    return this.#faults.why(fault, (device) => this.#domains.notUsedByOthers(device));
  }

  #makeGroup(device: Device, probed: readonly ProbedEndpoint[]): GroupState {
    if (this.#world.fail('iommu-core.group')) {
      throw new LabError('ENOMEM', `no memory for a group for ${device.name}`, { device: device.name });
    }
    const instances = probed.map((p) => p.instance);
    const createSpace = (name: string): IoAddressSpace => this.createAddressSpace(name);
    const defaults = makeDefaults(this.#domains, createSpace, device, instances);
    return {
      ...defaults,
      id: this.#groupId++,
      devices: [],
      bindings: [],
      domain: defaults.defaultDomain,
      owner: undefined,
      claims: new Set(),
    };
  }

  #behind(provider: string): readonly Binding[] {
    return this.#groups.bindings().filter((b) => b.endpoint.provider === provider && !b.isGone);
  }

  #extend(space: IoAddressSpace, instance: IommuInstance): void {
    if (space.span !== 'all') return;
    try {
      space.reach(instance);
    } catch (error) {
      if (!isLabError(error)) throw error;
      this.#world.emit('iommu:address_space_not_extended', {
        space: space.name,
        instance: instance.name,
        error: error.message,
      });
    }
  }

  #releaseSpaces(): void {
    for (const space of this.#spaces) space.release();
  }

  #endOwnership(group: GroupState): void {
    group.owner = undefined;
    group.claims.clear();
    this.#moves.putBack(group);
    this.#releaseSpaces();
  }
}
