/**
 * What an unmap leaves to be invalidated: ranges by page size, and tables to free once that is done. A table must not
 * be used again before the invalidation, since a walker may still hold a pointer to it.
 */
export interface InvalidationRange {
  readonly iova: number;
  readonly sizeBytes: number;
  /** Size of the pages removed; one invalidation drops one of them. */
  readonly pageSize: number;
}

/** A range while it still grows. */
type GrowingRange = { -readonly [Key in keyof InvalidationRange]: InvalidationRange[Key] };

export class Gather {
  readonly #ranges: GrowingRange[] = [];
  readonly #frees: (() => void)[] = [];

  /** In the order they were removed. */
  get ranges(): readonly InvalidationRange[] {
    return this.#ranges;
  }

  /** Adds a removed range; one that continues the last of the same page size widens it. */
  addRange(iova: number, sizeBytes: number, pageSize: number): void {
    const last = this.#ranges[this.#ranges.length - 1];
    if (last !== undefined && last.pageSize === pageSize && last.iova + last.sizeBytes === iova) {
      last.sizeBytes += sizeBytes; // in place: tables that remove page by page call this for each
    } else {
      this.#ranges.push({ iova, sizeBytes, pageSize });
    }
  }

  /** Runs `free` after the invalidation. */
  freeLater(free: () => void): void {
    this.#frees.push(free);
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0 && this.#frees.length === 0;
  }

  /** Called by the table's `sync` once the invalidation is done: frees what was left to it and empties the gather. */
  finish(): void {
    this.#ranges.length = 0;
    for (const free of this.#frees.splice(0)) free();
  }
}
