/** One stream of the reference IOMMU: what translates it, what it has cached, and its access that waits. */
import type { AttachTarget, FaultVerdict } from '@iommu-lab/iommu-core';
import type { AccessStatus, BusAccess } from '@iommu-lab/machine';
import type { ReferenceProcessTable } from './reference-process.ts';
import type { Leaf, ReferenceHost, ReferenceTable } from './reference-table.ts';

/** A cached page. */
export interface CacheEntry {
  readonly leaf: Leaf;
  /** A write through it has been noted in the table. */
  isNoted: boolean;
}

export class ReferenceStream {
  target: AttachTarget;
  readonly #host: ReferenceHost;
  /** By the number of the granule. */
  readonly #cache = new Map<number, CacheEntry>();
  #stalled: BusAccess | undefined;
  /** Somebody has been told, and has not decided. */
  #isHeld = false;
  /** Accesses behind the one that stalls: a stream's accesses keep their order. */
  #behind: BusAccess[] = [];

  constructor(host: ReferenceHost, target: AttachTarget) {
    this.#host = host;
    this.target = target;
  }

  get isStalled(): boolean {
    return this.#stalled !== undefined;
  }

  get isHeld(): boolean {
    return this.#stalled !== undefined && this.#isHeld;
  }

  /** The page of an address, from the cache or the table. */
  lookUp(target: AttachTarget & { readonly table: unknown }, iova: number): CacheEntry | undefined {
    const granule = this.#host.pageSizes[0] ?? 1;
    const key = Math.floor(iova / granule);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const leaf = (target.table as ReferenceTable | ReferenceProcessTable).find(iova);
    if (leaf === undefined) return undefined;
    const entry = { leaf, isNoted: false };
    this.#cache.set(key, entry);
    return entry;
  }

  forget(iova: number, sizeBytes: number): void {
    for (const [key, { leaf }] of this.#cache) {
      if (leaf.iova < iova + sizeBytes && leaf.iova + leaf.pageSize > iova) this.#cache.delete(key);
    }
  }

  forgetAll(): void {
    this.#cache.clear();
  }

  stall(access: BusAccess): void {
    this.#stalled = access;
    this.#isHeld = false;
  }

  wait(access: BusAccess): AccessStatus {
    this.#behind.push(access);
    return 'parked';
  }

  judge(access: BusAccess, verdict: FaultVerdict): void {
    if (this.#stalled !== access) return;
    if (verdict === 'hold') this.#isHeld = true;
    else this.endStall(verdict);
  }

  endStall(outcome: 'retry' | 'terminate'): void {
    const access = this.#stalled;
    const behind = this.#behind;
    this.#stalled = undefined;
    this.#isHeld = false;
    this.#behind = [];
    access?.resume(outcome);
    for (const next of behind) next.resume('retry');
  }
}
