/** What the cases work on: our allocator, and the same work done with a sorted map. */
import { Draws } from '@iommu-lab/bench';
import { type Iova, World } from '@iommu-lab/machine';
import { EmptyBTree } from 'sorted-btree';
import { IovaAllocator } from '../src/iova/iova-allocator.ts';

export const GRANULE = 4096;
/** Last address of the space: frames stay below 2^31, as those of a 40-bit device do. */
export const LAST: number = 2 ** 40 - 1;
/** Operations of one run. */
export const DRAWS = 8192;

/** What a case asks of a space. Sizes and limits are bytes. */
export interface Space {
  /** The highest range that ends at or below `limit`; -1: none. */
  take(sizeBytes: number, limit: number): number;
  give(iova: number, sizeBytes: number): void;
  readonly liveRanges: number;
}

/** Ours. */
export class AllocatorSpace implements Space {
  readonly allocator: IovaAllocator;

  constructor(caching: boolean) {
    this.allocator = new IovaAllocator(new World(), { granule: GRANULE, start: 0, last: LAST, caching });
  }

  take(sizeBytes: number, limit: number): number {
    return this.allocator.tryAllocate(sizeBytes, limit) ?? -1;
  }

  give(iova: number, sizeBytes: number): void {
    this.allocator.free(iova as Iova, sizeBytes);
  }

  get liveRanges(): number {
    return this.allocator.liveRanges;
  }
}

const Tree = EmptyBTree.constructor as new (
  entries: undefined,
  compare: (a: number, b: number) => number,
) => typeof EmptyBTree;

/**
 * The reference: holes in a `sorted-btree` by their start, looked at one after the other from the top (it has nothing to say
 * which are too small); what is out in a Map.
 */
export class SortedMapSpace implements Space {
  readonly #holes = new Tree(undefined, (a, b) => a - b);
  readonly #live = new Map<number, number>();
  readonly #pair: [number, number] = [0, 0];

  constructor() {
    this.#holes.set(1, (LAST + 1) / GRANULE);
  }

  take(sizeBytes: number, limit: number): number {
    const size = Math.ceil(sizeBytes / GRANULE);
    const most = Math.floor((limit + 1) / GRANULE);
    let alignment = 1;
    while (alignment < size) alignment *= 2;
    const holes = this.#holes;
    let hole = holes.getPairOrNextLower(most - 1, this.#pair);
    while (hole !== undefined) {
      const [start, end] = hole as [number, number];
      const frame = Math.floor((Math.min(end, most) - size) / alignment) * alignment;
      if (frame >= start) {
        if (frame > start) holes.set(start, frame);
        else holes.delete(start);
        if (frame + size < end) holes.set(frame + size, end);
        this.#live.set(frame, size);
        return frame * GRANULE;
      }
      hole = holes.nextLowerPair(start, this.#pair);
    }
    return -1;
  }

  give(iova: number, sizeBytes: number): void {
    const frame = iova / GRANULE;
    const size = Math.ceil(sizeBytes / GRANULE);
    if (this.#live.get(frame) !== size) throw new Error(`${iova} is not out`);
    this.#live.delete(frame);
    let start = frame;
    let end = frame + size;
    const below = this.#holes.nextLowerPair(frame, this.#pair);
    if (below !== undefined && below[1] === frame) start = below[0] as number;
    const endAbove: unknown = this.#holes.get(end);
    if (endAbove !== undefined) {
      this.#holes.delete(end);
      end = endAbove as number;
    }
    this.#holes.set(start, end);
  }

  get liveRanges(): number {
    return this.#live.size;
  }
}

/** Ranges that are out: where, and how large. */
export interface Ranges {
  readonly iovas: Float64Array;
  readonly sizes: Float64Array;
}

/** Takes `count` ranges of 1, 2 and 4 granules, side by side. */
export function fill(space: Space, count: number): Ranges {
  const draws = new Draws();
  const sizes = Float64Array.from({ length: count }, () => GRANULE * 2 ** Math.max(0, draws.below(5) - 2));
  return { iovas: sizes.map((size) => space.take(size, LAST)), sizes };
}

/** Takes `count` ranges of a granule with a free one above each. */
export function fillWithHoles(space: Space, count: number): Ranges {
  const all = Float64Array.from({ length: 2 * count }, () => space.take(GRANULE, LAST));
  for (let i = 0; i < 2 * count; i += 2) space.give(all[i] as number, GRANULE);
  return { iovas: all.filter((_, i) => i % 2 === 1), sizes: new Float64Array(count).fill(GRANULE) };
}

/** DRAWS of the ranges. */
export function drawFrom({ iovas, sizes }: Ranges): Ranges {
  const draws = new Draws();
  const low = Math.min(iovas.length, 65536);
  const drawn = Uint32Array.from({ length: DRAWS }, () => {
    const upper = iovas.length > 65536 ? draws.below(iovas.length / 65536) * 65536 : 0;
    return upper + draws.below(low);
  });
  return {
    iovas: Float64Array.from(drawn, (i) => iovas[i] as number),
    sizes: Float64Array.from(drawn, (i) => sizes[i] as number),
  };
}
