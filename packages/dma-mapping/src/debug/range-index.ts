/**
 * Finds ranges by what they overlap: a grid whose cells grow with the ranges, so that each range stands in one or two cells
 * and a lookup looks into a few. (The kernel's dma-debug hashes by address and steps back from bucket to bucket instead,
 * kernel/dma/debug.c, bucket_find_contain.)
 */

/** `[start, end)`; not empty, and unchanged while it is in an index. Only what is in it is removed. */
export interface Ranged {
  readonly start: number;
  readonly end: number;
}

interface Level<T> {
  readonly cellBytes: number;
  /** A cell that empties stays, for buffers come back to the same pages; deleting it would make the map grow and shrink. */
  readonly cells: Map<number, T[]>;
  /** Cells that are empty, and ranges there are. */
  empty: number;
  count: number;
}

const SMALLEST_CELL = 4096;
const GROWTH = 16;
/** Empty cells beyond the number of ranges that are kept. */
const SPARE_CELLS = 256;
const NONE: readonly never[] = [];

export class RangeIndex<T extends Ranged> {
  readonly #levels: Level<T>[] = [];

  add(range: T): void {
    const level = this.#levelOf(range);
    const { cellBytes, cells } = level;
    level.count++;
    const last = Math.floor((range.end - 1) / cellBytes);
    for (let cell = Math.floor(range.start / cellBytes); cell <= last; cell++) {
      const there = cells.get(cell);
      if (there === undefined) {
        cells.set(cell, [range]);
        continue;
      }
      if (there.length === 0) level.empty--;
      there.push(range);
    }
  }

  remove(range: T): void {
    const level = this.#levelOf(range);
    const { cellBytes, cells } = level;
    level.count--;
    const last = Math.floor((range.end - 1) / cellBytes);
    for (let cell = Math.floor(range.start / cellBytes); cell <= last; cell++) {
      const there = cells.get(cell) as T[];
      if (there.length === 1) {
        there.pop();
        level.empty++;
      } else there.splice(there.indexOf(range), 1);
    }
    if (level.empty > level.count + SPARE_CELLS) sweep(level);
  }

  /** All that have a byte in `[start, end)`, each once. */
  overlapping(start: number, end: number): readonly T[] {
    if (end <= start) return NONE;
    let found: T[] | undefined;
    for (const { cellBytes, cells, count } of this.#levels) {
      if (count === 0) continue;
      const first = Math.floor(start / cellBytes);
      const last = Math.floor((end - 1) / cellBytes);
      const visit = (cell: number, ranges: readonly T[]): void => {
        for (const range of ranges) {
          if (range.end <= start || range.start >= end) continue;
          // It stands in this cell and the one before, and was found there.
          if (cell !== first && Math.floor(range.start / cellBytes) < cell) continue;
          (found ??= []).push(range);
        }
      };
      if (last - first < cells.size) {
        for (let cell = first; cell <= last; cell++) visit(cell, cells.get(cell) ?? NONE);
      } else {
        for (const [cell, ranges] of cells) if (cell >= first && cell <= last) visit(cell, ranges);
      }
    }
    return found ?? NONE;
  }

  /** The first with the byte `at` that passes, in the order of `overlapping`. */
  findAt(at: number, passes: (range: T) => boolean): T | undefined {
    for (const { cellBytes, cells } of this.#levels) {
      for (const range of cells.get(Math.floor(at / cellBytes)) ?? NONE) {
        if (range.start <= at && at < range.end && passes(range)) return range;
      }
    }
    return undefined;
  }

  clear(): void {
    this.#levels.length = 0;
  }

  /** The finest level whose cells are no smaller than the range. */
  #levelOf({ start, end }: T): Level<T> {
    let index = 0;
    for (let bytes = SMALLEST_CELL; bytes < end - start; bytes *= GROWTH) index++;
    for (let made = this.#levels.length; made <= index; made++) {
      this.#levels.push({ cellBytes: SMALLEST_CELL * GROWTH ** made, cells: new Map(), empty: 0, count: 0 });
    }
    return this.#levels[index] as Level<T>;
  }
}

function sweep<T>(level: Level<T>): void {
  for (const [cell, ranges] of level.cells) if (ranges.length === 0) level.cells.delete(cell);
  level.empty = 0;
}
