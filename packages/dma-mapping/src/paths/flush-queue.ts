/**
 * Deferred invalidation: what is unmapped waits in a ring of the CPU that unmapped it, and one invalidation serves many of
 * them. Until then the device reaches the old memory through whatever its IOMMU remembers, and the IOVA is nobody's.
 * (drivers/iommu/dma-iommu.c: queue_iova, fq_ring_free, fq_flush_timeout.)
 */
import { Gather } from '@iommu-lab/iommu-core';
import type { Iova, World } from '@iommu-lab/machine';
import type { IovaAllocator } from '../iova/iova-allocator.ts';
import type { DmaDomain } from '../ports.ts';

export interface FlushQueueOptions {
  /** Entries of each CPU's ring; 256 unless given, as in the kernel. */
  readonly entries: number;
  /** Nanoseconds from the first entry to a flush; 10 ms unless given, as in the kernel. */
  readonly timeoutNs: number;
  /** Rings; as many as there are CPUs unless given. */
  readonly cpus: number;
}

/** Why a flush happened: a ring was full, the timer, or somebody asked for it. */
export type FlushReason = 'full' | 'timeout' | 'asked';

/** How wide the window was in which an unmapped IOVA still worked. */
export interface FlushStatistics {
  readonly flushes: Readonly<Record<FlushReason, number>>;
  /** Ranges that have been flushed. */
  readonly ranges: number;
  /** Longest time from an unmap to its flush, ns. */
  readonly longestNs: number;
  /** Sum of all those times, ns. */
  readonly totalNs: number;
}

interface Entry {
  readonly iova: Iova;
  readonly sizeBytes: number;
  readonly atNs: number;
  /** Flushes that had been when it was queued: the next one covers it. */
  readonly flushed: number;
}

export const DEFAULT_FLUSH_QUEUE: FlushQueueOptions = { entries: 256, timeoutNs: 10_000_000, cpus: 1 };

/** The queue of one domain. */
export class FlushQueue {
  /** What the next flush invalidates. */
  readonly #gather = new Gather();
  readonly #world: World;
  readonly #domain: DmaDomain;
  readonly #iovas: IovaAllocator;
  readonly #options: FlushQueueOptions;
  readonly #rings: Entry[][];
  readonly #flushes: Record<FlushReason, number> = { full: 0, timeout: 0, asked: 0 };
  /** Flushes so far. */
  #flushed = 0;
  #pending = 0;
  #stopTimer: (() => void) | undefined;
  #ranges = 0;
  #longestNs = 0;
  #totalNs = 0;

  constructor(
    world: World,
    domain: DmaDomain,
    iovas: IovaAllocator,
    options: Partial<FlushQueueOptions> = {},
  ) {
    this.#world = world;
    this.#domain = domain;
    this.#iovas = iovas;
    this.#options = { ...DEFAULT_FLUSH_QUEUE, ...options };
    this.#rings = Array.from({ length: this.#options.cpus }, () => []);
  }

  /** Ranges that are unmapped and not invalidated yet. */
  get pending(): number {
    return this.#pending;
  }

  get statistics(): FlushStatistics {
    return {
      flushes: { ...this.#flushes },
      ranges: this.#ranges,
      longestNs: this.#longestNs,
      totalNs: this.#totalNs,
    };
  }

  /** Whether `address` is in a range that waits. */
  isPending(address: Iova): boolean {
    return this.#rings.some((ring) =>
      ring.some(
        ({ iova, sizeBytes, flushed }) =>
          flushed === this.#flushed && address >= iova && address < iova + sizeBytes,
      ),
    );
  }

  /**
   * Unmaps a range without waiting; its IOVAs are given back once it is flushed. A full ring is flushed first.
   * @returns bytes unmapped. When they are fewer than asked the range is not queued and its IOVAs stay out.
   */
  unmap(iova: Iova, sizeBytes: number, site: string): number {
    const ring = this.#rings[this.#world.currentCpu % this.#rings.length] as Entry[];
    this.#releaseFlushed(ring);
    if (ring.length >= this.#options.entries) {
      this.#invalidate('full');
      this.#releaseFlushed(ring);
    }
    const unmapped = this.#domain.unmapFast(iova, sizeBytes, this.#gather, site);
    if (unmapped !== sizeBytes) {
      this.#invalidate('asked');
      return unmapped;
    }
    ring.push({ iova, sizeBytes, atNs: this.#world.clock.now, flushed: this.#flushed });
    this.#pending++;
    this.#stopTimer ??= this.#world.clock.schedule(this.#options.timeoutNs, 'flush of unmapped IOVAs', () => {
      this.#stopTimer = undefined;
      this.#flushAll('timeout');
    });
    return unmapped;
  }

  /** Flushes now: nothing that was unmapped before works any more, and all their IOVAs are back. */
  flush(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#flushAll('asked');
  }

  #flushAll(reason: FlushReason): void {
    if (this.#pending > 0) this.#invalidate(reason);
    for (const ring of this.#rings) this.#releaseFlushed(ring);
  }

  #invalidate(reason: FlushReason): void {
    const { now } = this.#world.clock;
    for (const ring of this.#rings) {
      for (let i = ring.length - 1; i >= 0; i--) {
        const entry = ring[i] as Entry;
        if (entry.flushed !== this.#flushed) break;
        this.#totalNs += now - entry.atNs;
        this.#longestNs = Math.max(this.#longestNs, now - entry.atNs);
      }
    }
    this.#domain.sync(this.#gather);
    const ranges = this.#pending;
    this.#flushed++;
    this.#flushes[reason]++;
    this.#ranges += ranges;
    this.#pending = 0;
    if (this.#world.events.isObserved) this.#world.emit('dma:flush_queue', { reason, ranges });
  }

  #releaseFlushed(ring: Entry[]): void {
    let count = 0;
    for (; count < ring.length; count++) {
      const entry = ring[count] as Entry;
      if (entry.flushed === this.#flushed) break;
      this.#iovas.free(entry.iova, entry.sizeBytes);
    }
    ring.splice(0, count);
  }
}
