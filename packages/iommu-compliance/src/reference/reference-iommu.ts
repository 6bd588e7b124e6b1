/**
 * An IOMMU without hardware: tables are maps, and what it promises is easy to see. It stands for "an IOMMU of another
 * kind" beside the one under test, and shows that the kit passes what is right; made wrong on purpose, that it fails what
 * is not.
 */
import type { Device, Endpoint, ReservedRegion } from '@iommu-lab/driver-core';
import type {
  AttachTarget,
  FaultCause,
  Iommu,
  IommuCapabilities,
  IommuInstance,
  PagingTable,
  ProcessSpace,
  ProcessTable,
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
import type { Defect } from './defects.ts';
import { ReferenceProcessTable } from './reference-process.ts';
import { ReferenceStream } from './reference-stream.ts';
import { type ReferenceHost, ReferenceTable } from './reference-table.ts';

/** What a reference IOMMU is made from. */
export interface ReferenceIommuOptions {
  readonly world: World;
  /** Where faults go. The instance is not registered there by itself. */
  readonly iommu: Iommu;
  readonly memory: MemoryPort;
  readonly capabilities: IommuCapabilities;
  /** `reference` unless given; tables are accepted among instances of one provider. */
  readonly provider?: string;
  /** Regions it keeps to itself; none unless given. */
  readonly reserved?: readonly ReservedRegion[];
  readonly defect?: Defect | undefined;
}

/** The context of a stream. */
export function referenceContext(stream: number): string {
  return `context${stream}`;
}

const BLOCKED: AttachTarget = { kind: 'blocked' };
const BYPASS: AttachTarget = { kind: 'identity' };

export class ReferenceIommu implements IommuInstance, BusPort, ReferenceHost {
  readonly name: string;
  readonly provider: string;
  readonly tableKey: string;
  readonly capabilities: IommuCapabilities;
  readonly world: World;
  readonly defect: Defect | undefined;
  /** Bytes of all its tables. */
  allocatedBytes = 0;
  readonly #options: ReferenceIommuOptions;
  readonly #streams = new Map<number, ReferenceStream>();
  #reservedAsked = 0;

  constructor(options: ReferenceIommuOptions) {
    const { capabilities, defect, provider = 'reference' } = options;
    this.#options = options;
    this.name = provider;
    this.provider = provider;
    this.tableKey = provider;
    this.world = options.world;
    this.defect = defect;
    const pageSizes = capabilities.pageSizes.toReversed();
    this.capabilities = defect === 'page-sizes-unsorted' ? { ...capabilities, pageSizes } : capabilities;
  }

  get pageSizes(): readonly number[] {
    return this.capabilities.pageSizes;
  }

  probeEndpoint(device: Device, { context, streamIds }: Endpoint): string {
    if (this.defect !== 'any-context' && context !== referenceContext(streamIds[0] ?? -1)) {
      throw new LabError('ENODEV', `no context ${context} for ${device.name}`);
    }
    return this.defect === 'one-isolation-key' ? 'all' : context;
  }

  createPagingTable(): PagingTable {
    return new ReferenceTable(this);
  }

  createProcessTable(space: ProcessSpace): ProcessTable {
    if (this.world.fail('reference.process')) throw new LabError('ENOMEM', 'no memory for a process');
    return new ReferenceProcessTable(this, space);
  }

  reservedRegions(): readonly ReservedRegion[] {
    const { reserved = [] } = this.#options;
    if (this.defect === 'own-region-empty') return reserved.map((region) => ({ ...region, sizeBytes: 0 }));
    if (this.defect !== 'own-region-on-the-move') return reserved;
    const shift = (this.#reservedAsked++ % 2) * 0x10000;
    return reserved.map((region) => ({ ...region, iova: region.iova + shift }));
  }

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    if (this.defect === 'attach-without-rollback') this.#set(endpoint, target);
    if (this.world.fail('reference.attach')) throw new LabError('ENOMEM', 'no memory to attach');
    if (this.defect === 'switch-through-bypass') this.#set(endpoint, BYPASS);
    if (this.defect === 'switch-through-blocked' && previous !== undefined) this.#set(endpoint, BLOCKED);
    this.#set(endpoint, target);
    if (this.defect !== 'move-forgets-held') this.#endHeld(endpoint, 'table' in target);
  }

  release(endpoint: Endpoint): void {
    this.#set(endpoint, this.defect === 'release-leaves-open' ? BYPASS : BLOCKED);
    if (this.defect !== 'release-forgets-held') this.#endHeld(endpoint, false);
  }

  resume(context: string, outcome: 'retry' | 'terminate'): void {
    const stream = [...this.#streams].find(([id]) => referenceContext(id) === context)?.[1];
    if (stream?.isHeld !== true) throw new LabError('EINVAL', `nothing is held in ${context}`);
    if (this.defect === 'process-never-resumes' && stream.target.kind === 'sva') return;
    stream.endStall(outcome);
  }

  isInUse(table: ReferenceTable): boolean {
    return [...this.#streams.values()].some(({ target }) => 'table' in target && target.table === table);
  }

  invalidate(iova: number, sizeBytes: number): void {
    for (const stream of this.#streams.values()) {
      stream.forget(iova, sizeBytes);
      if (this.defect === 'invalidation-of-one-stream') return;
    }
  }

  access(access: BusAccess): AccessStatus {
    const stream = this.#stream(access.streamId);
    if (stream.isStalled) return stream.wait(access);
    const { target } = stream;
    if (target.kind === 'identity' || (target.kind === 'blocked' && this.defect === 'blocked-is-bypass')) {
      return this.#move(access, access.address);
    }
    if (target.kind === 'blocked') return this.#refuse(access, 'configuration', false);
    const canStall =
      this.capabilities.stall && !(target.kind === 'sva' && this.defect === 'process-without-stall');
    const entry = this.#streamForLookUp(stream).lookUp(target, access.address);
    if (entry === undefined) return this.#refuse(access, 'translation', canStall);
    const { leaf } = entry;
    if (!this.#isAllowed(access, leaf.protection)) return this.#refuse(access, 'permission', canStall);
    const { table } = target;
    const isNoted = access.isWrite || this.defect === 'dirty-by-reads';
    if (table instanceof ReferenceTable && table.isTracking && isNoted && !entry.isNoted) {
      leaf.isDirty = true;
      entry.isNoted = true;
    }
    const offset = access.address - leaf.iova;
    const wrapped = this.defect === 'large-page-first-part-only' ? offset % (this.pageSizes[0] ?? 1) : offset;
    return this.#move(access, leaf.address + wrapped);
  }

  /** One cache for all streams is a defect. */
  #streamForLookUp(own: ReferenceStream): ReferenceStream {
    if (this.defect !== 'shared-cache') return own;
    const [first] = this.#streams.values();
    return first ?? own;
  }

  #isAllowed({ isWrite, attributes }: BusAccess, protection: ReferenceRights): boolean {
    if (protection.privileged && !attributes.isPrivileged && this.defect !== 'privileged-ignored') {
      return false;
    }
    if (protection.noExec && attributes.isInstruction) return false;
    return isWrite ? protection.write : protection.read;
  }

  #move(access: BusAccess, address: number): AccessStatus {
    return moveBytes(this.#options.memory, address as PhysAddr, access) ? 'done' : 'faulted';
  }

  #refuse(access: BusAccess, cause: FaultCause, isStalled: boolean): AccessStatus {
    if (this.defect === 'fault-not-reported') return 'faulted';
    const isWrite = access.isWrite !== (this.defect === 'fault-wrong-direction');
    const streamId = this.defect === 'fault-wrong-stream' ? 1 : access.streamId;
    const report = {
      context: referenceContext(streamId),
      streamId,
      iova: this.defect === 'fault-wrong-address' ? access.address - (access.address % 4096) : access.address,
      direction: isWrite ? ('write' as const) : ('read' as const),
      cause: this.defect === 'fault-wrong-cause' ? 'other' : cause,
      isStalled,
      isMultiple: false,
      registers: {},
    };
    const stream = this.#stream(access.streamId);
    if (isStalled) stream.stall(access);
    this.world.clock.schedule(0, 'reference fault', () => {
      const verdict = this.#options.iommu.reportFault(this, report);
      if (isStalled) stream.judge(access, verdict);
    });
    return isStalled ? 'parked' : 'faulted';
  }

  #set(endpoint: Endpoint, target: AttachTarget): void {
    for (const streamId of endpoint.streamIds) {
      const stream = this.#stream(streamId);
      stream.target = target;
      if (this.defect === 'switch-page-by-page') this.world.interposer.notify('mmio-write', 0, 4);
      if (this.defect !== 'switch-keeps-cache') stream.forgetAll();
    }
    this.world.interposer.notify('mmio-write', 0, 4);
  }

  /** Nobody of the domain that is left decides any more. */
  #endHeld(endpoint: Endpoint, isRetried: boolean): void {
    for (const streamId of endpoint.streamIds) {
      const stream = this.#stream(streamId);
      if (!stream.isHeld) continue;
      this.world.clock.schedule(0, 'reference end of a stall', () => {
        if (stream.isHeld) stream.endStall(isRetried ? 'retry' : 'terminate');
      });
    }
  }

  #stream(streamId: number): ReferenceStream {
    let stream = this.#streams.get(streamId);
    if (stream === undefined) {
      stream = new ReferenceStream(this, BLOCKED);
      this.#streams.set(streamId, stream);
    }
    return stream;
  }
}

interface ReferenceRights {
  readonly read: boolean;
  readonly write: boolean;
  readonly noExec?: boolean;
  readonly privileged?: boolean;
}
