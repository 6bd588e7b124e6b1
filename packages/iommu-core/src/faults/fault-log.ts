/** The last faults, and what is needed to explain each: captured when it was reported, since tables change after. */
import type { Device } from '@iommu-lab/driver-core';
import type { IommuDomain } from '../domain.ts';
import type { IommuInstance, WalkStep } from '../driver-port.ts';
import type { Fault } from './fault.ts';

/** Faults that are remembered; the oldest are forgotten first. */
export const FAULT_LIMIT = 256;

/** What stood at the time of a fault. */
export interface FaultEvidence {
  readonly device: Device | undefined;
  readonly instance: IommuInstance;
  readonly domain: IommuDomain | undefined;
  /** The walk as the hardware's walker would have seen it when the fault was reported. */
  readonly walk: readonly WalkStep[];
  /** Where the tables led to then. */
  readonly mappedTo: number | undefined;
  /** Who had claimed the device's group, for people; undefined: nobody. */
  readonly owner: string | undefined;
  /** Position in the domain's journal. */
  readonly order: number;
}

export class FaultLog {
  readonly #faults: Fault[] = [];
  /** By fault: it lives as long as somebody holds the fault, in the log or not. */
  readonly #evidence = new WeakMap<Fault, FaultEvidence>();
  #total = 0;

  /** Oldest first, at most `FAULT_LIMIT`. */
  get recent(): readonly Fault[] {
    return [...this.#faults];
  }

  /** Faults so far, the forgotten ones included. */
  get total(): number {
    return this.#total;
  }

  /** Number the next fault gets. */
  get nextId(): number {
    return this.#total + 1;
  }

  add(fault: Fault, evidence: FaultEvidence): void {
    this.#total++;
    this.#faults.push(fault);
    this.#evidence.set(fault, evidence);
    if (this.#faults.length > FAULT_LIMIT) this.#faults.shift();
  }

  /** The evidence for a fault, or for a copy of one that is in the log. */
  evidenceFor(fault: Fault): FaultEvidence | undefined {
    const held = this.#evidence.get(fault);
    if (held !== undefined) return held;
    const original = this.#faults.find((f) => f.id === fault.id && f.ns === fault.ns);
    return original && this.#evidence.get(original);
  }
}
