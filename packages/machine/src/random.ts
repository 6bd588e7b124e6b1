/** Seeded randomness. The only source of chance in the libraries; the same seed gives the same numbers. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus, xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

/** One sequence of numbers. */
export class Random {
  readonly seed: number;
  #generator: RandomGenerator;

  /** @param seed any 32-bit integer */
  constructor(seed: number) {
    this.seed = seed | 0;
    this.#generator = xoroshiro128plus(this.seed);
  }

  /** Where the sequence stands, as plain data; see `restore`. */
  snapshot(): readonly number[] {
    return this.#generator.getState();
  }

  /** Goes on as the sequence did whose snapshot this is; without one, from its start. */
  restore(snapshot?: readonly number[]): void {
    this.#generator =
      snapshot === undefined ? xoroshiro128plus(this.seed) : xoroshiro128plusFromState(snapshot);
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return uniformInt(this.#generator, min, max);
  }

  /** True once in `n` draws on average; never for `n` = 0. */
  oneIn(n: number): boolean {
    return n > 0 && this.integer(1, n) === 1;
  }

  /** A generator of its own for `label`, so that one user's draws do not shift another's. */
  fork(label: string): Random {
    let mixed = this.seed ^ 0x9e3779b9;
    for (let i = 0; i < label.length; i++) mixed = Math.imul(mixed ^ label.charCodeAt(i), 0x01000193);
    return new Random(mixed);
  }
}
