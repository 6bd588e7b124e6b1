/** A fake IOMMU: a map of pages, and a TLB that goes on using an entry until it is invalidated. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type {
  AttachTarget,
  Gather,
  IommuCapabilities,
  IommuInstance,
  PagingTable,
  Protection,
  WalkStep,
} from '@iommu-lab/iommu-core';
import {
  type AccessStatus,
  type BusAccess,
  type BusPort,
  LabError,
  type MemoryPort,
  moveBytes,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';

const PAGE = 4096;

interface Page {
  readonly address: number;
  readonly protection: Protection;
}

class FlatTable implements PagingTable {
  readonly tableBytes = 0;
  readonly #world: World;
  readonly #pages = new Map<number, Page>();
  readonly #tlb = new Map<number, Page>();

  constructor(world: World) {
    this.#world = world;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    if (this.#world.fail('flat-iommu.table')) throw new LabError('ENOMEM', 'no memory for a table');
    for (let done = 0; done < pageSize * count; done += PAGE) {
      this.#pages.set(iova + done, { address: address + done, protection });
    }
  }

  syncMap(): void {
    // Nothing caches what is not mapped.
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    let done = 0;
    while (done < pageSize * count && this.#pages.delete(iova + done)) done += PAGE;
    gather.addRange(iova, done, PAGE);
    return done;
  }

  sync(gather: Gather): void {
    for (const range of gather.ranges) {
      for (let done = 0; done < range.sizeBytes; done += PAGE) this.#tlb.delete(range.iova + done);
    }
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const page = this.#pages.get(iova - (iova % PAGE));
    return page === undefined ? undefined : ((page.address + (iova % PAGE)) as PhysAddr);
  }

  walk(): readonly WalkStep[] {
    return [];
  }

  destroy(): void {
    this.#pages.clear();
  }

  translate(iova: number): Page | undefined {
    const start = iova - (iova % PAGE);
    const page = this.#tlb.get(start) ?? this.#pages.get(start);
    if (page !== undefined) this.#tlb.set(start, page);
    return page;
  }
}

export class FlatIommu implements IommuInstance, BusPort {
  readonly name = 'flat';
  readonly provider = 'flat';
  readonly tableKey = 'flat';
  readonly capabilities: IommuCapabilities;
  readonly #world: World;
  readonly #memory: MemoryPort;
  readonly #isolation: string;
  #target: AttachTarget = { kind: 'blocked' };
  #faultAddress: number | undefined;

  /** @param isolation `shared`: all its devices are one group */
  constructor(world: World, memory: MemoryPort, options: { isolation?: 'shared'; last?: number } = {}) {
    this.#world = world;
    this.#memory = memory;
    this.#isolation = options.isolation ?? '';
    this.capabilities = {
      pageSizes: [PAGE],
      aperture: { start: 0, last: options.last ?? 0xffffffff },
      lastPhysAddr: 0xffffffff,
      permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true },
      identity: true,
      switchKind: 'atomic',
      coherentWalk: true,
      stall: false,
      pasids: 0,
      dirtyTracking: false,
      nesting: false,
      processFormats: [],
    };
  }

  /** Where the last access that faulted went: a register of 32 bits, as the address lines are. */
  get faultAddress(): number | undefined {
    return this.#faultAddress;
  }

  probeEndpoint(_device: Device, endpoint: Endpoint): string {
    return this.#isolation === '' ? endpoint.context : this.#isolation;
  }

  createPagingTable(): PagingTable {
    return new FlatTable(this.#world);
  }

  attach(_endpoint: Endpoint, target: AttachTarget): void {
    this.#target = target;
  }

  release(): void {
    this.#target = { kind: 'blocked' };
  }

  access(access: BusAccess): AccessStatus {
    const status = this.#translate(access);
    if (status === 'faulted') this.#faultAddress = access.address >>> 0;
    return status;
  }

  #translate(access: BusAccess): AccessStatus {
    if (this.#target.kind === 'blocked') return 'faulted';
    if (this.#target.kind === 'identity') return this.#move(access.address, access);
    const page = (this.#target.table as FlatTable).translate(access.address);
    const isAllowed = access.isWrite ? page?.protection.write : page?.protection.read;
    if (page === undefined || isAllowed !== true) return 'faulted';
    return this.#move(page.address + (access.address % PAGE), access);
  }

  #move(address: number, access: BusAccess): AccessStatus {
    return moveBytes(this.#memory, address as PhysAddr, access) ? 'done' : 'faulted';
  }
}
