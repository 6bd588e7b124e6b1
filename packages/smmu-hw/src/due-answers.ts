/**
 * The clock tasks by which an instance answers parked accesses, in the order in which they were caused. A snapshot
 * keeps the order: what is answered first may load the TLB first.
 */
import type { World } from '@iommu-lab/machine';

interface Due {
  readonly key: number;
  readonly cancel: () => void;
}

/** The answers of one instance that are on their way. */
export class DueAnswers {
  readonly #world: World;
  #due: readonly Due[] = [];
  /** What is being answered at this moment: something of it may be left. */
  #running: number | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** Keys of what is due, oldest first: what is being answered leads. */
  get keys(): readonly number[] {
    const waiting = this.#due.map(({ key }) => key);
    return this.#running === undefined ? waiting : [this.#running, ...waiting];
  }

  /** Has `answer` run as a clock task; harmless if what `key` names is due already. */
  schedule(key: number, label: string, answer: () => void): void {
    if (this.#due.some((due) => due.key === key)) return;
    const cancel = this.#world.clock.schedule(0, label, () => {
      this.#forget(key);
      this.#running = key;
      answer();
      this.#running = undefined;
    });
    this.#due = [...this.#due, { key, cancel }];
  }

  /** Takes back what `key` names; harmless if it is not due. */
  cancel(key: number): void {
    this.#due.find((due) => due.key === key)?.cancel();
    this.#forget(key);
  }

  /** Takes back everything. */
  cancelAll(): void {
    for (const { cancel } of this.#due) cancel();
    this.#due = [];
  }

  #forget(key: number): void {
    this.#due = this.#due.filter((due) => due.key !== key);
  }
}
