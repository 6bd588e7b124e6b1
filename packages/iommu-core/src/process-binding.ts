/**
 * Devices that work in the address space of a process (drivers/iommu/iommu-sva.c). The process's tables are walked as they
 * are; what it unmaps is invalidated before the memory is anybody else's; a page that is not there is brought in while the
 * access waits; when it exits the device is stopped first. Without PASIDs a context serves one process at a time.
 */
import type { Device } from '@iommu-lab/driver-core';
import { hex, LabError, type World } from '@iommu-lab/machine';
import { attachAll, refuseGone } from './groups/attach.ts';
import { internalsOf, type IommuDomain } from './domain.ts';
import type { DomainFactory } from './domain-factory.ts';
import type { FaultCause, IommuInstance } from './driver-port.ts';
import type { Fault } from './faults/fault.ts';
import { FaultQueue } from './faults/fault-queue.ts';
import { type Binding, coreDomainOf, type GroupState, isIdle, separableBinding } from './groups/group.ts';
import type { GroupMoves } from './groups/group-moves.ts';
import type { GroupRegistry } from './groups/group-registry.ts';
import type { ProcessSpace } from './process-space.ts';
import { requiresDirect } from './reserved-regions.ts';

/** A device in the address space of a process. */
export interface ProcessBond {
  readonly device: Device;
  readonly process: ProcessSpace;
  /** The context it was bound at; undefined: all of the device. */
  readonly context: string | undefined;
  /** Faults of the device that were answered by bringing a page in. */
  readonly pagedIn: number;
  /** Faults that the process had nothing for. */
  readonly refused: number;
  /** Ends it: the device returns to its default, or to blocked while it is owned. Harmless a second time. Never fails. */
  unbind(): void;
}

/** Causes that a page brought in can end; anything else would come again and again. */
const PAGE_FAULTS: readonly FaultCause[] = ['translation', 'permission', 'access-flag'];

/** What stands behind all handles of one device (or one of its contexts) in one process. */
interface Bond {
  readonly device: Device;
  readonly process: ProcessSpace;
  readonly context: string | undefined;
  readonly domains: Map<IommuInstance, IommuDomain>;
  readonly queue: FaultQueue;
  readonly group: GroupState;
  readonly bindings: readonly Binding[];
  /** Ends what listens to the process. */
  readonly unsubscribe: (() => void)[];
  handles: number;
  pagedIn: number;
  refused: number;
}

export class ProcessBindings {
  readonly #world: World;
  readonly #groups: GroupRegistry;
  readonly #domains: DomainFactory;
  readonly #moves: GroupMoves;
  readonly #respond: (fault: Fault, outcome: 'retry' | 'terminate') => boolean;
  readonly #bonds = new Set<Bond>();

  constructor(
    world: World,
    groups: GroupRegistry,
    domains: DomainFactory,
    moves: GroupMoves,
    respond: (fault: Fault, outcome: 'retry' | 'terminate') => boolean,
  ) {
    this.#world = world;
    this.#groups = groups;
    this.#domains = domains;
    this.#moves = moves;
    this.#respond = respond;
  }

