/** Wired between a master and memory: refuses or parks accesses to chosen addresses, and remembers all of them. */
import type { AccessStatus, BusAccess, BusPort, ResumeOutcome } from '@iommu-lab/machine';

export interface SeenAccess {
  readonly address: number;
  readonly length: number;
  readonly isWrite: boolean;
  readonly streamId: number;
}

export class GatePort implements BusPort {
  readonly seen: SeenAccess[] = [];
  /** Answers for an access; undefined lets it through. */
  verdict: (access: SeenAccess) => 'faulted' | 'parked' | undefined = () => undefined;
  readonly #inner: BusPort;
  readonly #parked: BusAccess[] = [];

  constructor(inner: BusPort) {
    this.#inner = inner;
  }

  get parkedCount(): number {
    return this.#parked.length;
  }

  access(access: BusAccess): AccessStatus {
    const { address, length, isWrite, streamId } = access;
    const seen = { address, length, isWrite, streamId };
    this.seen.push(seen);
    const verdict = this.verdict(seen);
    if (verdict === undefined) return this.#inner.access(access);
    if (verdict === 'parked') this.#parked.push(access);
    return verdict;
  }

  /** Answers all parked accesses. */
  resume(outcome: ResumeOutcome): void {
    for (const access of this.#parked.splice(0)) access.resume(outcome);
  }
}
