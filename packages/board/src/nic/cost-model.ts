/**
 * What a packet costs, in cycles of the CPU: counts of the model, times a price each. Counts are what happened; prices are
 * somebody's measurement or our assumption, as each says, and all of them can be set. Sums add as if nothing overlapped: the
 * device's translation too, which real hardware does while the CPU works.
 */

/** Cycles for one of each. */
export interface NicPrices {
  /**
   * The rest of the kernel, for a packet. 2400 is an assumption: a 3 GHz core that is busy at 15 Gb/s of 1500-byte packets.
   * It decides how much of the whole the other prices are.
   */
  readonly stack: number;
  /**
   * Writing or clearing one entry of a page table: finding it, storing it, getting the store to the walker. 510 is the mean of
   * the rows "page table" (588 and 438 in mode `strict`) in Table 1 of Malka et al., ASPLOS 2015; VT-d, four levels.
   */
  readonly tableStore: number;
  /**
   * An IOVA from a CPU's magazine, and giving it back. 150: rows "iova alloc" and "iova free" (92 and 62, mode `strict+`) of
   * the same table, of an allocator that takes constant time as the magazines do.
   */
  readonly iovaCached: number;
  /**
   * An IOVA from the tree. 1700: row "iova alloc" (1674, mode `defer`) of the same table; the other mode, `strict`, has 3986. The
   * allocator of that day searched linearly, today's does less often.
   */
  readonly iovaTree: number;
  /** Finding and freeing the slots of a bounce buffer; 150 is an assumption: as much as an IOVA. */
  readonly bounceSlot: number;
  /**
   * An invalidation and the wait for it. 2130: row "iotlb inv" (2127 in `strict`, 2135 in `strict+`) of the same table: a VT-d
   * queue of commands, and waiting for its end. Nobody has published the MSM's; its one register write may cost a tenth.
   */
  readonly invalidation: number;
  /**
   * Cleaning or invalidating one cache line by address, in the cache or not. 20 is an assumption: 32 bytes to memory at some 5 GB/s
   * and 3 GHz.
   */
  readonly cacheLine: number;
  /** Copying one byte between two buffers; 0.5 is an assumption: one of the two is not in the cache. */
  readonly copiedByte: number;
  /** A device's access that finds its translation in the TLB; 4 is an assumption. */
  readonly tlbHit: number;
  /** Reading one descriptor in a table walk; 200 is an assumption: memory, some 70 ns away. */
  readonly walkRead: number;
}

/** See each price for where it comes from. */
export const NIC_PRICES: NicPrices = {
  stack: 2400,
  tableStore: 510,
  iovaCached: 150,
  iovaTree: 1700,
  bounceSlot: 150,
  invalidation: 2130,
  cacheLine: 20,
  copiedByte: 0.5,
  tlbHit: 4,
  walkRead: 200,
};

/** What happened while packets were moved; sums, not per packet. */
export interface NicCounts {
  /** Received and sent. */
  readonly packets: number;
  /** Calls of unmap for a packet's buffer; as many as of map. */
  readonly unmaps: number;
  readonly tableStores: number;
  /** IOVAs that came from a CPU's magazine, and from the tree. */
  readonly iovasCached: number;
  readonly iovasTree: number;
  readonly bounceSlots: number;
  /** Writes to invalidation registers. */
  readonly invalidations: number;
  /** Cache lines of packets that were cleaned or invalidated; those of tables are in the price of a store. */
  readonly cacheLines: number;
  readonly copiedBytes: number;
  readonly tlbHits: number;
  readonly tlbMisses: number;
  /** Descriptors that table walks read. */
  readonly walkReads: number;
}

/** Parts of a packet's cost, in the order of the chart. */
export const NIC_COST_PARTS = ['stack', 'map/unmap', 'invalidation', 'cache', 'copy', 'translation'] as const;
export type NicCostPart = (typeof NIC_COST_PARTS)[number];

/** Cycles a packet. */
export type NicCost = Readonly<Record<NicCostPart, number>>;

/** The parts that take the CPU; the device translates meanwhile. */
export const CPU_PARTS: readonly NicCostPart[] = NIC_COST_PARTS.filter((part) => part !== 'translation');

/** The parts that are there because of an IOMMU. */
export const IOMMU_PARTS: readonly NicCostPart[] = ['map/unmap', 'invalidation', 'translation'];

/** Cycles a packet, by part. */
export function costOf(counts: NicCounts, prices: NicPrices): NicCost {
  const perPacket = (cycles: number): number => cycles / Math.max(counts.packets, 1);
  return {
    stack: prices.stack,
    'map/unmap': perPacket(
      counts.tableStores * prices.tableStore +
        counts.iovasCached * prices.iovaCached +
        counts.iovasTree * prices.iovaTree +
        counts.bounceSlots * prices.bounceSlot,
    ),
    invalidation: perPacket(counts.invalidations * prices.invalidation),
    cache: perPacket(counts.cacheLines * prices.cacheLine),
    copy: perPacket(counts.copiedBytes * prices.copiedByte),
    translation: perPacket(counts.tlbHits * prices.tlbHit + counts.walkReads * prices.walkRead),
  };
}

/** Cycles a packet: the sum of `parts`, all of them unless given. */
export function cyclesOf(cost: NicCost, parts: readonly NicCostPart[] = NIC_COST_PARTS): number {
  return parts.reduce((sum, part) => sum + cost[part], 0);
}
