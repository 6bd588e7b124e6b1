/** The oracle: a flag for each granule; a search looks at every gap from the top. It knows no holes, magazines or trees. */

const OUT = 1;
const RESERVED = 2;

/** A run of granules that are neither out nor reserved; `end` is the first behind it. */
type Gap = readonly [start: number, end: number];

/** Granules from `start` to `end` (exclusive). */
export class NaiveSpace {
  readonly #start: number;
  readonly #flags: Uint8Array;

  constructor(start: number, end: number) {
    this.#start = start;
    this.#flags = new Uint8Array(end);
  }

  /** From the top down. */
  gaps(): Gap[] {
    const gaps: Gap[] = [];
    for (let end = this.#flags.length; end > this.#start; end--) {
      if (this.#flags[end - 1] !== 0) continue;
      let start = end - 1;
      while (start > this.#start && this.#flags[start - 1] === 0) start--;
      gaps.push([start, end]);
      end = start;
    }
    return gaps;
  }

  get free(): number {
    return this.gaps().reduce((sum, [start, end]) => sum + end - start, 0);
  }

  /** Where the highest aligned range of `size` that ends at or below `limit` starts; undefined: nowhere. */
  highest(size: number, limit: number, gaps: readonly Gap[] = this.gaps()): number | undefined {
    let alignment = 1;
    while (alignment < size) alignment *= 2;
    for (const [start, end] of gaps) {
      let at = Math.floor(Math.min(end, limit)) - size;
      while (at % alignment !== 0 && at >= start) at--;
      if (at >= start) return at;
    }
    return undefined;
  }

  /** The largest size for which there is a place, tried one by one. */
  largest(): number {
    const gaps = this.gaps();
    let size = Math.max(0, ...gaps.map(([start, end]) => end - start));
    while (size > 0 && this.highest(size, Infinity, gaps) === undefined) size--;
    return size;
  }

  /** @returns what is wrong with handing this out, or undefined. */
  take(start: number, size: number): string | undefined {
    if (start < this.#start || start + size > this.#flags.length) return 'outside the space';
    for (let at = start; at < start + size; at++) {
      if (this.#flags[at] !== 0) return `${at} is ${this.#flags[at] === OUT ? 'out' : 'reserved'}`;
      this.#flags[at] = OUT;
    }
    return undefined;
  }

  give(start: number, size: number): void {
    for (let at = start; at < start + size; at++) (this.#flags[at] as number) &= ~OUT;
  }

  reserve(start: number, end: number): void {
    for (let at = start; at < Math.min(end, this.#flags.length); at++)
      (this.#flags[at] as number) |= RESERVED;
  }
}
