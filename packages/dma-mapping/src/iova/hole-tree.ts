/**
 * What is free of an IOVA space: a B-tree of holes by address in which every entry says which size fits below it. So the
 * highest fit below a limit, and that there is none, is found in one way down, one up, and one down the tree.
 *
 * A tree of our own, since a sorted map cannot say that: with 16 K holes that are too small an allocation takes 0.5 us, and
 * 1.4 ms with `sorted-btree`; plain work with a million holes takes half its time (bench/iova.bench.ts). The kernel keeps a
 * red-black tree of what is out and walks it from a remembered place (drivers/iommu/iova.c: __alloc_and_insert_iova_range),
 * which gets long when the space is fragmented. Nodes are wide because a step down is a cache miss.
 */
import { highestStart, largestFit } from './natural-alignment.ts';

/** Entries of a node. */
const WIDTH = 32;
const HALF = WIDTH / 2;
/** A node in the arena: starts, fits, tails. Of a leaf's entry the tail is the hole's end, else the node below. */
const FITS = WIDTH;
const TAILS = 2 * WIDTH;
const NODE = 3 * WIDTH;
/** More levels than splits of nodes can make. */
const LEVELS = 32;

/** No range. (Frame 0 is never in a tree.) */
export const NONE = 0;

/** Disjoint holes `[start, end)`, in granules; no two touch. */
export class HoleTree {
  #arena: Float64Array<ArrayBuffer> = new Float64Array(4 * NODE);
  /** Entries in use, by node. */
  #counts: Uint8Array<ArrayBuffer> = new Uint8Array(4);
  #nodes = 1;
  /** Nodes given back. */
  readonly #spare: number[] = [];
  #root = 0;
  /** Levels above the leaves. */
  #height = 0;
  #holes = 0;
  /** The way from the root to an entry, by level; 0 is the leaf's. */
  readonly #pathNode: Int32Array = new Int32Array(LEVELS);
  readonly #pathIndex: Int32Array = new Int32Array(LEVELS);

  /** One hole. Its start is above 0. */
  constructor(start: number, end: number) {
    this.give(start, end);
  }

  /** How many holes there are. */
  get count(): number {
    return this.#holes;
  }

  /** The largest size that `takeHighest` could give; 0 when nothing is free. */
  get largestFit(): number {
    return this.#largestOf(this.#root);
  }

