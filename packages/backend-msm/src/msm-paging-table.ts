/**
 * One page table and the places where it is current. It writes descriptors and decides what must be invalidated; it
 * reaches registers through hardware verbs only.
 */
import type { Gather, InvalidationRange, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import type { MemoryPort, PhysAddr, World } from '@iommu-lab/machine';
import { assert, LabError } from '@iommu-lab/machine';
import { ShortDescriptorTable, type LeafAttributes, type TableMemory } from '@iommu-lab/page-table';
import type { ResolvedMsmIommuConfig } from './config.ts';
import { ttbr0Of, type HardwareVerbs } from './hw.ts';

/** A bank on which a table is current, and the ASID it has in that instance. */
export interface Attachment {
  /** The instance's verbs, one object for all its banks. Its clocks run as long as the attachment lasts. */
  readonly hw: HardwareVerbs;
  readonly bank: number;
  readonly asid: number;
}

const GRANULE = 0x1000;

/** A domain's table; any instance of its `tableKey` can walk it. */
export class MsmPagingTable implements PagingTable {
  /** Instances of this key accept the table. */
  readonly tableKey: string;
  readonly #memory: TableMemory;
  readonly #walkerMemory: MemoryPort | undefined;
  readonly #config: ResolvedMsmIommuConfig;
  readonly #table: ShortDescriptorTable;
  readonly #attachments = new Set<Attachment>();
  /** The first attachment in each instance: made when one comes or goes, since every unmap asks for it. */
  #onePerInstance: readonly Attachment[] = [];
  #isDestroyed = false;

  /**
   * @param walkerMemory memory as the walker sees it, for explanations; the CPU's view unless given
   * @throws LabError ENOMEM, or ERANGE when the table's memory lies above 4 GiB
   */
  constructor(
    world: World,
    memory: TableMemory,
    config: ResolvedMsmIommuConfig,
    tableKey: string,
    walkerMemory?: MemoryPort,
  ) {
    this.#memory = memory;
    this.#walkerMemory = walkerMemory;
    this.#config = config;
    this.tableKey = tableKey;
    this.#table = new ShortDescriptorTable(world, memory, config.format);
  }

  get tableBytes(): number {
    return this.#table.tableBytes;
  }

  /** What a bank's TTBR0 holds while the table is current on it. */
  get ttbr0(): number {
    return ttbr0Of(this.#table.root, this.#config.coherentWalk);
  }

  /** From now on what is unmapped is invalidated there too. @throws LabError EINVAL on a destroyed table */
  join(attachment: Attachment): void {
    if (this.#isDestroyed) throw new LabError('EINVAL', 'the page table was destroyed');
    this.#attachments.add(attachment);
    this.#onePerInstance = firstOfEach(this.#attachments);
  }

  /** The bank no longer walks the table, and the TLB holds nothing of it for that bank's sake. */
  leave(attachment: Attachment): void {
    this.#attachments.delete(attachment);
    this.#onePerInstance = firstOfEach(this.#attachments);
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    this.#table.mapPages(iova, address, pageSize, count, attributesOf(protection));
  }

  /** Nothing to do where neither failed translations nor descriptors fetched ahead are kept: the next miss sees it (R26). */
  syncMap(iova: number, sizeBytes: number): void {
    if (this.#config.invalidateOnMap) this.#invalidate([{ iova, sizeBytes, pageSize: GRANULE }]);
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    // One TLBIVA drops one entry, so what counts is the size of the leaves that went, not of the pages asked for.
    return this.#table.unmapPages(
      iova,
      pageSize,
      count,
      (table, sizeBytes) => gather.freeLater(() => this.#memory.free(table, sizeBytes)),
      (start, sizeBytes, leafBytes) => gather.addRange(start, sizeBytes, leafBytes),
    );
  }

  /**
   * Descriptors were written and cleaned by `unmapPages`; here the TLBs forget them. A write to an invalidation
   * register is over when it returns (R24), so there is nothing to wait for. Cannot fail: the clocks run while a table
   * is current. A bank that joined after the unmap has seen the cleaned tables only and holds nothing of what went.
   */
  sync(gather: Gather): void {
    this.#invalidate(gather.ranges);
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    return this.#table.addressOf(iova);
  }

  walk(iova: number): readonly WalkStep[] {
    const memory = this.#walkerMemory;
    if (memory === undefined) return this.#table.walk(iova);
    return this.#table.walk(iova, (address) => memory.read32(address));
  }

  destroy(): void {
    assert(this.#attachments.size === 0, 'a page table is destroyed when no bank walks it');
    this.#isDestroyed = true;
    this.#table.destroy();
  }

  /**
   * Once an instance, through any bank it is current on: there the table has one ASID, and one VMID, in the one TLB that
   * all banks use (R27), and an invalidation drops by these tags, whoever loaded the entry (R22, R23). A bank that leaves
   * a table another one stays on rests on the same. (The kernel's drivers write it in each bank.)
   */
  #invalidate(ranges: readonly InvalidationRange[]): void {
    let pages = 0;
    for (const range of ranges) pages += pagesOf(range);
    for (const { hw, bank, asid } of this.#onePerInstance) {
      if (pages > this.#config.maxPageInvalidations) hw.invalidateAsid(bank, asid);
      else {
        for (const range of ranges) {
          hw.invalidateRange(bank, asid, range.iova, range.pageSize, pagesOf(range));
        }
      }
    }
  }
}

function firstOfEach(attachments: Iterable<Attachment>): readonly Attachment[] {
  const first = new Map<HardwareVerbs, Attachment>();
  for (const attachment of attachments) if (!first.has(attachment.hw)) first.set(attachment.hw, attachment);
  return [...first.values()];
}

function pagesOf(range: InvalidationRange): number {
  return Math.ceil(range.sizeBytes / range.pageSize);
}

function attributesOf(protection: Protection): LeafAttributes {
  return {
    read: protection.read,
    write: protection.write,
    privileged: protection.privileged ?? false,
    noExec: protection.noExec ?? false,
    memory: protection.mmio ? 'device' : protection.cacheable ? 'normal-cacheable' : 'normal-uncached',
  };
}
