/**
 * The public object: instances register here, devices are configured here, and everything else starts from a device.
 * Nobody names an IOMMU to it: the device's endpoints do. Long because it is the whole public API with its errors; each
 * mechanism is in a file of its own.
 */
import type { Device } from '@iommu-lab/driver-core';
import { hex, LabError, type World } from '@iommu-lab/machine';
import { attachAll, mustAttach, release } from './attach.ts';
import type { FaultReport, FaultVerdict, IommuInstance } from './driver-port.ts';
import { DomainFactory, type DefaultDomainKind, type DomainRequest } from './domain-factory.ts';
import { internalsOf, type IommuDomain } from './domain.ts';
import type { Explanation } from './explanation.ts';
import { FaultLog } from './fault-log.ts';
import type { Fault } from './fault.ts';
import {
  type Binding,
  bindingAt,
  coreDomain,
  groupWithKeys,
  type GroupState,
  type IommuGroup,
} from './group.ts';
import { InstanceRegistry } from './instance-registry.ts';
import { checkMayUse, claim, unclaim } from './ownership.ts';
import { collectFault } from './report-fault.ts';
import { explain } from './why.ts';

export interface IommuOptions {
  /** What a device is on before somebody attaches it; `dma` unless given. */
  readonly defaultDomain?: DefaultDomainKind;
}

export class Iommu {
  readonly #world: World;
  readonly #instances = new InstanceRegistry();
  readonly #groups: GroupState[] = [];
  readonly #domains: DomainFactory;
  readonly #faults = new FaultLog();
  readonly #listeners = new Set<FaultListener>();
  #groupId = 0;

  constructor(world: World, options: IommuOptions = {}) {
    this.#world = world;
    this.#domains = new DomainFactory(world, options.defaultDomain ?? 'dma', this.#groups);
  }

  /** Adds an IOMMU that its driver has probed. @throws LabError EEXIST when its provider has one */
  registerInstance(instance: IommuInstance): void {
    this.#instances.add(instance);
    this.#world.emit('iommu:instance_registered', { provider: instance.provider, instance: instance.name });
  }

  /** Takes an IOMMU away; harmless when there is none. @throws LabError EBUSY while a configured device sits behind it */
  unregisterInstance(provider: string): void {
    const users = this.#bindings().filter((b) => b.endpoint.provider === provider);
    if (users.length > 0) {
      const names = [...new Set(users.map((b) => b.device.name))].join(', ');
      throw new LabError('EBUSY', `the IOMMU "${provider}" serves ${names}: unbind them first`, { provider });
    }
    this.#instances.remove(provider);
  }

  /** Registered instances, in the order they came. */
  get instances(): readonly IommuInstance[] {
    return this.#instances.all();
  }

