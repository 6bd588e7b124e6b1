/**
 * Accesses a bank holds back (R50 to R52): the one that faulted, and those that came after it, in order.
 * Answers go out as clock tasks, never inside the register write that caused them.
 */
import type { AccessAttributes, BusAccess, ResumeOutcome } from '@iommu-lab/machine';
import type { DueAnswers } from './due-answers.ts';

/** A parked access as plain data. Its bytes, and how to answer it, are its owner's. */
export interface ParkedAccess {
  readonly masterName: string;
  readonly streamId: number;
  readonly address: number;
  readonly isWrite: boolean;
  readonly offset: number;
  readonly length: number;
  readonly attributes: AccessAttributes;
}

/** A parked access and the answer that is on its way to it. */
export interface Answer<Access> {
  readonly access: Access;
  readonly outcome: ResumeOutcome;
}

/** What a bank holds back, as plain data. */
export interface StallSnapshot {
  readonly isBlocked: boolean;
  readonly faulting: ParkedAccess | null;
  readonly resuming: Answer<ParkedAccess> | null;
  readonly waiting: readonly ParkedAccess[];
  readonly ending: readonly Answer<ParkedAccess>[];
}

/** What one bank holds back. An access that enters leaves by exactly one `resume`. */
export class StallQueue {
  readonly #due: DueAnswers;
  readonly #index: number;
  readonly #label: string;
  readonly #onBlocking: () => void;
  #isBlocked = false;
  #faulting: BusAccess | undefined;
  /** RESUME was written; the answer is on its way. */
  #resuming: Answer<BusAccess> | undefined;
  #waiting: BusAccess[] = [];
  /** The access that is being tried again, and whether it has arrived. */
  #passing: BusAccess | undefined;
  #hasArrived = false;
  /** Ended, and not told yet. */
  #ending: Answer<BusAccess>[] = [];

  /**
   * @param index of the bank: in `due` its answer has the key 2 x index, what it ends the one after
   * @param onBlocking hears of each change of `isBlocked`
   */
  constructor(due: DueAnswers, index: number, label: string, onBlocking: () => void) {
    this.#due = due;
    this.#index = index;
    this.#label = label;
    this.#onBlocking = onBlocking;
  }

