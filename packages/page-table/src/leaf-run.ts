/**
 * The two loops that every mapped and unmapped page goes through: writing a row of leaves, and clearing one.
 *
 * They stand apart because they are what a page costs. Measured (packages/backend-msm/BENCHMARKS.md): an object that
 * gathers stores, a listener that is called for each leaf, and offsets by `%` of numbers beyond 31 bits took several
 * times what the store itself takes. So a row is written in one loop over addresses and cleaned once, leaves are
 * reported as rows, and nothing is made for a leaf.
 */
import type { PhysAddr } from '@iommu-lab/machine';
import {
  LARGE_PAGE_BYTES,
  REPLICAS,
  secondLevelIndex,
  secondLevelKind,
  SMALL_PAGE_BYTES,
} from './layout/short-descriptor.ts';
import type { TableMemory } from './table-memory.ts';

/** Hears of a row of adjacent leaves of one size that went: where it starts, its bytes, the bytes of a leaf. */
export type LeafListener = (iova: number, sizeBytes: number, leafBytes: number) => void;

const WORD_BYTES = 4;

/**
 * Writes leaves for consecutive physical addresses into consecutive entries, each `replicas` times, and cleans them.
 * @param start address of the first entry
 * @param entries a multiple of `replicas`
 * @param firstWord the first leaf; the next is `leafBytes` higher
 */
export function writeLeaves(
  memory: TableMemory,
  start: number,
  entries: number,
  firstWord: number,
  leafBytes: number,
  replicas: number,
): void {
  const end = start + entries * WORD_BYTES;
  let word = firstWord | 0;
  if (replicas === 1) {
    for (let at = start; at < end; at += WORD_BYTES) {
      memory.write32(at as PhysAddr, word >>> 0);
      word = (word + leafBytes) | 0;
    }
  } else {
    for (let at = start; at < end;) {
      for (let replica = 0; replica < replicas; replica++, at += WORD_BYTES) {
        memory.write32(at as PhysAddr, word >>> 0);
      }
      word = (word + leafBytes) | 0;
    }
  }
  memory.clean(start as PhysAddr, end - start);
}

/** Where the leaf over `iova` begins in the second-level table at `table`; `iova` itself where there is none. */
export function leafStart(memory: TableMemory, table: number, iova: number): number {
  const word = memory.read32((table + secondLevelIndex(iova) * WORD_BYTES) as PhysAddr);
  return secondLevelKind(word) === 'large' ? iova - (iova & (LARGE_PAGE_BYTES - 1)) : iova;
}

/** The first of the entries `from` to `last` of the second-level table at `table` that is valid, or `last + 1`. */
export function firstLeaf(memory: TableMemory, table: number, from: number, last: number): number {
  let index = from;
  while (
    index <= last &&
    secondLevelKind(memory.read32((table + index * WORD_BYTES) as PhysAddr)) === 'invalid'
  ) {
    index++;
  }
  return index;
}

/**
 * Clears the leaves of one second-level table from `from` up to `end` (in the same MiB) or the first hole, and cleans
 * what it wrote. A large page at the end goes whole.
 * @param table address of the second-level table
 * @param from where a leaf begins
 * @returns bytes removed
 */
export function clearLeaves(
  memory: TableMemory,
  table: number,
  from: number,
  end: number,
  removed: LeafListener,
): number {
  const last = secondLevelIndex(end - 1);
  const first = secondLevelIndex(from);
  const sectionStart = from - first * SMALL_PAGE_BYTES;
  let index = first;
  let rowStart = first;
  let rowLeaf = 0;
  while (index <= last) {
    const kind = secondLevelKind(memory.read32((table + index * WORD_BYTES) as PhysAddr));
    if (kind === 'invalid') break;
    const leafBytes = kind === 'large' ? LARGE_PAGE_BYTES : SMALL_PAGE_BYTES;
    if (leafBytes !== rowLeaf) {
      if (index > first) report(removed, sectionStart, rowStart, index, rowLeaf);
      rowStart = index;
      rowLeaf = leafBytes;
    }
    const next = kind === 'large' ? index + REPLICAS : index + 1;
    for (; index < next; index++) memory.write32((table + index * WORD_BYTES) as PhysAddr, 0);
  }
  if (index === first) return 0;
  memory.clean((table + first * WORD_BYTES) as PhysAddr, (index - first) * WORD_BYTES);
  report(removed, sectionStart, rowStart, index, rowLeaf);
  return (index - first) * SMALL_PAGE_BYTES;
}

function report(
  removed: LeafListener,
  sectionStart: number,
  from: number,
  to: number,
  leafBytes: number,
): void {
  removed(sectionStart + from * SMALL_PAGE_BYTES, (to - from) * SMALL_PAGE_BYTES, leafBytes);
}
