/** Counts what moving packets takes: steps of the CPU towards memory, calls of the DMA layer, and what the hardware counted. */
import type { Device } from '@iommu-lab/driver-core';
import type { System } from '../system.ts';
import type { NicCounts } from './cost-model.ts';
import type { PacketPages } from './packet-pages.ts';

/** Bytes of a descriptor of a page table: what is stored one by one. */
const TABLE_ENTRY_BYTES = 4;
/** Descriptors that a walk reads to find a page: one a level (R34). Packets and rings are mapped by pages. */
const READS_PER_WALK = 2;
/** What a packet takes of the IOVA space: one granule. */
const IOVA_BYTES = 4096;

interface Totals {
  readonly hits: number;
  readonly misses: number;
  readonly walks: number;
  readonly invalidations: number;
  /** Ranges of the IOVA space that are not in the tree: in use, waiting for a flush, or in a magazine. */
  readonly iovasOut: number;
  readonly bounced: number;
  readonly copiedBytes: number;
}

/** What only the driver knows. */
export interface DriverCounts {
  readonly packets: number;
  /** Calls for packets. */
  readonly maps: number;
  readonly unmaps: number;
}

/**
 * Counts from now on until the function it returns is called.
 * @param pages where packets lie
 */
export function startMeter(
  system: System,
  device: Device,
  pages: PacketPages,
): (driver: DriverCounts) => NicCounts {
  const { lineBytes } = system.cache;
  const hasTables = device.endpoints.length > 0;
  let tableStores = 0;
  let cacheLines = 0;
  const stop = system.world.interposer.observe((kind, address, sizeBytes) => {
    // Without tables it is packets, or the bounce buffers that stand for them.
    const isPacket = !hasTables || pages.has(address);
    if (isPacket && kind !== 'store') cacheLines += linesOf(address, sizeBytes, lineBytes);
    // Rings are stored to by the descriptor, packets as a whole.
    if (!isPacket && kind === 'store' && sizeBytes === TABLE_ENTRY_BYTES) tableStores++;
  });
  const before = totals(system, device);
  return ({ packets, maps, unmaps }) => {
    stop();
    const after = totals(system, device);
    const iovasTree = Math.max(0, after.iovasOut - before.iovasOut);
    return {
      packets,
      unmaps,
      tableStores,
      iovasCached: hasTables ? maps - iovasTree : 0,
      iovasTree,
      bounceSlots: after.bounced - before.bounced,
      invalidations: after.invalidations - before.invalidations,
      cacheLines,
      copiedBytes: after.copiedBytes - before.copiedBytes,
      tlbHits: after.hits - before.hits,
      tlbMisses: after.misses - before.misses,
      walkReads: (after.walks - before.walks) * READS_PER_WALK,
    };
  };
}

function totals(system: System, device: Device): Totals {
  const [endpoint] = device.endpoints;
  const hardware = endpoint && system.smmu(endpoint.provider).statistics;
  const iovas = system.dma.iovaReport(device);
  const pool = system.bouncePool?.occupancy;
  return {
    hits: hardware?.hits ?? 0,
    misses: hardware?.misses ?? 0,
    walks: hardware?.walks ?? 0,
    invalidations: hardware?.invalidations ?? 0,
    iovasOut: iovas ? (iovas.allocatedBytes + iovas.fragmentation.cachedBytes) / IOVA_BYTES : 0,
    bounced: pool?.mapped ?? 0,
    copiedBytes: pool?.copiedBytes ?? 0,
  };
}

function linesOf(address: number, sizeBytes: number, lineBytes: number): number {
  return Math.floor((address + sizeBytes - 1) / lineBytes) - Math.floor(address / lineBytes) + 1;
}
