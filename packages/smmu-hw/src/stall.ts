/**
 * Accesses a bank holds back (R50 to R52): the one that faulted, and those that came after it, in order.
 * Answers go out as clock tasks, never inside the register write that caused them.
 */
import type { BusAccess, ResumeOutcome, World } from '@iommu-lab/machine';

/** What one bank holds back. An access that enters leaves by exactly one `resume`. */
export class StallQueue {
  readonly #world: World;
  readonly #label: string;
  #faulting: BusAccess | undefined;
  #waiting: BusAccess[] = [];
  /** RESUME was written; the answer is on its way. */
  #resuming: { readonly access: BusAccess; readonly outcome: ResumeOutcome } | undefined;
  #isBlocked = false;

  constructor(world: World, label: string) {
    this.#world = world;
    this.#label = label;
  }

  /** Whether an access to the bank must wait. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Whether a faulted access waits for RESUME. */
  get hasFaulting(): boolean {
    return this.#faulting !== undefined;
  }

  /** Parks the access that faulted and blocks the bank. */
  hold(access: BusAccess): void {
    this.#faulting = access;
    this.#isBlocked = true;
  }

  /** Parks an access that found the bank blocked. */
  join(access: BusAccess): void {
    this.#waiting.push(access);
  }

  /**
   * Ends the stall: the faulted access gets `outcome`, then those behind it are tried, until one of them faults and
   * the bank is blocked again. @returns false if nothing was stalled.
   */
  resume(outcome: ResumeOutcome): boolean {
    if (this.#faulting === undefined) return false;
    this.#resuming = { access: this.#faulting, outcome };
    this.#faulting = undefined;
    this.#world.clock.schedule(0, `${this.#label}: resume`, () => this.#answer());
    return true;
  }

  /** Ends every parked access as terminated and unblocks the bank at once. @returns how many there were. */
  terminateAll(): number {
    const parked = [...this.#waiting];
    // A bank that is reset between RESUME and the answer must not let the access through.
    if (this.#resuming !== undefined) parked.unshift(this.#resuming.access);
    if (this.#faulting !== undefined) parked.unshift(this.#faulting);
    this.#faulting = undefined;
    this.#resuming = undefined;
    this.#waiting = [];
    this.#isBlocked = false;
    if (parked.length > 0) {
      this.#world.clock.schedule(0, `${this.#label}: terminate`, () => {
        for (const access of parked) access.resume('terminate');
      });
    }
    return parked.length;
  }

  #answer(): void {
    const answered = this.#resuming;
    if (answered === undefined) return;
    this.#resuming = undefined;
    this.#isBlocked = false;
    answered.access.resume(answered.outcome);
    while (!this.#isBlocked) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      next.resume('retry');
    }
  }
}
