/** Who wants to hear of something. */
export class Listeners<Arguments extends readonly unknown[]> {
  readonly #entries = new Set<{ readonly listener: (...values: Arguments) => void }>();

  /** @returns ends it; the same function added twice is called twice */
  add(listener: (...values: Arguments) => void): () => void {
    const entry = { listener };
    this.#entries.add(entry);
    return () => {
      this.#entries.delete(entry);
    };
  }

  /** Calls all, in the order in which they came; also those that come meanwhile. */
  call(...values: Arguments): void {
    for (const { listener } of this.#entries) listener(...values);
  }
}
