/**
 * Ranges that were freed and wait to be asked for again: magazines of each CPU, and a depot they share (drivers/iommu/iova.c:
 * __iova_rcache_insert, __iova_rcache_get, iova_depot_work_func). A range in a magazine is not in the tree, so that
 * neighbours do not grow together.
 */
import type { World } from '@iommu-lab/machine';
import { NONE } from './hole-tree.ts';

/** Sizes are powers of two: 1, 2, 4, 8, 16, 32 granules (IOVA_RANGE_CACHE_MAX_SIZE). */
const CLASSES = 6;
/** Granules of the largest range that is kept. */
export const LARGEST_CACHED: number = 2 ** (CLASSES - 1);
/** Ranges in a magazine (IOVA_MAG_SIZE). */
const MAGAZINE = 127;
/** Between two runs of the job that shrinks a depot (IOVA_DEPOT_DELAY). */
const DEPOT_DELAY_NS = 100_000_000;

/** Takes a range back that is cached no longer. */
export type Release = (frame: number, size: number) => void;

/** The magazines of one IOVA space. */
export class RangeCache {
  readonly #world: World;
  readonly #cpus: number;
  readonly #classes: readonly SizeClass[];

  constructor(world: World, cpus: number, release: Release) {
    this.#world = world;
    this.#cpus = cpus;
    this.#classes = Array.from({ length: CLASSES }, (_, i) => new SizeClass(world, cpus, 2 ** i, release));
  }

  /** Granules of all cached ranges. */
  get granules(): number {
    let sum = 0;
    for (const sizeClass of this.#classes) sum += sizeClass.granules;
    return sum;
  }

  /** Keeps a range of a size that is cached. */
  push(frame: number, size: number): void {
    this.#classOf(size).push(this.#cpu(), frame);
  }

  /** A range of `size` that starts at or below `most`, the one that this CPU freed last first; or NONE. */
  pop(size: number, most: number): number {
    return this.#classOf(size).pop(this.#cpu(), most);
  }

  /** Releases all. */
  empty(): void {
    for (const sizeClass of this.#classes) sizeClass.empty();
  }

  #classOf(size: number): SizeClass {
    return this.#classes[31 - Math.clz32(size)] as SizeClass;
  }

  #cpu(): number {
    return this.#world.currentCpu % this.#cpus;
  }
}

class Magazine {
  readonly frames: Float64Array = new Float64Array(MAGAZINE);
  count = 0;
}

/** A CPU's two magazines: one at hand, one that keeps it from the depot when it goes back and forth at an edge. */
interface Pair {
  loaded: Magazine;
  previous: Magazine;
}

class SizeClass {
  readonly #world: World;
  readonly #size: number;
  readonly #release: Release;
  readonly #pairs: (Pair | undefined)[];
  /** Full ones. */
  readonly #depot: Magazine[] = [];
  /** Empty ones, to be used again. */
  readonly #spare: Magazine[] = [];
  #ranges = 0;
  #hasJob = false;

  constructor(world: World, cpus: number, size: number, release: Release) {
    this.#world = world;
    this.#size = size;
    this.#release = release;
    this.#pairs = Array.from({ length: cpus });
  }

  get granules(): number {
    return this.#ranges * this.#size;
  }

  push(cpu: number, frame: number): void {
    const pair = (this.#pairs[cpu] ??= { loaded: new Magazine(), previous: new Magazine() });
    if (pair.loaded.count === MAGAZINE) {
      if (pair.previous.count === MAGAZINE) {
        this.#depot.push(pair.loaded);
        pair.loaded = this.#spare.pop() ?? new Magazine();
        this.#scheduleJob();
      } else swap(pair);
    }
    pair.loaded.frames[pair.loaded.count++] = frame;
    this.#ranges++;
  }

  pop(cpu: number, most: number): number {
    const pair = this.#pairs[cpu];
    if (pair === undefined && this.#depot.length === 0) return NONE;
    return this.#popFrom((this.#pairs[cpu] ??= { loaded: new Magazine(), previous: new Magazine() }), most);
  }

  empty(): void {
    for (const pair of this.#pairs) {
      if (pair === undefined) continue;
      this.#emptyMagazine(pair.loaded);
      this.#emptyMagazine(pair.previous);
    }
    while (this.#depot.length > 0) this.#emptyDepotMagazine();
  }

  #popFrom(pair: Pair, most: number): number {
    if (pair.loaded.count === 0) {
      if (pair.previous.count > 0) swap(pair);
      else {
        const full = this.#depot.pop();
        if (full === undefined) return NONE;
        this.#spare.push(pair.loaded);
        pair.loaded = full;
      }
    }
    const { loaded } = pair;
    const { frames } = loaded;
    for (let i = loaded.count - 1; i >= 0; i--) {
      const frame = frames[i] as number;
      if (frame > most) continue;
      frames[i] = frames[--loaded.count] as number;
      this.#ranges--;
      return frame;
    }
    return NONE;
  }

  /** One magazine goes back to the tree every 100 ms while the depot has more of them than there are CPUs. */
  #scheduleJob(): void {
    if (this.#hasJob || this.#depot.length <= this.#pairs.length) return;
    this.#hasJob = true;
    this.#world.clock.schedule(DEPOT_DELAY_NS, 'depot of IOVA magazines', () => {
      this.#hasJob = false;
      if (this.#depot.length > this.#pairs.length) this.#emptyDepotMagazine();
      this.#scheduleJob();
    });
  }

  #emptyDepotMagazine(): void {
    const magazine = this.#depot.pop() as Magazine;
    this.#emptyMagazine(magazine);
    this.#spare.push(magazine);
  }

  #emptyMagazine(magazine: Magazine): void {
    for (let i = 0; i < magazine.count; i++) this.#release(magazine.frames[i] as number, this.#size);
    this.#ranges -= magazine.count;
    magazine.count = 0;
  }
}

function swap(pair: Pair): void {
  const { loaded } = pair;
  pair.loaded = pair.previous;
  pair.previous = loaded;
}
