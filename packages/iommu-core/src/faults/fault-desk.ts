/** Where faults arrive: named, remembered, handed on, answered, and explained. */
import type { Device } from '@iommu-lab/driver-core';
import { hex, isLabError, LabError, type World } from '@iommu-lab/machine';
import { internalsOf, type IommuDomain } from '../domain.ts';
import type { FaultReport, FaultVerdict, IommuInstance } from '../driver-port.ts';
import type { Explanation } from './explanation.ts';
import { FaultLog } from './fault-log.ts';
import type { Fault } from './fault.ts';
import type { GroupRegistry } from '../groups/group-registry.ts';
import { collectFault } from './report-fault.ts';
import { explain } from './why.ts';

/** Hears of every fault. A returned verdict counts when the domain's handler and earlier listeners gave none. */
export type FaultListener = (fault: Fault) => FaultVerdict | undefined | void;

/** An access that waits for an answer. */
interface Held {
  readonly fault: Fault;
  readonly instance: IommuInstance;
  readonly context: string;
}

export class FaultDesk {
  readonly #world: World;
  readonly #groups: GroupRegistry;
  readonly #log = new FaultLog();
  readonly #listeners = new Set<FaultListener>();
  readonly #held = new Map<number, Held>();

  constructor(world: World, groups: GroupRegistry) {
    this.#world = world;
    this.#groups = groups;
  }

  get recent(): readonly Fault[] {
    return this.#log.recent;
  }

  get total(): number {
    return this.#log.total;
  }

  listen(listener: FaultListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  report(instance: IommuInstance, report: FaultReport): FaultVerdict {
    const { fault, evidence } = collectFault(
      this.#world,
      this.#groups.bindings(),
      instance,
      report,
      this.#log,
      (device) => this.#groups.find(device)?.owner,
    );
    this.#log.add(fault, evidence);
    this.#world.emit('iommu:io_page_fault', {
      driver: evidence.device?.driver?.name ?? evidence.device?.bus?.name ?? instance.name,
      device: fault.device ?? '',
      iova: hex(fault.iova),
      flags: fault.direction === 'write' ? 1 : 0,
      cause: fault.cause,
      context: fault.context ?? '',
      fault: fault.id,
    });
    const canWait = fault.isStalled && fault.context !== undefined && instance.resume !== undefined;
    // One access stalls in a context: what was held there before has ended, whoever answers it now.
    if (canWait) this.#forget(instance, fault.context);
    let verdict: FaultVerdict | undefined;
    const failures: unknown[] = [];
    for (const ask of this.#askedAbout(evidence.domain)) {
      try {
        const said = ask(fault);
        if (verdict === undefined && said !== undefined) verdict = said;
      } catch (error) {
        failures.push(error);
      }
    }
    if (verdict === undefined || (verdict === 'hold' && fault.isStalled && !canWait)) verdict = 'terminate';
    if (verdict === 'hold' && canWait)
      this.#held.set(fault.id, { fault, instance, context: fault.context ?? '' });
    for (const error of failures) this.#reportFailure(fault, error);
    return verdict;
  }

  /**
   * @returns whether the access was still waiting: the first answer counts (iopf_group_response)
   * @throws LabError EIO: it waits on
   */
  respond(fault: Fault, outcome: 'retry' | 'terminate'): boolean {
    const held = this.#held.get(fault.id);
    // The fault itself: another system has a fault of the same number.
    if (held?.fault !== fault) return false;
    if (!this.#isServed(held)) {
      this.#held.delete(fault.id);
      return false;
    }
    try {
      held.instance.resume?.(held.context, outcome);
    } catch (error) {
      // The stall has ended by other means: the stream was moved to another domain.
      if (!isLabError(error, 'EINVAL')) throw error;
      this.#held.delete(fault.id);
      return false;
    }
    this.#held.delete(fault.id);
    return true;
  }

  /** @throws LabError ENOENT for a fault that is not of this system, or forgotten */
  why(fault: Fault, related: (device: Device | undefined) => readonly IommuDomain[]): Explanation {
    const evidence = this.#log.evidenceFor(fault);
    if (evidence === undefined) {
      throw new LabError('ENOENT', `fault ${fault.id} is not known here, or long past`, { fault: fault.id });
    }
    return explain(fault, evidence, related(evidence.device));
  }

  /** Who is asked, in order. */
  #askedAbout(domain: IommuDomain | undefined): readonly FaultListener[] {
    const handler = domain && internalsOf(domain).handler;
    return handler === undefined ? [...this.#listeners] : [handler, ...this.#listeners];
  }

  /** Whether its IOMMU is there still. Whether anything waits in it, only the driver knows: a bank may serve others, too. */
  #isServed({ instance }: Held): boolean {
    return this.#groups.bindings().some((b) => b.instance === instance && !b.isGone);
  }

  #forget(instance: IommuInstance, context: string | undefined): void {
    for (const [id, held] of this.#held) {
      if (held.instance === instance && held.context === context) this.#held.delete(id);
    }
  }

  /** The books are written by now: misuse by a listener is told, anything else is not ours to catch. */
  #reportFailure(fault: Fault, error: unknown): void {
    if (!isLabError(error)) throw error;
    this.#world.emit('iommu:fault_listener_failed', { fault: fault.id, error: error.message });
  }
}
