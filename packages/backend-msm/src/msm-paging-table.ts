/**
 * One page table: writes descriptors, and says what must be invalidated where it is current. It reaches no register itself.
 */
import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import type { MemoryPort, PhysAddr, World } from '@iommu-lab/machine';
import { LabError } from '@iommu-lab/machine';
import { ShortDescriptorTable, type LeafAttributes, type TableMemory } from '@iommu-lab/page-table';
import { ttbr0Of } from './bank-program.ts';
import type { ResolvedMsmIommuConfig } from './config.ts';
import { type Attachment, TableUsers } from './table-users.ts';

const GRANULE = 0x1000;

/** A domain's table; any instance of its `tableKey` can walk it. */
export class MsmPagingTable implements PagingTable {
  /** Instances of this key accept the table. */
  readonly tableKey: string;
  readonly #memory: TableMemory;
  readonly #walkerMemory: MemoryPort | undefined;
  readonly #config: ResolvedMsmIommuConfig;
  readonly #table: ShortDescriptorTable;
  readonly #users: TableUsers;

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
    this.#users = new TableUsers(config.maxPageInvalidations);
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
    if (this.#users.isDestroyed) throw new LabError('EINVAL', 'the page table was destroyed');
    this.#users.join(attachment);
  }

  /** The bank no longer walks the table, and the TLB holds nothing of it for that bank's sake. */
  leave(attachment: Attachment): void {
    this.#users.leave(attachment);
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    this.#table.mapPages(iova, address, pageSize, count, attributesOf(protection));
  }

  /** Nothing to do where neither failed translations nor descriptors fetched ahead are kept: the next miss sees it (R26). */
  syncMap(iova: number, sizeBytes: number): void {
    if (this.#config.invalidateOnMap) this.#users.invalidate([{ iova, sizeBytes, pageSize: GRANULE }]);
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
    this.#users.invalidate(gather.ranges);
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
    this.#users.destroy();
    this.#table.destroy();
  }
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
