/**
 * The public object: instances register here, devices are configured here, and everything else starts from a device.
 * Nobody names an IOMMU to it: the device's endpoints do. Long because it is the whole public API with its errors; each
 * mechanism is in a file of its own.
 */
import type { Device, ReservedRegion } from '@iommu-lab/driver-core';
import { isLabError, type World } from '@iommu-lab/machine';
import { attachAll } from './groups/attach.ts';
import { DomainFactory, type DefaultDomainKind, type DomainRequest } from './domain-factory.ts';
import type { IommuDomain } from './domain.ts';
import type { FaultReport, FaultVerdict, IommuInstance } from './driver-port.ts';
import type { Explanation } from './faults/explanation.ts';
import { FaultDesk, type FaultListener } from './faults/fault-desk.ts';
import type { Fault } from './faults/fault.ts';
import {
  bindingAt,
  coreDomainOf,
  type GroupState,
  type IommuGroup,
  separableBinding,
  separableBindings,
} from './groups/group.ts';
import { GroupMoves } from './groups/group-moves.ts';
import { GroupRegistry } from './groups/group-registry.ts';
import { InstanceRegistry } from './instance-registry.ts';
import { type AddressSpaceSpan, IoAddressSpace } from './io-address-space.ts';
import { Membership } from './groups/membership.ts';
import { claim, unclaim } from './groups/ownership.ts';
import { type ProcessBond, ProcessBindings } from './process-binding.ts';
import type { ProcessSpace } from './process-space.ts';
import { reservedRegionsOf } from './reserved-regions.ts';

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
  readonly #membership: Membership;

  constructor(world: World, options: IommuOptions = {}) {
    this.#world = world;
    this.#domains = new DomainFactory(world, options.defaultDomain ?? 'dma', this.#groups.all);
    this.#moves = new GroupMoves(world, this.#domains.blocked);
    this.#faults = new FaultDesk(world, this.#groups);
    this.#processes = new ProcessBindings(world, this.#groups, this.#domains, this.#moves, (fault, outcome) =>
      this.respond(fault, outcome),
    );
    this.#membership = new Membership({
      world,
      instances: this.#instances,
      groups: this.#groups,
      domains: this.#domains,
      moves: this.#moves,
      createSpace: (name) => this.createAddressSpace(name),
      onDeparture: () => this.#letGo(),
    });
  }

  /**
   * Adds an IOMMU that its driver has probed. Address spaces that span all IOMMUs reach it from here on; where one maps
   * what its hardware cannot, that is reported, and a device behind it cannot join.
   * @throws LabError EEXIST when its provider has one; what a listener throws; it is not registered then
   */
  registerInstance(instance: IommuInstance): void {
    this.#instances.add(instance);
    this.#world.emit('iommu:instance_registered', { provider: instance.provider, instance: instance.name });
    for (const space of this.#spaces) this.#extend(space, instance);
    try {
      for (const listener of [...this.#onRegistered]) listener(instance);
    } catch (error) {
      this.removeInstance(instance.provider);
      throw error;
    }
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
    this.#membership.unregister(provider);
  }

  /**
   * Takes an IOMMU away that devices still sit behind (hot-unplug): their endpoints there are released, hence blocked where
   * the hardware can, and stay without translation until the devices are cleaned up and configured anew; attaching them is `ENODEV`.
   * What is mapped in their domains can still be unmapped. Never fails; harmless when there is none.
   */
  removeInstance(provider: string): void {
    this.#membership.removeInstance(provider);
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
   * EBUSY when the group is owned or attached to something; EINVAL when it would join two groups, or one whose default
   * domains do not suit its IOMMU, or be blocked in spite of direct regions; EADDRINUSE or ERANGE for direct regions that
   * cannot be mapped; ENOMEM and what `attach` throws. Everything is as before then.
   */
  configure(device: Device): void {
    this.#membership.add(device);
  }

  /** Undoes `configure`: the endpoints are released (blocked where the hardware can), the last member takes the group along. */
  cleanup(device: Device): void {
    this.#membership.remove(device);
  }

  /** The device's group; undefined when it is not configured or has no IOMMU. */
  groupOf(device: Device): IommuGroup | undefined {
    return this.#groups.find(device);
  }

  /** What translates the device now, or its endpoint at `context`; undefined: nothing does.
   * @throws LabError ENODEV, no such context; EINVAL, two IOMMUs have it */
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
        makeDomain: (instances, domainName, heldBy) => this.#domains.paging(instances, domainName, heldBy),
        groups: () => this.#groups.all,
        idleGroup: (device) => {
          const group = this.#groups.require(device);
          this.#moves.refuseAttached(group.bindings);
          return group;
        },
        place: (group, domainOf) => this.#moves.place(group, domainOf),
        putBack: (group, isLeaving) => {
          this.#moves.putBack(group, isLeaving);
          this.#letGo();
        },
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
   * @throws LabError ENODEV without IOMMU or such context; EINVAL in a group with others, for a device with direct regions
   * or a context that cannot be told from another, or when the process has ended;
   * EOPNOTSUPP when the IOMMU cannot walk its tables; ENOSPC when the context works for another process, or without address
   * space ids; EBUSY when it is on a domain of somebody's; ENOMEM, EIO
   */
  bindProcess(device: Device, process: ProcessSpace, context?: string): ProcessBond {
    return this.#processes.bind(device, process, context);
  }

  /**
   * Puts the device on `domain`: all its endpoints or none. The device must be on its default or the blocked domain.
   * @throws LabError ENODEV without IOMMU; EINVAL when its group has other members (`attachGroup`), or the domain was
   * made for other hardware, freed, or is kept by somebody (a process, an address space, another group whose default it is);
   * EBUSY when it is on another domain, or was attached to this one; EOPNOTSUPP identity on hardware without; ENOMEM, ENOSPC
   * and EIO from the hardware
   */
  attach(domain: IommuDomain, device: Device): void {
    const group = this.#groups.requireAlone(device);
    this.#moves.refuseHeld(domain, group);
    this.#moves.refuseAttached(group.bindings);
    this.#moves.place(group, () => domain);
  }

  /** `attach` for every member of the device's group. @throws LabError as `attach` */
  attachGroup(domain: IommuDomain, device: Device): void {
    const group = this.#groups.require(device);
    this.#moves.refuseHeld(domain, group);
    this.#moves.refuseAttached(group.bindings);
    this.#moves.place(group, () => domain);
  }

  /**
   * Puts one endpoint on `domain`, on purpose beside the others. `context` as endpoints name it, or `provider:context`.
   * @throws LabError as `attach`; ENODEV when the device has no such endpoint; EINVAL when two IOMMUs have that context, or
   * the hardware cannot tell the endpoint from another one of the group
   */
  attachEndpoint(domain: IommuDomain, device: Device, context: string): void {
    const group = this.#groups.requireAlone(device);
    this.#moves.refuseHeld(domain, group);
    const binding = separableBinding(group, device, context);
    this.#moves.refuseAttached([binding]);
    attachAll(this.#world, [binding], () => domain);
    this.#moves.reportBinding(binding);
  }

  /**
   * The live switch: moves the device (or its endpoint at `context`) from whatever domain to `domain`. A running master
   * is translated by the old or the new one. @throws LabError as `attachEndpoint`, without EBUSY for being attached
   */
  replace(domain: IommuDomain, device: Device, context?: string): void {
    const group = this.#groups.requireAlone(device);
    this.#moves.refuseHeld(domain, group);
    if (context === undefined) this.#moves.place(group, () => domain);
    else {
      const binding = separableBinding(group, device, context);
      attachAll(this.#world, [binding], () => domain);
      this.#moves.reportBinding(binding);
    }
    this.#letGo();
  }

  /**
   * Takes the device's group (or the device's endpoint at `context`) from `domain` back to its default, or to blocked
   * while it is owned. Endpoints that are not on `domain` stay, and an endpoint that is not there, or cannot be moved by
   * itself, is left alone. Never fails: what cannot be moved is blocked.
   */
  detach(domain: IommuDomain, device: Device, context?: string): void {
    const group = this.#groups.find(device);
    if (group === undefined) return;
    const baseOf = coreDomainOf(group, this.#domains.blocked);
    const bindings = context === undefined ? group.bindings : separableBindings(group, device, context);
    const left = this.#moves.leave(bindings, (b) => b.domain === domain, baseOf);
    if (context !== undefined) for (const binding of left) this.#moves.reportBinding(binding);
    else this.#moves.report(left);
    this.#letGo();
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
    this.#moves.report(group.bindings);
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

  /** Bindings have left: address spaces and bonds that hold nothing there any more let go of it. */
  #letGo(): void {
    this.#processes.release();
    for (const space of this.#spaces) space.release();
  }

  #endOwnership(group: GroupState): void {
    group.owner = undefined;
    this.#moves.putBack(group);
    this.#letGo();
  }
}
