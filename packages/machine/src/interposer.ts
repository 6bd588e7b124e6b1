/**
 * Lets an observer act between any two steps a CPU takes towards hardware: after every store to memory, every
 * cache maintenance operation and every MMIO write. A test that issues DMA here sees each intermediate state of an
 * update, as a running device would.
 */
export type StepKind = 'store' | 'clean' | 'invalidate' | 'mmio-write';

/** @param address physical address of the step; @param sizeBytes bytes it covered */
export type StepListener = (kind: StepKind, address: number, sizeBytes: number) => void;

/** The place where steps are announced and observers listen. */
export class Interposer {
  readonly #listeners = new Set<StepListener>();
  #notifying = false;

  /** Calls `listener` after each step. What the listener itself does is not reported. @returns ends it. */
  observe(listener: StepListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  notify(kind: StepKind, address: number, sizeBytes: number): void {
    if (this.#listeners.size === 0 || this.#notifying) return;
    this.#notifying = true;
    try {
      for (const listener of this.#listeners) listener(kind, address, sizeBytes);
    } finally {
      this.#notifying = false;
    }
  }
}