  /** Groups that have devices, by number. */
  get groups(): readonly IommuGroup[] {
    return [...this.#groups];
  }

  /** Paging domains that are not freed, oldest first. */
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
   * The bus's hook: finds the device's IOMMUs, puts it in a group and on the group's domain. A device without endpoints
   * is left alone; one that is configured stays as it is.
   * @throws LabError EPROBE_DEFER while an IOMMU's driver has not come; ENODEV when the hardware has no such context;
   * EBUSY when somebody owns the group; EOPNOTSUPP when one domain would have to span incompatible IOMMUs; EINVAL when
   * it would join two groups; ENOMEM and what `attach` throws. Everything is as before then.
   */
  configure(device: Device): void {
    if (device.endpoints.length === 0) return;
    const known = this.#stateOf(device);
    if (known !== undefined) return checkMayUse(known, device);
    const bindings = this.#probe(device);
    const keys = bindings.map((b) => b.isolationKey);
    const joined = groupWithKeys(this.#groups, keys, device);
    if (joined !== undefined) checkMayUse(joined, device);
    const group = joined ?? this.#makeGroup(device, bindings);
    try {
      attachAll(this.#world, bindings, group.domain);
    } catch (error) {
      if (joined === undefined) this.#domains.discard(group.defaultDomain);
      throw error;
    }
    if (joined === undefined) this.#groups.push(group);
    group.devices.push(device);
    group.bindings.push(...bindings);
    this.#world.emit('iommu:add_device_to_group', { group: group.id, device: device.name });
    this.#reportAttach(device, group.domain);
  }

  /** Undoes `configure`: the endpoints are released (blocked where the hardware can), the last member takes the group along. */
  cleanup(device: Device): void {
    const group = this.#stateOf(device);
    if (group === undefined) return;
    const mine = group.bindings.filter((b) => b.device === device);
    for (const binding of mine.reverse()) release(this.#world, binding);
    group.devices.splice(group.devices.indexOf(device), 1);
    group.bindings.splice(0, Infinity, ...group.bindings.filter((b) => b.device !== device));
    group.claims.delete(device);
    if (group.claims.size === 0 && group.owner !== undefined) this.#endOwnership(group);
    if (group.devices.length === 0) {
      this.#groups.splice(this.#groups.indexOf(group), 1);
      this.#domains.discard(group.defaultDomain);
    }
    this.#world.emit('iommu:remove_device_from_group', { group: group.id, device: device.name });
  }

  /** The device's group; undefined when it is not configured or has no IOMMU. */
  groupOf(device: Device): IommuGroup | undefined {
    return this.#stateOf(device);
  }

  /** What translates the device now, or what translates its endpoint at `context`. @throws LabError ENODEV, no such context */
  domainOf(device: Device, context?: string): IommuDomain | undefined {
    const group = this.#stateOf(device);
    if (group === undefined || context === undefined) return group?.domain;
    return bindingAt(group, device, context).domain;
  }

  /** What the device's group returns to. */
  defaultDomainOf(device: Device): IommuDomain | undefined {
    return this.#stateOf(device)?.defaultDomain;
  }

  /**
   * A domain with nothing mapped, that any IOMMU compatible with the device's can use.
   * @throws LabError ENODEV when the device has no IOMMU; EOPNOTSUPP when its IOMMUs are incompatible; ENOMEM
   */
  allocPagingDomain(device: Device, name?: string): IommuDomain {
    return this.#domains.paging(this.#bindingsOf(device), name);
  }

  /**
   * A domain by kind: a new one for `paging`, the shared one for `identity` and `blocked`.
   * @throws LabError as `allocPagingDomain`; EOPNOTSUPP for the kinds that are not built (`sva`, `nested`)
   */
  allocDomain(device: Device, kind: DomainRequest, name?: string): IommuDomain {
    return this.#domains.allocate(this.#bindingsOf(device), kind, name);
  }

  /**
   * Puts the device on `domain`: all its endpoints or none. The device must be on its default or the blocked domain.
   * @throws LabError ENODEV without IOMMU; EINVAL when its group has other members (`attachGroup`) or the domain was
   * made for other hardware or freed; EBUSY when it is on another domain, or on this one; EOPNOTSUPP identity on
   * hardware without; ENOMEM, ENOSPC and EIO from the hardware
   */
  attach(domain: IommuDomain, device: Device): void {
    const group = this.#alone(device);
    this.#refuseAttached(group, group.bindings);
    this.#switch(group, domain);
  }

  /** `attach` for every member of the device's group. @throws LabError as `attach` */
  attachGroup(domain: IommuDomain, device: Device): void {
    const group = this.#require(device);
    this.#refuseAttached(group, group.bindings);
    this.#switch(group, domain);
  }

  /**
   * Puts one endpoint on `domain`, on purpose beside the others. `context` as endpoints name it, or `provider:context`.
   * @throws LabError as `attach`; ENODEV when the device has no such endpoint
   */
  attachEndpoint(domain: IommuDomain, device: Device, context: string): void {
    const binding = bindingAt(this.#alone(device), device, context);
    this.#refuseAttached(this.#require(device), [binding]);
    attachAll(this.#world, [binding], domain);
    this.#reportAttach(device, domain, context);
  }

  /**
   * The live switch: moves the device (or its endpoint at `context`) from whatever domain to `domain`. A running master
   * is translated by the old or the new one. @throws LabError as `attach`, without EBUSY for being attached
   */
  replace(domain: IommuDomain, device: Device, context?: string): void {
    const group = this.#alone(device);
    if (context === undefined) return this.#switch(group, domain);
    attachAll(this.#world, [bindingAt(group, device, context)], domain);
    this.#reportAttach(device, domain, context);
  }

  /**
   * Takes the device's group (or the device's endpoint at `context`) from `domain` back to its default, or to blocked
   * while it is owned. Endpoints that are not on `domain` stay. Never fails: what cannot be moved is blocked.
   */
  detach(domain: IommuDomain, device: Device, context?: string): void {
    const group = this.#stateOf(device);
    if (group === undefined) return;
    const base = coreDomain(group, this.#domains.blocked);
    const bindings = context === undefined ? group.bindings : [bindingAt(group, device, context)];
    const leaving = bindings.filter((b) => b.domain === domain && domain !== base);
    if (context === undefined && group.domain === domain) group.domain = base;
    for (const binding of leaving) mustAttach(this.#world, binding, base);
    for (const member of new Set(leaving.map((b) => b.device))) this.#reportAttach(member, base, context);
  }

  /**
   * Takes the device's group for one exclusive owner: it moves to the blocked domain at once. The same owner may claim
   * through several members; a driver may own what it is bound to (`owner` the driver or its name).
   * @throws LabError ENODEV, EINVAL without owner; EPERM while another owns it or a driver uses a member; EBUSY when
   * it is not on its default domain; what `attach` throws
   */
  claimOwnership(device: Device, owner: unknown): void {
    const group = this.#require(device);
    const isFirst = claim(group, device, owner, () =>
      attachAll(this.#world, group.bindings, this.#domains.blocked),
    );
    if (!isFirst) return;
    group.domain = this.#domains.blocked;
    for (const member of group.devices) this.#reportAttach(member, group.domain);
  }

  /**
   * Gives a claim back; with the last one the group returns to its default. Harmless when nothing is claimed.
   * @throws LabError EPERM when `owner` is given and is not the owner
   */
  releaseOwnership(device: Device, owner?: unknown): void {
    const group = this.#stateOf(device);
    if (group !== undefined && unclaim(group, device, owner)) this.#endOwnership(group);
  }

  /**
   * A driver's interrupt handler hands a fault on. The domain's handler is asked first, then every listener.
   * @returns the first verdict, or `terminate`
   */
  reportFault(instance: IommuInstance, report: FaultReport): FaultVerdict {
    const { fault, evidence } = collectFault(
      this.#world,
      this.#bindings(),
      instance,
      report,
      this.#faults,
      (device) => this.#stateOf(device)?.owner,
    );
    this.#faults.add(fault, evidence);
    this.#world.emit('iommu:io_page_fault', {
      driver: evidence.device?.driver?.name ?? evidence.device?.bus?.name ?? instance.name,
      device: fault.device ?? '',
      iova: hex(fault.iova),
      flags: fault.direction === 'write' ? 1 : 0,
      cause: fault.cause,
      context: fault.context ?? '',
      fault: fault.id,
    });
    let verdict = evidence.domain && internalsOf(evidence.domain).handler?.(fault);
    for (const listener of [...this.#listeners]) {
      const said = listener(fault);
      if (verdict === undefined && said !== undefined) verdict = said;
    }
    return verdict ?? 'terminate';
  }

  /** Calls `listener` for each fault from now on; it may give a verdict. @returns ends it */
  onFault(listener: FaultListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
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
    const evidence = this.#faults.evidenceFor(fault);
    if (evidence === undefined) {
      throw new LabError('ENOENT', `fault ${fault.id} is not known here, or long past`, { fault: fault.id });
    }
    return explain(fault, evidence, this.#domains.notUsedByOthers(evidence.device));
  }

  #probe(device: Device): Binding[] {
    const { name } = device;
    const instances = device.endpoints.map((e) => this.#instances.resolve(e.provider, name));
    return device.endpoints.map((endpoint, i) => {
      const instance = instances[i] as IommuInstance;
      const isolationKey = `${endpoint.provider}\n${instance.probeEndpoint(device, endpoint)}`;
      return { device, endpoint, instance, isolationKey, domain: undefined };
    });
  }

  #makeGroup(device: Device, bindings: readonly Binding[]): GroupState {
    if (this.#world.fail('iommu-core.group')) {
      throw new LabError('ENOMEM', `no memory for a group for ${device.name}`, { device: device.name });
    }
    const domain = this.#domains.makeDefault(bindings, device);
    return {
      id: this.#groupId++,
      devices: [],
      bindings: [],
      defaultDomain: domain,
      domain,
      owner: undefined,
      claims: new Set(),
    };
  }

  #switch(group: GroupState, domain: IommuDomain): void {
    attachAll(this.#world, group.bindings, domain);
    group.domain = domain;
    for (const device of group.devices) this.#reportAttach(device, domain);
  }

  #endOwnership(group: GroupState): void {
    group.owner = undefined;
    group.claims.clear();
    group.domain = group.defaultDomain;
    for (const binding of group.bindings) mustAttach(this.#world, binding, group.defaultDomain);
    for (const device of group.devices) this.#reportAttach(device, group.domain);
  }

  #refuseAttached(group: GroupState, bindings: readonly Binding[]): void {
    const idle = [group.defaultDomain, this.#domains.blocked, undefined];
    const busy = bindings.find((b) => !idle.includes(b.domain));
    if (busy === undefined) return;
    throw new LabError('EBUSY', `${busy.device.name} is attached to ${busy.domain?.name}`, {
      device: busy.device.name,
    });
  }

  #alone(device: Device): GroupState {
    const group = this.#require(device);
    if (group.devices.length === 1) return group;
    const others = group.devices.filter((d) => d !== device).map((d) => d.name);
    throw new LabError('EINVAL', `${device.name} shares group ${group.id} with ${others.join(', ')}`, {
      device: device.name,
    });
  }

  #require(device: Device): GroupState {
    const group = this.#stateOf(device);
    if (group === undefined) {
      throw new LabError('ENODEV', `${device.name} is behind no IOMMU, or not configured`, {
        device: device.name,
      });
    }
    return group;
  }

  #stateOf(device: Device): GroupState | undefined {
    return this.#groups.find((g) => g.devices.includes(device));
  }

  #bindings(): readonly Binding[] {
    return this.#groups.flatMap((g) => g.bindings);
  }

  #bindingsOf(device: Device): readonly Binding[] {
    return this.#require(device).bindings.filter((b) => b.device === device);
  }

  #reportAttach(device: Device, domain: IommuDomain, context?: string): void {
    this.#world.emit('iommu:attach_device_to_domain', {
      device: device.name,
      domain: domain.name,
      ...(context === undefined ? {} : { context }),
    });
  }
}

/** Hears of every fault. A returned verdict counts when the domain's handler and earlier listeners gave none. */
export type FaultListener = (fault: Fault) => FaultVerdict | undefined | void;
