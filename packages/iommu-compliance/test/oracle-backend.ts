/** A backend without hardware: tables are maps, and what it promises is easy to see. It can be broken on purpose. */
import { type Device, type Endpoint } from '@iommu-lab/driver-core';
import {
  type AttachTarget,
  type FaultCause,
  Iommu,
  type IommuCapabilities,
  type IommuInstance,
  type PagingTable,
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
import { type Leaf, type OracleHost, OracleTable } from './oracle-table.ts';

/** Ways to be wrong. */
export type Defect =
  | 'no-invalidation'
  | 'invalidation-off-by-one'
  | 'map-off-by-one'
  | 'map-without-rollback'
  | 'unmap-wrong-size'
  | 'read-only-is-writable'
  | 'rights-swapped'
  | 'privileged-ignored'
  | 'leak-on-destroy'
  | 'attach-without-rollback'
  | 'unmap-can-throw'
  | 'switch-through-bypass'
  | 'switch-through-blocked'
  | 'switch-keeps-cache'
  | 'release-leaves-open'
  | 'release-forgets-held'
  | 'blocked-is-bypass'
  | 'shared-cache'
  | 'fault-wrong-direction'
  | 'fault-wrong-address'
  | 'fault-wrong-cause'
  | 'fault-not-reported'
  | 'fault-wrong-stream'
  | 'one-isolation-key'
  | 'any-context'
  | 'page-sizes-unsorted'
  | 'large-page-first-part-only';

interface Stream {
  target: AttachTarget;
  readonly cache: Map<number, Leaf>;
  /** Accesses whose verdict was to hold. */
  readonly held: BusAccess[];
}

const BLOCKED: AttachTarget = { kind: 'blocked' };

export class OracleIommu implements IommuInstance, BusPort, OracleHost {
  readonly name = 'oracle';
  readonly provider = 'oracle';
  readonly tableKey = 'oracle';
  readonly capabilities: IommuCapabilities;
  readonly world: World;
  readonly iommu: Iommu;
  readonly defect: Defect | undefined;
  allocatedBytes = 0;
  readonly #memory: MemoryPort;
  readonly #streams = new Map<number, Stream>();
  readonly #sharedCache = new Map<number, Leaf>();

  constructor(world: World, memory: MemoryPort, capabilities: IommuCapabilities, defect?: Defect) {
    this.world = world;
    this.#memory = memory;
    this.defect = defect;
    const pageSizes = capabilities.pageSizes.toReversed();
    this.capabilities = defect === 'page-sizes-unsorted' ? { ...capabilities, pageSizes } : capabilities;
    this.iommu = new Iommu(world);
    this.iommu.registerInstance(this);
  }

  get pageSizes(): readonly number[] {
    return this.capabilities.pageSizes;
  }

  probeEndpoint(device: Device, { context, streamIds }: Endpoint): string {
    if (this.defect !== 'any-context' && context !== `context${streamIds[0]}`) {
      throw new LabError('ENODEV', `no context ${context} for ${device.name}`);
    }
    return this.defect === 'one-isolation-key' ? 'all' : context;
  }

  createPagingTable(): PagingTable {
    return new OracleTable(this);
  }

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    if (this.defect === 'attach-without-rollback') this.#set(endpoint, target);
    if (this.world.fail('oracle.attach')) throw new LabError('ENOMEM', 'no memory to attach');
    if (this.defect === 'switch-through-bypass') this.#set(endpoint, { kind: 'identity' });
    if (this.defect === 'switch-through-blocked' && previous !== undefined) this.#set(endpoint, BLOCKED);
    this.#set(endpoint, target);
  }

  release(endpoint: Endpoint): void {
    this.#set(endpoint, this.defect === 'release-leaves-open' ? { kind: 'identity' } : BLOCKED);
    if (this.defect === 'release-forgets-held') return;
    for (const streamId of endpoint.streamIds) {
      const held = this.#stream(streamId).held.splice(0);
      this.world.clock.schedule(0, 'oracle resume', () =>
        held.forEach((access) => access.resume('terminate')),
      );
    }
  }

  invalidate(iova: number, sizeBytes: number): void {
    for (const cache of [this.#sharedCache, ...[...this.#streams.values()].map((s) => s.cache)]) {
      for (const [key, leaf] of cache) {
        if (leaf.iova < iova + sizeBytes && leaf.iova + leaf.pageSize > iova) cache.delete(key);
      }
    }
  }

  access(access: BusAccess): AccessStatus {
    const { target, cache } = this.#stream(access.streamId);
    if (target.kind === 'identity' || (target.kind === 'blocked' && this.defect === 'blocked-is-bypass')) {
      return this.#move(access, access.address);
    }
    if (target.kind === 'blocked') return this.#refuse(access, 'configuration', false);
    const leaf = this.#lookUp(cache, target.table as OracleTable, access.address);
    if (leaf === undefined) return this.#refuse(access, 'translation', this.capabilities.stall);
    if (!this.#isAllowed(access, leaf)) return this.#refuse(access, 'permission', this.capabilities.stall);
    const offset = access.address - leaf.iova;
    const wrapped = this.defect === 'large-page-first-part-only' ? offset % (this.pageSizes[0] ?? 1) : offset;
    return this.#move(access, leaf.address + wrapped);
  }

  #lookUp(own: Map<number, Leaf>, table: OracleTable, iova: number): Leaf | undefined {
    const cache = this.defect === 'shared-cache' ? this.#sharedCache : own;
    const granule = this.pageSizes[0] ?? 1;
    const key = Math.floor(iova / granule);
    const leaf = cache.get(key) ?? table.find(iova);
    if (leaf !== undefined) cache.set(key, leaf);
    return leaf;
  }

  #isAllowed({ isWrite, attributes }: BusAccess, { protection }: Leaf): boolean {
    if (protection.privileged && !attributes.isPrivileged && this.defect !== 'privileged-ignored')
      return false;
    if (protection.noExec && attributes.isInstruction) return false;
    return isWrite ? protection.write : protection.read;
  }

  #move(access: BusAccess, address: number): AccessStatus {
    return moveBytes(this.#memory, address as PhysAddr, access) ? 'done' : 'faulted';
  }

  #refuse(access: BusAccess, cause: FaultCause, isStalled: boolean): AccessStatus {
    if (this.defect === 'fault-not-reported') return 'faulted';
    const isWrite = access.isWrite !== (this.defect === 'fault-wrong-direction');
    const streamId = this.defect === 'fault-wrong-stream' ? 1 : access.streamId;
    const report = {
      context: `context${streamId}`,
      streamId,
      iova: this.defect === 'fault-wrong-address' ? access.address - (access.address % 4096) : access.address,
      direction: isWrite ? ('write' as const) : ('read' as const),
      cause: this.defect === 'fault-wrong-cause' ? 'other' : cause,
      isStalled,
      isMultiple: false,
      registers: {},
    };
    this.world.clock.schedule(0, 'oracle fault', () => {
      const verdict = this.iommu.reportFault(this, report);
      if (!isStalled) return;
      if (verdict === 'hold') this.#stream(access.streamId).held.push(access);
      else access.resume(verdict);
    });
    return isStalled ? 'parked' : 'faulted';
  }

  #set(endpoint: Endpoint, target: AttachTarget): void {
    for (const streamId of endpoint.streamIds) {
      const stream = this.#stream(streamId);
      stream.target = target;
      if (this.defect !== 'switch-keeps-cache') stream.cache.clear();
    }
    this.world.interposer.notify('mmio-write', 0, 4);
  }

  #stream(streamId: number): Stream {
    let stream = this.#streams.get(streamId);
    if (stream === undefined) {
      stream = { target: BLOCKED, cache: new Map(), held: [] };
      this.#streams.set(streamId, stream);
    }
    return stream;
  }
}
