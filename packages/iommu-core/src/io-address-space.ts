/**
 * A set of mappings that belongs to no hardware. It holds one paging domain for each kind of IOMMU that its members sit
 * behind, shares one where it can, and keeps all of them the same whatever fails in between.
 *
 * Mappings come and go whole (iommufd's areas): IOMMUs with different page sizes would else remove different amounts.
 * Long for the errors of its calls; what keeps the domains the same is in space-domains.ts.
 */
import type { Device, ReservedRegion } from '@iommu-lab/driver-core';
import { hex, LabError, type PhysAddr, type World } from '@iommu-lab/machine';
import { type DomainOf, refuseGone } from './groups/attach.ts';
import type { IommuCapabilities } from './capabilities.ts';
import { spaceCapabilities } from './common-capabilities.ts';
import { type FaultHandler, type IommuDomain, UNLABELLED } from './domain.ts';
import type { IommuInstance } from './driver-port.ts';
import type { Binding, GroupState } from './groups/group.ts';
import { Gather } from './mapping/gather.ts';
import { MappingJournal, type MappingRecord } from './mapping/mapping-journal.ts';
import { mergeEntries, type ScatterEntry } from './mapping/merge-entries.ts';
import type { Protection } from './protection.ts';
import { refuseReserved, reservedRegionsOf } from './reserved-regions.ts';
import { SpaceDomains } from './space-domains.ts';

/**
 * `members`: domains exist for the IOMMUs of members, as they come and go. `all`: for every IOMMU of the system, from the
 * start (what KVM's domain of 2010 was): a map costs more, a member joins without replaying anything.
 */
export type AddressSpaceSpan = 'members' | 'all';

/** What an address space needs of the core. */
export interface SpaceHost {
  readonly world: World;
  readonly instances: () => readonly IommuInstance[];
  readonly makeDomain: (instances: readonly IommuInstance[], name: string, heldBy: string) => IommuDomain;
  readonly groups: () => readonly GroupState[];
  /** The device's group, idle. @throws LabError ENODEV, EBUSY */
  readonly idleGroup: (device: Device) => GroupState;
  /** Moves the group, or nothing. @throws LabError as `Iommu.attach` */
  readonly place: (group: GroupState, domainOf: DomainOf) => void;
  /** Takes those of the group that leave back to where they belong. Never fails. */
  readonly putBack: (group: GroupState, isLeaving: (binding: Binding) => boolean) => void;
  /** The address space has gone. */
  readonly forget: (space: IoAddressSpace) => void;
}

/** A domain as its address space shows it: what changes it goes through the address space. */
export type SpaceDomain = Pick<
  IommuDomain,
  'kind' | 'name' | 'capabilities' | 'tableBytes' | 'mappedBytes' | 'mappings' | 'iovaToPhys'
>;

export class IoAddressSpace {
  readonly kind = 'paging';
  readonly name: string;
  readonly span: AddressSpaceSpan;
  readonly #host: SpaceHost;
  readonly #journal = new MappingJournal();
  readonly #domains: SpaceDomains;
  #isFreed = false;

