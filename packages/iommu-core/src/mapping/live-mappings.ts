/**
 * Live mappings of one domain by IOVA: found, added and removed in logarithmic time, however many are live.
 *
 * A B+ tree (`sorted-btree`). An array that is kept sorted moves half of all mappings at each map and unmap; beside a
 * list of sorted blocks of our own the tree was measured equal at random order and not worth replacing
 * (packages/backend-msm/BENCHMARKS.md).
 */
import { EmptyBTree } from 'sorted-btree';
import type { MappingRecord } from './mapping-journal.ts';

type MappingTree = typeof EmptyBTree;

/** The class itself is the package's CommonJS `default`, which Node and bundlers take apart differently. */
const Tree = EmptyBTree.constructor as new (
  entries: undefined,
  compare: (a: number, b: number) => number,
) => MappingTree;

export class LiveMappings {
  readonly #tree: MappingTree = new Tree(undefined, ascending);
  /** What the tree's answers are written to, again and again. */
  readonly #found: [number, MappingRecord | undefined] = [0, undefined];

  /** Ascending by IOVA. */
  all(): readonly MappingRecord[] {
    return this.#tree.valuesArray();
  }

  /** The mapping over `iova`. */
  over(iova: number): MappingRecord | undefined {
    const record = this.#tree.getPairOrNextLower(iova, this.#found)?.[1] as MappingRecord | undefined;
    return record !== undefined && record.iova + record.sizeBytes > iova ? record : undefined;
  }

  /** The lowest mapping with a byte in `[start, end)`. */
  firstIn(start: number, end: number): MappingRecord | undefined {
    if (end <= start) return undefined;
    const over = this.over(start);
    if (over !== undefined) return over;
    const above = this.#tree.nextHigherPair(start, this.#found)?.[1] as MappingRecord | undefined;
    return above !== undefined && above.iova < end ? above : undefined;
  }

  /** The caller has made sure that nothing is mapped there. */
  add(record: MappingRecord): void {
    this.#tree.set(record.iova, record);
  }

  remove(record: MappingRecord): void {
    this.#tree.delete(record.iova);
  }
}

function ascending(a: number, b: number): number {
  return a - b;
}
