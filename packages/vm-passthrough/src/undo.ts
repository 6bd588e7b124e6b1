/** What has been done, as a list of how to undo it: one way back for a failure half-way and for the orderly end. */
export class UndoList {
  readonly #steps: (() => void)[] = [];

  /** Notes how to undo the step that was just done. An undo must not fail. */
  add(undo: () => void): void {
    this.#steps.push(undo);
  }

  /** Undoes all, the last step first. Harmless a second time. */
  run(): void {
    for (const undo of this.#steps.splice(0).reverse()) undo();
  }
}
