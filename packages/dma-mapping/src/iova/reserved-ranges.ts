/** What is never handed out, in granules: ascending, no two ranges touch. */

interface Range {
  readonly start: number;
  readonly end: number;
}

export class ReservedRanges {
  #ranges: readonly Range[] = [];

  /** Granules in all of them. */
  get size(): number {
    return this.#ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  add(start: number, end: number): void {
    const apart = this.#ranges.filter((range) => range.end < start || range.start > end);
    const met = this.#ranges.filter((range) => range.end >= start && range.start <= end);
    const grown = {
      start: Math.min(start, ...met.map((range) => range.start)),
      end: Math.max(end, ...met.map((range) => range.end)),
    };
    this.#ranges = [...apart, grown].sort((a, b) => a.start - b.start);
  }

  /** What of `[start, end)` is reserved, ascending. */
  within(start: number, end: number): readonly Range[] {
    return this.#ranges
      .filter((range) => range.start < end && range.end > start)
      .map((range) => ({ start: Math.max(range.start, start), end: Math.min(range.end, end) }));
  }
}
