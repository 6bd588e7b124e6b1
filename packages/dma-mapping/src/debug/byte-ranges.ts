/** A set of bytes, kept as the ranges they make up. Whole buffers are one range: one comparison. */

/** `[start, end)`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export class ByteRanges {
  /** Start and end of each range in turn, ascending; ranges do not touch. */
  readonly #edges: number[] = [];

  get isEmpty(): boolean {
    return this.#edges.length === 0;
  }

  /** The ranges, ascending. */
  *[Symbol.iterator](): IterableIterator<ByteRange> {
    for (let at = 0; at < this.#edges.length; at += 2) yield this.#rangeAt(at);
  }

  add(start: number, end: number): void {
    if (end <= start) return;
    const edges = this.#edges;
    const first = this.#firstEndingAt(start);
    let after = first;
    while (after < edges.length && (edges[after] as number) <= end) after += 2;
    if (after === first) {
      edges.splice(first, 0, start, end);
      return;
    }
    const from = Math.min(start, edges[first] as number);
    const to = Math.max(end, edges[after - 1] as number);
    edges.splice(first, after - first, from, to);
  }

  remove(start: number, end: number): void {
    if (end <= start) return;
    const edges = this.#edges;
    const first = this.#firstEndingAt(start + 1);
    let after = first;
    while (after < edges.length && (edges[after] as number) < end) after += 2;
    if (after === first) return;
    const kept: number[] = [];
    const [from, to] = [edges[first] as number, edges[after - 1] as number];
    if (from < start) kept.push(from, start);
    if (to > end) kept.push(end, to);
    edges.splice(first, after - first, ...kept);
  }

  clear(): void {
    this.#edges.length = 0;
  }

  /** The first part of `[start, end)` that is in the set. */
  firstIn(start: number, end: number): ByteRange | undefined {
    const at = this.#firstEndingAt(start + 1);
    if (at >= this.#edges.length || (this.#edges[at] as number) >= end) return undefined;
    const range = this.#rangeAt(at);
    return cut(Math.max(start, range.start), Math.min(end, range.end));
  }

  /** The first part of `[start, end)` that is not in the set. */
  firstOutside(start: number, end: number): ByteRange | undefined {
    const at = this.#firstEndingAt(start + 1);
    const next = at < this.#edges.length ? this.#rangeAt(at) : undefined;
    if (next === undefined || next.start > start) return cut(start, Math.min(end, next?.start ?? end));
    const behind = this.#edges[at + 2] ?? end;
    return cut(next.end, Math.min(end, behind));
  }

  /** Index of the first range whose end is at least `bound`. */
  #firstEndingAt(bound: number): number {
    let low = 0;
    let high = this.#edges.length / 2;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#edges[2 * middle + 1] as number) < bound) low = middle + 1;
      else high = middle;
    }
    return 2 * low;
  }

  #rangeAt(at: number): ByteRange {
    return { start: this.#edges[at] as number, end: this.#edges[at + 1] as number };
  }
}

function cut(start: number, end: number): ByteRange | undefined {
  return start < end ? { start, end } : undefined;
}