  bind(device: Device, process: ProcessSpace, context?: string): ProcessBond {
    const group = this.#groups.requireAlone(device);
    if (process.hasExited) throw new LabError('EINVAL', `the process ${process.name} has ended`);
    const bindings = context === undefined ? [...group.bindings] : [separableBinding(group, device, context)];
    const known = this.#find(process, bindings);
    if (known !== undefined) return this.#handle(known);
    if (bindings.some(requiresDirect)) {
      throw new LabError('EINVAL', `${device.name} has direct regions: it uses addresses of its own`);
    }
    this.#refuseTaken(bindings, process);
    refuseGone(bindings);
    const bond = this.#make({ device, process, context, group, bindings });
    try {
      attachAll(this.#world, bindings, ({ instance }) => bond.domains.get(instance) as IommuDomain);
    } catch (error) {
      this.#dispose(bond);
      throw error;
    }
    this.#bonds.add(bond);
    this.#world.emit('iommu:sva_bind', {
      device: device.name,
      process: process.name,
      context: context ?? '',
    });
    return this.#handle(bond);
  }

  /** Bindings have left: a bond that holds none any more keeps nothing of its process either. */
  release(): void {
    for (const bond of this.#bonds) {
      const isHeld = bond.bindings.some((b) => isOn(bond, b.domain) || b.blockedBy === bond);
      if (isHeld) continue;
      bond.queue.discard();
      this.#bonds.delete(bond);
      this.#dispose(bond);
    }
  }

  /** One that still holds: the device may have been moved since, or configured anew. */
  #find(process: ProcessSpace, bindings: readonly Binding[]): Bond | undefined {
    return [...this.#bonds].find(
      (bond) =>
        bond.process === process &&
        bond.bindings.length === bindings.length &&
        bond.bindings.every((b) => bindings.includes(b) && isOn(bond, b.domain)),
    );
  }

  #handle(bond: Bond): ProcessBond {
    const { device, process, context } = bond;
    let isBound = true;
    bond.handles++;
    return {
      device,
      process,
      context,
      get pagedIn() {
        return bond.pagedIn;
      },
      get refused() {
        return bond.refused;
      },
      unbind: () => {
        if (!isBound) return;
        isBound = false;
        if (--bond.handles === 0 && this.#bonds.has(bond)) this.#end(bond);
      },
    };
  }

  /** One process per context: the hardware has no PASID that would tell two apart. */
  #refuseTaken(bindings: readonly Binding[], process: ProcessSpace): void {
    const all = bindings.filter((b) => !isIdle(b, this.#domains.blocked));
    const taken = all.find((b) => processIn(b) !== process) ?? all[0];
    if (taken === undefined) return;
    const other = processIn(taken);
    const details = { device: taken.device.name, context: taken.endpoint.context };
    if (other === undefined || other === process) {
      throw new LabError('EBUSY', `${taken.device.name} is attached to ${taken.domain?.name}`, details);
    }
    throw new LabError(
      'ENOSPC',
      `${taken.endpoint.context} works for ${other.name}, and ${taken.instance.name} has no PASIDs: one process per context`,
      details,
    );
  }

  #make(made: Pick<Bond, 'device' | 'process' | 'context' | 'group' | 'bindings'>): Bond {
    const { process, bindings } = made;
    const domains = new Map<IommuInstance, IommuDomain>();
    const queue = new FaultQueue(this.#world, {
      answer: (fault) => this.#answer(bond, fault),
      respond: this.#respond,
    });
    const bond: Bond = {
      ...made,
      domains,
      queue,
      unsubscribe: [],
      handles: 0,
      pagedIn: 0,
      refused: 0,
    };
    try {
      for (const { instance } of bindings) {
        if (domains.has(instance)) continue;
        domains.set(
          instance,
          this.#domains.process(instance, process, (fault) =>
            PAGE_FAULTS.includes(fault.cause) ? queue.add(fault) : 'terminate',
          ),
        );
      }
    } catch (error) {
      this.#dispose(bond);
      throw error;
    }
    // Before anything walks the tables: what is unmapped from now on must be heard of.
    bond.unsubscribe.push(
      process.onUnmap((start, sizeBytes) => invalidate(bond, start, sizeBytes)),
      process.onExit(() => this.#stop(bond)),
    );
    return bond;
  }

  #answer(bond: Bond, fault: Fault): 'retry' | 'terminate' {
    const access = fault.isInstruction === true ? 'execute' : fault.direction;
    const isThere = !bond.process.hasExited && bond.process.handleFault(fault.iova, access);
    if (isThere) bond.pagedIn++;
    else bond.refused++;
    this.#world.emit('iommu:page_response', {
      device: bond.device.name,
      process: bond.process.name,
      iova: hex(fault.iova),
      code: isThere ? 'success' : 'invalid',
    });
    return isThere ? 'retry' : 'terminate';
  }

  /** The process ends: its devices are blocked while its tables still stand. The bonds stay until they are unbound. */
  #stop(bond: Bond): void {
    bond.queue.discard();
    const { blocked } = this.#domains;
    const stopped = this.#moves.leave(
      bond.bindings,
      (b) => isOn(bond, b.domain),
      () => blocked,
    );
    for (const binding of stopped) if (binding.domain === blocked) binding.blockedBy = bond;
    this.#world.emit('iommu:sva_stop', { device: bond.device.name, process: bond.process.name });
  }

  #end(bond: Bond): void {
    bond.queue.discard();
    const { blocked } = this.#domains;
    this.#moves.leave(
      bond.group.bindings,
      (b) => (bond.bindings.includes(b) && isOn(bond, b.domain)) || b.blockedBy === bond,
      coreDomainOf(bond.group, blocked),
    );
    this.#bonds.delete(bond);
    this.#dispose(bond);
    this.#world.emit('iommu:sva_unbind', { device: bond.device.name, process: bond.process.name });
  }

  #dispose(bond: Bond): void {
    for (const end of bond.unsubscribe.splice(0)) end();
    for (const domain of bond.domains.values()) domain.free();
  }
}

function processIn({ domain }: Binding): ProcessSpace | undefined {
  return domain && internalsOf(domain).process;
}

function isOn(bond: Bond, domain: IommuDomain | undefined): boolean {
  return domain !== undefined && [...bond.domains.values()].includes(domain);
}

function invalidate(bond: Bond, start: number, sizeBytes: number): void {
  for (const domain of bond.domains.values()) {
    const { target } = internalsOf(domain);
    if (target.kind === 'sva') target.table.invalidate(start, sizeBytes);
  }
}
