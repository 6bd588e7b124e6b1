/** Numbers that C and JavaScript draw alike, so that both do their work in the same order (floor/cases.h). */
export class Draws {
  #state = 1;

  /** An integer below `n`, which is at most 65536. */
  below(n: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return ((this.#state >>> 16) * n) >>> 16;
  }

  /** 0 to count - 1 in random order. */
  permutation(count: number): number[] {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    return order;
  }
}