  /** Size of the largest hole, whatever fits into it; looks at each. */
  largestHole(): number {
    let largest = 0;
    this.#seek(NONE);
    while (this.#stepNext()) largest = Math.max(largest, this.#end() - this.#start());
    return largest;
  }

  /**
   * Takes the highest range of `size`, aligned by it, that ends at or below `limit`.
   * @returns its start, or NONE
   */
  takeHighest(size: number, limit: number): number {
    this.#seek(limit - 1);
    if ((this.#pathIndex[0] as number) < 0) return NONE;
    const start = highestStart(Math.min(limit, this.#end()), size);
    if (start >= this.#start()) {
      this.#cut(start, start + size);
      return start;
    }
    if (!this.#seekFitBefore(size)) return NONE;
    const found = highestStart(this.#end(), size);
    this.#cut(found, found + size);
    return found;
  }

  /** Takes out what is free of a range. @returns how much that was. */
  takeOut(start: number, end: number): number {
    let taken = 0;
    for (;;) {
      this.#seek(end - 1);
      if ((this.#pathIndex[0] as number) < 0 || this.#end() <= start) return taken;
      const from = Math.max(this.#start(), start);
      const to = Math.min(this.#end(), end);
      this.#cut(from, to);
      taken += to - from;
    }
  }

  /** Puts a range back, no part of which is free. */
  give(start: number, end: number): void {
    this.#seek(start);
    const joinsBelow = (this.#pathIndex[0] as number) >= 0 && this.#end() === start;
    const joinsAbove = this.#nextStart() === end;
    if (joinsAbove) {
      this.#stepNext();
      if (!joinsBelow) {
        this.#set(start, this.#end());
        return;
      }
      const endAbove = this.#end();
      const isInLeafBelow = this.#pathIndex[0] === 0;
      this.#remove(0);
      this.#holes--;
      if (isInLeafBelow) this.#seek(start);
      else (this.#pathIndex[0] as number)--;
      this.#set(this.#start(), endAbove);
    } else if (joinsBelow) {
      this.#set(this.#start(), end);
    } else {
      this.#insertNext(start, end);
    }
  }

  #start(): number {
    return this.#arena[(this.#pathNode[0] as number) * NODE + (this.#pathIndex[0] as number)] as number;
  }

  #end(): number {
    return this.#arena[
      (this.#pathNode[0] as number) * NODE + TAILS + (this.#pathIndex[0] as number)
    ] as number;
  }

  /** Goes to the last hole that starts at or below `frame`; index -1 of the first leaf when there is none. */
  #seek(frame: number): void {
    const arena = this.#arena;
    let node = this.#root;
    for (let level = this.#height; ; level--) {
      const base = node * NODE;
      let index = (this.#counts[node] as number) - 1;
      if (index >= HALF && (arena[base + HALF] as number) > frame) index = HALF - 1;
      while (index > 0 && (arena[base + index] as number) > frame) index--;
      this.#pathNode[level] = node;
      this.#pathIndex[level] = index;
      if (level === 0) {
        if (index === 0 && (arena[base] as number) > frame) this.#pathIndex[0] = -1;
        return;
      }
      node = arena[base + TAILS + index] as number;
    }
  }

  /** Goes to the last hole before the current one into which `size` fits. @returns whether there is one. */
  #seekFitBefore(size: number): boolean {
    for (let level = 0; level <= this.#height; level++) {
      const node = this.#pathNode[level] as number;
      const index = this.#lastFit(node, (this.#pathIndex[level] as number) - 1, size);
      if (index < 0) continue;
      this.#pathIndex[level] = index;
      this.#descendToFit(level, size);
      return true;
    }
    return false;
  }

  #descendToFit(from: number, size: number): void {
    for (let level = from; level > 0; level--) {
      const at = (this.#pathNode[level] as number) * NODE + TAILS + (this.#pathIndex[level] as number);
      const node = this.#arena[at] as number;
      this.#pathNode[level - 1] = node;
      this.#pathIndex[level - 1] = this.#lastFit(node, (this.#counts[node] as number) - 1, size);
    }
  }

  /** The last entry at or before `index` below which `size` fits; -1: none. */
  #lastFit(node: number, index: number, size: number): number {
    const fits = node * NODE + FITS;
    let i = index;
    while (i >= 0 && (this.#arena[fits + i] as number) < size) i--;
    return i;
  }

  /** Start of the hole behind the current one; Infinity: none. */
  #nextStart(): number {
    for (let level = 0; level <= this.#height; level++) {
      const node = this.#pathNode[level] as number;
      const index = (this.#pathIndex[level] as number) + 1;
      if (index < (this.#counts[node] as number)) return this.#arena[node * NODE + index] as number;
    }
    return Infinity;
  }

  /** Goes to the hole behind the current one. @returns false when there is none. */
  #stepNext(): boolean {
    let level = 0;
    while (
      (this.#pathIndex[level] as number) + 1 >=
      (this.#counts[this.#pathNode[level] as number] as number)
    ) {
      if (++level > this.#height) return false;
    }
    let index = (this.#pathIndex[level] as number) + 1;
    for (;;) {
      this.#pathIndex[level] = index;
      if (level === 0) return true;
      const node = this.#arena[(this.#pathNode[level] as number) * NODE + TAILS + index] as number;
      this.#pathNode[--level] = node;
      index = 0;
    }
  }

  /** Takes `[from, to)` out of the current hole. */
  #cut(from: number, to: number): void {
    const start = this.#start();
    const end = this.#end();
    if (from > start) {
      this.#set(start, from);
      if (to < end) this.#insertNext(to, end);
    } else if (to < end) {
      this.#set(to, end);
    } else {
      this.#remove(0);
      this.#holes--;
    }
  }

  /** Gives the current hole other ends; its neighbours stay its neighbours. */
  #set(start: number, end: number): void {
    const at = (this.#pathNode[0] as number) * NODE + (this.#pathIndex[0] as number);
    const fit = largestFit(start, end);
    this.#arena[at] = start;
    this.#arena[at + FITS] = fit;
    this.#arena[at + TAILS] = end;
    this.#refresh(0, fit);
  }

  /** Adds a hole behind the current one, and goes to it. */
  #insertNext(start: number, end: number): void {
    (this.#pathIndex[0] as number)++;
    if (this.#counts[this.#pathNode[0] as number] === WIDTH) this.#split(0);
    const fit = largestFit(start, end);
    this.#put(this.#pathNode[0] as number, this.#pathIndex[0] as number, start, fit, end);
    this.#holes++;
    this.#refresh(0, fit);
  }

  /** Puts an entry into a node that has room. */
  #put(node: number, index: number, start: number, fit: number, tail: number): void {
    const arena = this.#arena;
    const base = node * NODE;
    for (let i = (this.#counts[node] as number)++; i > index; i--) copyEntry(arena, base + i - 1, base + i);
    arena[base + index] = start;
    arena[base + index + FITS] = fit;
    arena[base + index + TAILS] = tail;
  }

  /**
   * Takes the current entry of a level away; a node that is empty goes. Unless it was the node's first one, the path leads to
   * what has moved into its place.
   */
  #remove(level: number): void {
    const arena = this.#arena;
    const node = this.#pathNode[level] as number;
    const base = node * NODE;
    const last = --(this.#counts[node] as number);
    for (let i = this.#pathIndex[level] as number; i < last; i++) copyEntry(arena, base + i + 1, base + i);
    if (last === 0 && level < this.#height) {
      this.#spare.push(node);
      this.#remove(level + 1);
      return;
    }
    this.#refresh(level, 0);
    while (this.#height > 0 && this.#counts[this.#root] === 1) {
      this.#spare.push(this.#root);
      this.#root = arena[this.#root * NODE + TAILS] as number;
      this.#height--;
    }
  }

  /** Makes two of a full node of the path; the path leads to the same place. */
  #split(level: number): void {
    if (level === this.#height) this.#raiseRoot();
    else if (this.#counts[this.#pathNode[level + 1] as number] === WIDTH) this.#split(level + 1);
    const right = this.#newNode();
    const arena = this.#arena;
    const node = this.#pathNode[level] as number;
    for (let i = 0; i < HALF; i++) copyEntry(arena, node * NODE + HALF + i, right * NODE + i);
    this.#counts[node] = HALF;
    this.#counts[right] = HALF;

    const parent = this.#pathNode[level + 1] as number;
    const index = this.#pathIndex[level + 1] as number;
    arena[parent * NODE + FITS + index] = this.#largestOf(node);
    this.#put(parent, index + 1, arena[right * NODE] as number, this.#largestOf(right), right);
    if ((this.#pathIndex[level] as number) < HALF) return;
    this.#pathNode[level] = right;
    (this.#pathIndex[level] as number) -= HALF;
    this.#pathIndex[level + 1] = index + 1;
  }

  #raiseRoot(): void {
    const below = this.#root;
    this.#root = this.#newNode();
    this.#put(this.#root, 0, this.#arena[below * NODE] as number, this.#largestOf(below), below);
    this.#height++;
    this.#pathNode[this.#height] = this.#root;
    this.#pathIndex[this.#height] = 0;
  }

  #newNode(): number {
    const node = this.#spare.pop() ?? this.#nodes++;
    if (node === this.#counts.length) {
      const arena = new Float64Array(2 * this.#arena.length);
      const counts = new Uint8Array(2 * this.#counts.length);
      arena.set(this.#arena);
      counts.set(this.#counts);
      this.#arena = arena;
      this.#counts = counts;
    }
    this.#counts[node] = 0;
    return node;
  }

  /** Tells the levels above of a change in a node of the path. @param changed fit of its current entry; 0: it has gone */
  #refresh(from: number, changed: number): void {
    const arena = this.#arena;
    let fit = changed;
    for (let level = from; level < this.#height; level++) {
      const node = this.#pathNode[level] as number;
      const at = (this.#pathNode[level + 1] as number) * NODE + (this.#pathIndex[level + 1] as number);
      const start = arena[node * NODE] as number;
      const before = arena[at + FITS] as number;
      // The others are at most what was the largest: only a smaller one has to be compared with them.
      if (fit < before) fit = this.#largestOf(node, before);
      if (arena[at] === start && before === fit) return;
      arena[at] = start;
      arena[at + FITS] = fit;
    }
  }

  /** The largest fit of a node; the search ends at one of `enough`. */
  #largestOf(node: number, enough: number = Infinity): number {
    const fits = node * NODE + FITS;
    const last = fits + (this.#counts[node] as number);
    let largest = 0;
    for (let i = fits; i < last; i++) {
      const fit = this.#arena[i] as number;
      if (fit > largest) {
        largest = fit;
        if (fit >= enough) break;
      }
    }
    return largest;
  }
}

function copyEntry(arena: Float64Array, from: number, to: number): void {
  arena[to] = arena[from] as number;
  arena[to + FITS] = arena[from + FITS] as number;
  arena[to + TAILS] = arena[from + TAILS] as number;
}