  /** Address spaces come from `Iommu.createAddressSpace`. @throws LabError as that */
  constructor(host: SpaceHost, name: string, span: AddressSpaceSpan) {
    this.#host = host;
    this.name = name;
    this.span = span;
    let count = 0;
    this.#domains = new SpaceDomains(this.#journal, (instances) =>
      host.makeDomain(instances, `${name}#${count++}`, `the address space ${name}`),
    );
    try {
      if (span === 'all') for (const instance of host.instances()) this.reach(instance);
    } catch (error) {
      this.#domains.keep(() => false);
      throw error;
    }
  }

  /** Its domains, to look at: one for each kind of IOMMU it spans now. */
  get domains(): readonly SpaceDomain[] {
    return [...this.#domains.all];
  }

  /** Devices that use it now. */
  get members(): readonly Device[] {
    return this.#memberGroups().flatMap((g) => g.devices);
  }

  /** Bytes mapped now. */
  get mappedBytes(): number {
    return this.#journal.liveBytes;
  }

  /** Bytes of memory the tables of all its domains occupy. */
  get tableBytes(): number {
    return this.#domains.all.reduce((sum, domain) => sum + domain.tableBytes, 0);
  }

  /** What all IOMMUs it spans can do together, in pages of the largest granule; while it spans none, anything. */
  get capabilities(): IommuCapabilities {
    return spaceCapabilities(this.#domains.all.map((d) => d.capabilities));
  }

  /** Regions that its members keep from being mapped, ascending. */
  get reservedRegions(): readonly ReservedRegion[] {
    return reservedRegionsOf(this.#memberGroups().flatMap((g) => g.bindings));
  }

  /** Live mappings, ascending by IOVA. */
  mappings(): readonly MappingRecord[] {
    return [...this.#journal.live];
  }

  /** Where `iova` leads, or undefined: nowhere. The same through every IOMMU. */
  iovaToPhys(iova: number): PhysAddr | undefined {
    const record = this.#journal.find(iova);
    return record && ((record.address + (iova - record.iova)) as PhysAddr);
  }

  /**
   * Maps `sizeBytes` from `iova` to `address` on, for every member that is and will be.
   * @throws LabError as `mapSg`
   */
  map(
    iova: number,
    address: number,
    sizeBytes: number,
    protection: Protection,
    by: string = UNLABELLED,
  ): void {
    this.mapSg(iova, [{ address, length: sizeBytes }], protection, by);
  }

  /**
   * Maps a scattered buffer at consecutive IOVAs, through every IOMMU it spans or through none. While it spans none, the
   * mapping is kept for those that come; what their hardware cannot do shows then.
   * @returns bytes mapped
   * @throws LabError EEXIST over a mapping; EADDRINUSE in a member's reserved region; EINVAL on a range that is empty or
   * no addresses, without rights, or when freed; and as `IommuDomain.mapSg`
   */
  mapSg(
    iova: number,
    entries: readonly ScatterEntry[],
    protection: Protection,
    by: string = UNLABELLED,
  ): number {
    this.#refuseFreed();
    const runs = mergeEntries(entries);
    const sizeBytes = runs.reduce((sum, run) => sum + run.length, 0);
    checkRange(iova, sizeBytes);
    for (const { address, length } of runs) checkRange(address, length);
    if (!protection.read && !protection.write) {
      throw new LabError('EINVAL', 'a mapping allows reads, writes or both', { iova });
    }
    const other = this.#journal.firstOverlap(iova, sizeBytes);
    if (other !== undefined) {
      throw new LabError('EEXIST', `${hex(other.iova)} is mapped in ${this.name} by "${other.by}"`, { iova });
    }
    refuseReserved(this.reservedRegions, iova, sizeBytes);
    if (this.#host.world.fail('iommu-core.space-map')) {
      throw new LabError('ENOMEM', `no memory for a mapping in ${this.name}`, { iova });
    }
    this.#domains.map({ iova, entries: runs, sizeBytes, protection, by });

    const buffer = { iova, sizeBytes };
    const atNs = this.#host.world.clock.now;
    let at = iova;
    for (const { address, length } of runs) {
      this.#journal.add({ iova: at, address, sizeBytes: length, protection, by, atNs, buffer });
      at += length;
    }
    return sizeBytes;
  }

  /**
   * Removes the mappings in a range, and waits until no IOMMU uses them any more. What lies between them is skipped.
   * @returns bytes removed
   * @throws LabError EINVAL when an end of the range cuts a mapping (what one call mapped goes in one piece), or the range
   * is empty or no addresses; nothing is removed then
   */
  unmap(iova: number, sizeBytes: number, by: string = UNLABELLED): number {
    const gather = new Gather();
    const removed = this.unmapFast(iova, sizeBytes, gather, by);
    if (!gather.isEmpty) this.sync(gather);
    return removed;
  }

  /**
   * `unmap` without the wait: every IOMMU may go on using what was removed until `sync(gather)`. Memory and IOVA must not
   * be used for anything else before. Members may come and go meanwhile.
   */
  unmapFast(iova: number, sizeBytes: number, gather: Gather, by: string = UNLABELLED): number {
    checkRange(iova, sizeBytes);
    const buffers = this.#buffersIn(iova, sizeBytes);
    for (const buffer of buffers) {
      const isInside = buffer.iova >= iova && buffer.iova + buffer.sizeBytes <= iova + sizeBytes;
      if (isInside) continue;
      throw new LabError(
        'EINVAL',
        `the range cuts what is mapped from ${hex(buffer.iova)} on in ${this.name}`,
        {
          iova,
          sizeBytes,
        },
      );
    }
    let removed = 0;
    for (const buffer of buffers) {
      this.#domains.unmapFast(buffer, gather, by);
      removed += this.#journal.remove(buffer.iova, buffer.sizeBytes, by, this.#host.world.clock.now);
    }
    return removed;
  }

  /** Makes every IOMMU forget what `gather` holds, waits for it, and frees the tables left to it. */
  sync(gather: Gather): void {
    // By the gather and not by the domains there are now: those that have gone since have tables to free in it.
    gather.syncParts();
  }

  /**
   * Makes the device (with its group) a member: all its endpoints translate by the address space, or none. An IOMMU that
   * cannot use a domain there is gets one of its own, with every mapping replayed into it first.
   * @throws LabError EADDRINUSE when something is mapped in a region the device reserves; what its IOMMU refuses to map
   * (ERANGE, EINVAL, EOPNOTSUPP); EINVAL when it is another group's default; as `Iommu.attach`. Everything is as before then.
   */
  attach(device: Device): void {
    this.#refuseFreed();
    const group = this.#host.idleGroup(device);
    if (this.#host.groups().some((g) => g.defaultSpace === this && g !== group)) {
      throw new LabError('EINVAL', `${this.name} is the default of another group`, { device: device.name });
    }
    for (const region of reservedRegionsOf(group.bindings)) {
      if (region.kind === 'direct-relaxable') continue;
      const mapped = this.#journal.firstOverlap(region.iova, region.sizeBytes);
      if (mapped === undefined) continue;
      throw new LabError(
        'EADDRINUSE',
        `${device.name} reserves ${hex(region.iova)} ("${region.name}"), where "${mapped.by}" has mapped something`,
        { device: device.name, region: region.name },
      );
    }
    refuseGone(group.bindings);
    const chosen = this.#domains.reachAll(group.bindings);
    try {
      this.#host.place(group, (binding) => chosen.get(binding) as IommuDomain);
    } catch (error) {
      this.release();
      throw error;
    }
    this.#host.world.emit('iommu:join_address_space', {
      device: device.name,
      space: this.name,
      domains: [...new Set([...chosen.values()].map((d) => d.name))],
    });
  }

  /** Takes the device's group back to its default, or to blocked while it is owned. Harmless when it is no member. */
  detach(device: Device): void {
    const group = this.#memberGroups().find((g) => g.devices.includes(device));
    if (group !== undefined) this.#host.putBack(group, (b) => this.#holds(b));
    this.release();
  }

  /** Sets who is asked first about a member's fault; undefined: nobody. */
  setFaultHandler(handler: FaultHandler | undefined): void {
    this.#domains.setFaultHandler(handler);
  }

  /**
   * Ends it, with what is still mapped. Harmless a second time.
   * @throws LabError EBUSY while it has members, or a group returns to it
   */
  free(): void {
    if (this.#isFreed) return;
    const returning = this.#host.groups().filter((g) => g.defaultSpace === this);
    const users = new Set([...this.members, ...returning.flatMap((g) => g.devices)]);
    if (users.size > 0) {
      throw new LabError('EBUSY', `${this.name} is in use by ${[...users].map((d) => d.name).join(', ')}`);
    }
    this.#isFreed = true;
    this.#domains.keep(() => false);
    this.#journal.remove(
      0,
      Number.MAX_SAFE_INTEGER,
      'the end of the address space',
      this.#host.world.clock.now,
    );
    this.#host.forget(this);
  }

  /**
   * For the core: the domain that suits an IOMMU, or a new one with all mappings in it. @throws LabError as `attach`
   */
  reach(instance: IommuInstance): IommuDomain {
    return this.#domains.reach(instance);
  }

  /** For the core: the domain that suits an IOMMU, if there is one. */
  suiting(instance: IommuInstance): IommuDomain | undefined {
    return this.#domains.suiting(instance);
  }

  /** For the core: a device or an IOMMU may have gone. Domains that nobody uses any more are freed. */
  release(): void {
    const used = new Set(this.#host.groups().flatMap((g) => g.bindings.flatMap((b) => [b.domain, b.home])));
    if (this.span === 'all') {
      for (const instance of this.#host.instances()) used.add(this.#domains.suiting(instance));
    }
    this.#domains.keep((domain) => used.has(domain));
  }

  #buffersIn(iova: number, sizeBytes: number): readonly MappingRecord['buffer'][] {
    const buffers: MappingRecord['buffer'][] = [];
    const end = iova + sizeBytes;
    for (let at = iova; at < end;) {
      const record = this.#journal.firstOverlap(at, end - at);
      if (record === undefined) break;
      buffers.push(record.buffer);
      at = record.buffer.iova + record.buffer.sizeBytes;
    }
    return buffers;
  }

  #memberGroups(): readonly GroupState[] {
    return this.#host.groups().filter((g) => g.bindings.some((b) => this.#holds(b)));
  }

  #holds({ domain }: Binding): boolean {
    return domain !== undefined && this.#domains.all.includes(domain);
  }

  #refuseFreed(): void {
    if (this.#isFreed) throw new LabError('EINVAL', `the address space ${this.name} has been freed`);
  }
}

function checkRange(start: number, sizeBytes: number): void {
  const isRange =
    Number.isSafeInteger(start) && start >= 0 && Number.isSafeInteger(sizeBytes) && sizeBytes > 0;
  if (isRange && Number.isSafeInteger(start + sizeBytes)) return;
  throw new LabError('EINVAL', `${start} + ${sizeBytes} is no range of addresses`, { start, sizeBytes });
}
