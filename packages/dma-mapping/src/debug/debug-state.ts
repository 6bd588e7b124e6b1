/** What all parts of the checker share: the records by device and by memory, the reports, and whether it is on. */
import type { Device } from '@iommu-lab/driver-core';
import type { World } from '@iommu-lab/machine';
import type { DmaOps } from '../dma-ops.ts';
import type { KernelMap } from './kernel-regions.ts';
import { reportOverlaps } from './overlaps.ts';
import { RangeIndex } from './range-index.ts';
import { type BufferPiece, type CallSite, DeviceRecords, type MappingRecord } from './records.ts';
import { ReportBook } from './report.ts';

/** How the checker is set up. */
export interface DmaDebugOptions {
  /** Bytes of a cache line of the machine; 64 unless given. */
  readonly lineBytes?: number;
  /** What addresses are, for the classes on stack, text and vmalloc; without it they are not looked for. */
  readonly kernelMap?: KernelMap;
  /** Keep the call stacks of both sites; false unless given. They are in reports, never in events. */
  readonly stacks?: boolean;
  /** Live segments that are kept track of; past it checking is off for good. No limit unless given. */
  readonly maxEntries?: number;
}

const DEFAULT_LINE_BYTES = 64;

export class DebugState {
  readonly world: World;
  readonly book: ReportBook;
  readonly lineBytes: number;
  readonly kernelMap: KernelMap | undefined;
  /** The memory of live mappings of all devices. */
  readonly buffers: RangeIndex<BufferPiece> = new RangeIndex();
  readonly devices: Map<Device, DeviceRecords> = new Map();
  /** Accesses of devices that went through to what had been unmapped. */
  staleAccesses = 0;
  /** Longest time between an unmap and such an access. */
  longestStaleNs = 0;
  /** Out of entries. */
  isOff = false;
  readonly #keepsStacks: boolean;
  readonly #maxEntries: number;
  #entries = 0;

  constructor(world: World, options: DmaDebugOptions) {
    this.world = world;
    this.book = new ReportBook(world);
    this.lineBytes = options.lineBytes ?? DEFAULT_LINE_BYTES;
    this.kernelMap = options.kernelMap;
    this.#keepsStacks = options.stacks ?? false;
    this.#maxEntries = options.maxEntries ?? Number.MAX_SAFE_INTEGER;
  }

  /** Here and now, under that label. */
  here(site: string): CallSite {
    const atNs = this.world.clock.now;
    if (!this.#keepsStacks) return { site, atNs };
    const { stack } = new Error(site);
    return stack === undefined ? { site, atNs } : { site, atNs, stack };
  }

  /** The records of a device, whose operations are now `ops`. */
  recordsFor(device: Device, ops: DmaOps): DeviceRecords {
    let records = this.devices.get(device);
    if (records === undefined) {
      records = new DeviceRecords(device, ops);
      this.devices.set(device, records);
    }
    records.ops = ops;
    return records;
  }

  /** Keeps track of a new mapping (kernel/dma/debug.c, add_dma_entry). */
  add(records: DeviceRecords, record: MappingRecord): void {
    this.#entries += record.iovaPieces.length;
    if (this.#entries > this.#maxEntries || this.world.fail('dma-mapping.debug-entry')) {
      this.#turnOff(record);
      return;
    }
    reportOverlaps(this, record);
    records.add(record);
    for (const piece of record.bufferPieces) this.buffers.add(piece);
  }

  /** It is mapped no longer. */
  remove(records: DeviceRecords, record: MappingRecord, by: CallSite): void {
    record.unmapped = by;
    this.#entries -= record.iovaPieces.length;
    records.remove(record);
    for (const piece of record.bufferPieces) this.buffers.remove(piece);
  }

  /** Half a record would accuse the innocent: all of it goes. */
  #turnOff(mapping: MappingRecord): void {
    this.book.add({
      kind: 'out-of-entries',
      device: mapping.parts.device.name,
      what: `makes one mapping more than there are entries for (${this.#entries} segments): nothing is checked any more`,
      culprit: mapping.parts.made,
      mapping,
    });
    this.isOff = true;
    this.buffers.clear();
    for (const records of this.devices.values()) records.clear();
  }
}
