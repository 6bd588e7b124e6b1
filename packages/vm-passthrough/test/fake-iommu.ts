/**
 * A small IOMMU that works: hardware and driver in one. Tables are maps from page to page that can be looked at; there
 * is no TLB. Streams start blocked.
 */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type {
  AttachTarget,
  Gather,
  Iommu,
  IommuCapabilities,
  IommuInstance,
  PagingTable,
  Protection,
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

const CAPABILITIES: IommuCapabilities = {
  pageSizes: [PAGE],
  aperture: { start: 0, last: 0xffffffff },
  lastPhysAddr: 0xffffffff,
  permissions: { readOnly: true, writeOnly: true, noExec: false, privileged: false },
  identity: true,
  switchKind: 'atomic',
  coherentWalk: true,
  stall: false,
  pasids: 0,
  dirtyTracking: false,
  nesting: false,
  processFormats: [],
};

export class FakeTable implements PagingTable {
  readonly pages: Map<number, { readonly address: number; readonly protection: Protection }> = new Map();
  readonly #world: World;
  readonly #onDestroy: () => void;

  constructor(world: World, onDestroy: () => void) {
    this.#world = world;
    this.#onDestroy = onDestroy;
  }

  get tableBytes(): number {
    return this.pages.size * 4;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    if (this.#world.fail('fake-iommu.table')) throw new LabError('ENOMEM', 'no table');
    for (let at = 0; at < pageSize * count; at += PAGE) {
      this.pages.set(iova + at, { address: address + at, protection });
    }
  }

  syncMap(): void {}

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    let done = 0;
    while (done < pageSize * count && this.pages.delete(iova + done)) done += PAGE;
    if (done > 0) gather.addRange(iova, done, PAGE);
    return done;
  }

  sync(gather: Gather): void {
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const page = this.pages.get(iova - (iova % PAGE));
    return page && ((page.address + (iova % PAGE)) as PhysAddr);
  }

  walk(): readonly [] {
    return [];
  }

  destroy(): void {
    this.#onDestroy();
    this.pages.clear();
  }
}

export class FakeIommu implements IommuInstance, BusPort {
  readonly name: string;
  readonly provider: string;
  readonly capabilities: IommuCapabilities = CAPABILITIES;
  readonly tableKey: string;
  /** Tables made and not destroyed. */
  liveTables = 0;
  /** Hears what becomes of a stream's translation. */
  onChange: ((kind: AttachTarget['kind'] | 'released') => void) | undefined;
  readonly #world: World;
  readonly #iommu: Iommu;
  readonly #memory: MemoryPort;
  readonly #current = new Map<number, AttachTarget>();
  readonly #contexts = new Map<number, string>();

  constructor(world: World, iommu: Iommu, memory: MemoryPort, provider: string, tableKey: string) {
    this.#world = world;
    this.#iommu = iommu;
    this.#memory = memory;
    this.name = `fake ${provider}`;
    this.provider = provider;
    this.tableKey = tableKey;
  }

  /** What translates a stream now: `blocked` when nothing does. */
  kindOf(streamId: number): AttachTarget['kind'] {
    return this.#current.get(streamId)?.kind ?? 'blocked';
  }

  probeEndpoint(_device: Device, endpoint: Endpoint): string {
    return endpoint.streamIds.join(',');
  }

  createPagingTable(): FakeTable {
    this.liveTables++;
    return new FakeTable(this.#world, () => this.liveTables--);
  }

  attach(endpoint: Endpoint, target: AttachTarget): void {
    if (this.#world.fail('fake-iommu.attach')) throw new LabError('EIO', 'the hardware does not answer');
    for (const streamId of endpoint.streamIds) {
      this.#current.set(streamId, target);
      this.#contexts.set(streamId, endpoint.context);
    }
    this.onChange?.(target.kind);
  }

  release(endpoint: Endpoint): void {
    for (const streamId of endpoint.streamIds) this.#current.delete(streamId);
    this.onChange?.('released');
  }

  access(access: BusAccess): AccessStatus {
    const physical = this.#translate(access);
    if (physical !== undefined) return moveBytes(this.#memory, physical, access) ? 'done' : 'faulted';
    this.#iommu.reportFault(this, {
      context: this.#contexts.get(access.streamId),
      streamId: access.streamId,
      iova: access.address,
      direction: access.isWrite ? 'write' : 'read',
      cause: 'translation',
      isStalled: false,
      isMultiple: false,
      registers: {},
    });
    return 'faulted';
  }

  #translate(access: BusAccess): PhysAddr | undefined {
    const target = this.#current.get(access.streamId);
    if (target === undefined || target.kind === 'blocked') return undefined;
    if (target.kind === 'identity') return access.address as PhysAddr;
    if (target.kind === 'sva') return undefined;
    return target.table.iovaToPhys(access.address);
  }
}
