/** Where faults arrive: named, remembered, handed on, answered, and explained. */
import type { Device } from '@iommu-lab/driver-core';
import { hex, isLabError, LabError, type World } from '@iommu-lab/machine';
import { internalsOf, type IommuDomain } from '../domain.ts';
import type { FaultReport, FaultVerdict, IommuInstance } from '../driver-port.ts';
import type { Explanation } from './explanation.ts';
import { FaultLog } from './fault-log.ts';
import type { Fault } from './fault.ts';
import type { GroupRegistry } from '../group-registry.ts';
import { collectFault } from './report-fault.ts';
import { explain } from './why.ts';

/** Hears of every fault. A returned verdict counts when the domain's handler and earlier listeners gave none. */
export type FaultListener = (fault: Fault) => FaultVerdict | undefined | void;

/** An access that waits for an answer. */
interface Held {
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
    const verdict = this.#judge(fault, evidence.domain);
    if (!fault.isStalled || fault.context === undefined) return verdict;
    // One access stalls in a context: what was held there before has ended.
    for (const [id, held] of this.#held) {
      if (held.instance === instance && held.context === fault.context) this.#held.delete(id);
    }
    if (verdict === 'hold') this.#held.set(fault.id, { instance, context: fault.context });
    return verdict;
  }

  /** @returns whether the access was still waiting: the first answer counts (iopf_group_response) */
  respond(fault: Fault, outcome: 'retry' | 'terminate'): boolean {
    const held = this.#held.get(fault.id);
    if (held === undefined) return false;
    this.#held.delete(fault.id);
    try {
      held.instance.resume?.(held.context, outcome);
    } catch (error) {
      // The stall has ended by other means: the stream was moved to another domain.
      if (!isLabError(error, 'EINVAL')) throw error;
      return false;
    }
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

  #judge(fault: Fault, domain: IommuDomain | undefined): FaultVerdict {
    let verdict = domain && internalsOf(domain).handler?.(fault);
    for (const listener of [...this.#listeners]) {
      const said = listener(fault);
      if (verdict === undefined && said !== undefined) verdict = said;
    }
    return verdict ?? 'terminate';
  }
}