  /** Whether accesses to the bank must wait, all but the one that is being tried again. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Lets in an access that needs not wait: the one that is being tried again, whatever object it is by now. */
  admits(access: BusAccess): boolean {
    if (!this.#isBlocked) return true;
    if (this.#passing === undefined) return false;
    if (access !== this.#passing && (this.#hasArrived || access.streamId !== this.#passing.streamId))
      return false;
    this.#hasArrived = true;
    return true;
  }

  /** Whether a faulted access waits for RESUME. */
  get hasFaulting(): boolean {
    return this.#faulting !== undefined;
  }

  /** Parks the access that faulted and blocks the bank. */
  hold(access: BusAccess): void {
    this.#faulting = access;
    this.#block(true);
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
    this.#scheduleAnswer();
    return true;
  }

  /** Ends every parked access with `outcome` and unblocks the bank at once. @returns how many there were. */
  endAll(outcome: ResumeOutcome): number {
    const parked = [...this.#waiting];
    // A bank that is reset between RESUME and the answer must not let the access through.
    if (this.#resuming !== undefined) parked.unshift(this.#resuming.access);
    if (this.#faulting !== undefined) parked.unshift(this.#faulting);
    this.#faulting = undefined;
    this.#resuming = undefined;
    this.#waiting = [];
    this.#due.cancel(this.#index * 2);
    this.#block(false);
    if (parked.length === 0) return 0;
    this.#ending.push(...parked.map((access) => ({ access, outcome })));
    this.#scheduleEnding();
    return parked.length;
  }

  /** What is held, as plain data. */
  snapshot(): StallSnapshot {
    return {
      isBlocked: this.#isBlocked,
      faulting: this.#faulting === undefined ? null : dataOf(this.#faulting),
      resuming: this.#resuming === undefined ? null : answerOf(this.#resuming, dataOf),
      waiting: this.#waiting.map((access) => dataOf(access)),
      ending: this.#ending.map((answer) => answerOf(answer, dataOf)),
    };
  }

  /**
   * Holds what a snapshot says; what of it is due has to be rescheduled.
   * @param reissue the live access for one that was parked
   */
  restore(snapshot: StallSnapshot, reissue: (parked: ParkedAccess) => BusAccess): void {
    const { faulting, resuming, waiting, ending } = snapshot;
    this.#faulting = faulting === null ? undefined : reissue(faulting);
    this.#resuming = resuming === null ? undefined : answerOf(resuming, reissue);
    this.#waiting = waiting.map((parked) => reissue(parked));
    this.#ending = ending.map((answer) => answerOf(answer, reissue));
    this.#block(snapshot.isBlocked);
  }

  /** What this key names is due again, if it is one of this bank's. */
  reschedule(key: number): void {
    if (key === this.#index * 2) this.#scheduleAnswer();
    else if (key === this.#index * 2 + 1) this.#scheduleEnding();
  }

  #block(isBlocked: boolean): void {
    this.#isBlocked = isBlocked;
    this.#onBlocking();
  }

  #scheduleAnswer(): void {
    this.#due.schedule(this.#index * 2, `${this.#label}: resume`, () => this.#answer());
  }

  #scheduleEnding(): void {
    this.#due.schedule(this.#index * 2 + 1, `${this.#label}: terminate`, () => this.#endNext());
  }

  /** Tells those that were ended, one by one: who hears of it may look at what is left, or restore something else. */
  #endNext(): void {
    const ending = this.#ending;
    while (ending === this.#ending) {
      const next = ending.shift();
      if (next === undefined) break;
      next.access.resume(next.outcome);
    }
  }

  /** The answer takes effect: the held access first, then those behind it, until one of them faults. */
  #answer(): void {
    if (!this.#isBlocked || this.#faulting !== undefined) return;
    const waiting = this.#waiting;
    const answered = this.#resuming;
    this.#resuming = undefined;
    if (answered !== undefined) this.#pass(answered.access, answered.outcome);
    // Another list: whoever heard of the end has ended everything, or restored something else.
    while (waiting === this.#waiting && !this.#hasStalled) {
      const next = waiting.shift();
      if (next === undefined) return this.#block(false);
      this.#pass(next, 'retry');
    }
  }

  /** One of those that were tried again has faulted; whoever heard of that may have written RESUME already. */
  get #hasStalled(): boolean {
    return this.#faulting !== undefined || this.#resuming !== undefined;
  }

  /** Whatever the end of an access causes to be issued has to wait behind those that were there before. */
  #pass(access: BusAccess, outcome: ResumeOutcome): void {
    this.#passing = access;
    this.#hasArrived = outcome !== 'retry';
    access.resume(outcome);
    this.#passing = undefined;
  }
}

/** Every access that a snapshot holds, in the order `restore` asks for them. */
export function parkedIn(snapshot: StallSnapshot): readonly ParkedAccess[] {
  const { faulting, resuming, waiting, ending } = snapshot;
  return [
    ...(faulting === null ? [] : [faulting]),
    ...(resuming === null ? [] : [resuming.access]),
    ...waiting,
    ...ending.map(({ access }) => access),
  ];
}

function answerOf<From, To>(answer: Answer<From>, convert: (access: From) => To): Answer<To> {
  return { access: convert(answer.access), outcome: answer.outcome };
}

function dataOf({
  masterName,
  streamId,
  address,
  isWrite,
  offset,
  length,
  attributes,
}: BusAccess): ParkedAccess {
  return {
    masterName,
    streamId,
    address,
    isWrite,
    offset,
    length,
    attributes: { ...attributes },
  };
}
