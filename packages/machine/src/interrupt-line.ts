/** A level-triggered wire from a device to an interrupt controller. It carries a level and nothing else. */
export class InterruptLine {
  readonly name: string;
  #isHigh = false;
  readonly #listeners = new Set<(isHigh: boolean) => void>();

  constructor(name: string) {
    this.name = name;
  }

  get isHigh(): boolean {
    return this.#isHigh;
  }

  /** Drives the level; listeners hear of changes only. They may note the change, and act in a clock task. */
  set(isHigh: boolean): void {
    if (isHigh === this.#isHigh) return;
    this.#isHigh = isHigh;
    for (const listener of this.#listeners) listener(isHigh);
  }

  raise(): void {
    this.set(true);
  }

  lower(): void {
    this.set(false);
  }

  /** Calls `listener` at each change from now on. @returns ends it. */
  subscribe(listener: (isHigh: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
