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

/** Who removed a part of what a gather holds, and can invalidate it: a domain. */
export interface GatherOwner {
  sync(gather: Gather): void;
}

/**
 * Until its sync a gather serves one domain, or one address space: each of its domains then has a part, since what one
 * table lost says nothing about the TLBs of another.
 */
export class Gather {
  readonly #ranges: GrowingRange[] = [];
  readonly #frees: (() => void)[] = [];
  /** The first owner has the gather itself for its part: where there is one domain, nothing is made. */
  #owner: GatherOwner | undefined;
  #others: Map<GatherOwner, Gather> | undefined;

  /** In the order they were removed; without what is in the parts of further owners. */
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

  /** Nothing to invalidate and nothing to free, in any part. */
  get isEmpty(): boolean {
    if (this.#ranges.length > 0 || this.#frees.length > 0) return false;
    if (this.#others === undefined) return true;
    return [...this.#others.values()].every((part) => part.isEmpty);
  }

  /** The part of one owner of several, for it alone to fill and to sync. */
  part(owner: GatherOwner): Gather {
    this.#owner ??= owner;
    if (this.#owner === owner) return this;
    this.#others ??= new Map();
    let part = this.#others.get(owner);
    if (part === undefined) {
      part = new Gather();
      this.#others.set(owner, part);
    }
    return part;
  }

  /** Each owner syncs its part. The first is the last to do so: what `freeLater` was given waits for all of them. */
  syncParts(): void {
    const owner = this.#owner;
    for (const [other, part] of this.#others ?? []) other.sync(part);
    if (owner === undefined) this.finish();
    else owner.sync(this);
  }

  /** Called by the table's `sync` once the invalidation is done: frees what was left to it and empties the gather. */
  finish(): void {
    const parts = this.#others?.values() ?? [];
    this.#owner = undefined;
    this.#others = undefined;
    this.#ranges.length = 0;
    for (const part of parts) part.finish();
    for (const free of this.#frees.splice(0)) free();
  }
}
