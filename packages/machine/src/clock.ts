/**
 * The model's clock: logical nanoseconds and a queue of tasks. Nothing in the libraries reads the wall clock
 * or waits for a Promise; work that happens "later" is a task here, so that a run repeats exactly.
 */
import TinyQueue from 'tinyqueue';
import { assert, LabError } from './errors.ts';

interface Task {
  readonly at: number;
  readonly order: number;
  readonly label: string;
  run: (() => void) | undefined;
}

/** Tasks one run may execute before it is called a livelock. */
const DEFAULT_TASK_LIMIT = 50_000_000;

/** Time and the tasks that wait for it; of one instant, in the order they were queued. */
export class Clock {
  #now = 0;
  #order = 0;
  #running = false;
  readonly #queue = new TinyQueue<Task>([], (a, b) => a.at - b.at || a.order - b.order);
  readonly #waits = new Map<number, string>();

  /** Nanoseconds since the system was made. */
  get now(): number {
    return this.#now;
  }

  /**
   * Queues `task` to run `delayNs` from now (tasks of the same instant run in the order they were queued).
   * @returns a function that takes it back; harmless once it has run.
   * @throws LabError EINVAL on a delay that is not a non-negative integer.
   */
  schedule(delayNs: number, label: string, task: () => void): () => void {
    if (!Number.isSafeInteger(delayNs) || delayNs < 0) {
      throw new LabError('EINVAL', 'a delay is a non-negative integer of nanoseconds', { delayNs, label });
    }
    const entry: Task = { at: this.#now + delayNs, order: this.#order++, label, run: task };
    this.#queue.push(entry);
    return () => {
      entry.run = undefined;
    };
  }

  /** Runs every queued task, and those that they queue. @throws LabError ETIMEDOUT on a livelock. */
  run(): void {
    this.runUntil(() => false);
  }

  /**
   * Runs tasks until `condition` holds or nothing is left to do.
   * @returns whether it holds. `false` with `waits()` not empty is a hang: `waits()` tells who waits for what.
   * @throws LabError ETIMEDOUT after `taskLimit` tasks (a livelock). Calls never nest: doing so is a defect.
   */
  runUntil(condition: () => boolean, taskLimit: number = DEFAULT_TASK_LIMIT): boolean {
    assert(!this.#running, 'clock.runUntil() called from a clock task');
    this.#running = true;
    try {
      for (let done = 0; !condition(); done++) {
        const task = this.#popLive();
        if (task === undefined) return false;
        if (done >= taskLimit) {
          this.#queue.push(task);
          throw new LabError('ETIMEDOUT', `livelock: ${taskLimit} tasks ran, the next is "${task.label}"`);
        }
        this.#now = task.at;
        task.run?.();
      }
      return true;
    } finally {
      this.#running = false;
    }
  }

  /** Lets `ns` pass: runs what is due until then and leaves `now` at that moment. */
  advance(ns: number): void {
    let reached = false;
    this.schedule(ns, 'advance', () => {
      reached = true;
    });
    this.runUntil(() => reached);
  }

  /** Notes that something waits for `what` (a stalled transfer for a RESUME). @returns ends the wait. */
  wait(what: string): () => void {
    const key = this.#order++;
    this.#waits.set(key, what);
    return () => {
      this.#waits.delete(key);
    };
  }

  /** Who waits for what at this moment, oldest first. */
  waits(): readonly string[] {
    return [...this.#waits.values()];
  }

  /** The next task that was not taken back; one that was lets no time pass. */
  #popLive(): Task | undefined {
    for (;;) {
      const task = this.#queue.pop();
      if (task === undefined || task.run !== undefined) return task;
    }
  }
}
