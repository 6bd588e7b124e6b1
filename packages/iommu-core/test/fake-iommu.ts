/** A fake IOMMU: a flat map of pages that knows no table format, records what it is asked, and fails on demand. */
import { Device, type Endpoint } from '@iommu-lab/driver-core';
import { hex, LabError, type PhysAddr, World } from '@iommu-lab/machine';
import {
  type AttachTarget,
  type FaultReport,
  formatProtection,
  type Gather,
  Iommu,
  type IommuCapabilities,
  type IommuInstance,
  type IommuOptions,
  type PagingTable,
  type Protection,
  type WalkStep,
} from '../src/index.ts';

export const K = 0x400;
export const M = 0x100000;

export const CAPABILITIES: IommuCapabilities = {
  pageSizes: [4 * K, 64 * K, M, 16 * M],
  aperture: { start: 0, last: 0xffff_ffff },
  lastPhysAddr: 0xffff_ffff,
  permissions: { readOnly: true, writeOnly: false, noExec: false, privileged: true },
  identity: true,
  switchKind: 'atomic',
  coherentWalk: true,
  stall: true,
  pasids: 0,
  dirtyTracking: false,
  nesting: false,
};

interface Leaf {
  readonly iova: number;
  readonly address: number;
  readonly size: number;
  readonly protection: Protection;
}

export class FakeTable implements PagingTable {
  readonly leaves: Map<number, Leaf> = new Map();
  readonly #iommu: FakeIommu;

  constructor(iommu: FakeIommu) {
    this.#iommu = iommu;
  }

  get tableBytes(): number {
    return this.leaves.size * 4;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    this.#iommu.step('map', `map ${hex(iova)} ${hex(address)} ${pageSize}x${count}`);
    for (let i = 0; i < count; i++) {
      const leaf = { iova: iova + i * pageSize, address: address + i * pageSize, size: pageSize, protection };
      if (this.#leafOver(leaf.iova) !== undefined) throw new Error('the core lets mappings overlap');
      this.leaves.set(leaf.iova, leaf);
    }
  }

  syncMap(iova: number, sizeBytes: number): void {
    this.#iommu.step('sync-map', `syncMap ${hex(iova)} ${sizeBytes}`);
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    this.#iommu.calls.push(`unmap ${hex(iova)} ${pageSize}x${count}`);
    let done = 0;
    while (done < pageSize * count) {
      const leaf = this.leaves.get(iova + done);
      if (leaf === undefined) break;
      this.leaves.delete(leaf.iova);
      gather.addRange(leaf.iova, leaf.size, leaf.size);
      done += leaf.size;
    }
    return done;
  }

  sync(gather: Gather): void {
    this.#iommu.calls.push(`sync ${gather.ranges.map((r) => `${hex(r.iova)}+${r.sizeBytes}`).join(' ')}`);
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const leaf = this.#leafOver(iova);
    return leaf && ((leaf.address + iova - leaf.iova) as PhysAddr);
  }

  walk(iova: number): readonly WalkStep[] {
    const leaf = this.#leafOver(iova);
    const at = 0x8000_0000 + (iova >>> 20) * 4;
    const level = 'table';
    if (leaf === undefined) return [{ level, address: at, descriptor: 0, meaning: 'nothing' }];
    const meaning = `page of ${leaf.size} at ${hex(leaf.address)}, ${formatProtection(leaf.protection)}`;
    return [{ level, address: at, descriptor: leaf.address + 2, meaning }];
  }

  destroy(): void {
    this.leaves.clear();
    this.#iommu.tables.delete(this);
  }

  #leafOver(iova: number): Leaf | undefined {
    for (const size of this.#iommu.capabilities.pageSizes) {
      const leaf = this.leaves.get(iova - (iova % size));
      if (leaf !== undefined && leaf.size > iova - leaf.iova) return leaf;
    }
    return undefined;
  }
}

export interface FakeOptions {
  readonly provider?: string;
  readonly tableKey?: string;
  readonly capabilities?: Partial<IommuCapabilities>;
  /** Isolation key of an endpoint; its context unless given. */
  readonly isolate?: (endpoint: Endpoint) => string;
}

export class FakeIommu implements IommuInstance {
  readonly name: string;
  readonly provider: string;
  readonly tableKey: string;
  readonly capabilities: IommuCapabilities;
  readonly calls: string[] = [];
  /** Tables that have not been destroyed. */
  readonly tables: Set<FakeTable> = new Set();
  /** What each endpoint is on, by context and streams. */
  readonly targets: Map<string, AttachTarget> = new Map();
  /** Contexts whose attach always fails. */
  readonly broken: Set<string> = new Set();
  readonly #world: World;
  readonly #isolate: (endpoint: Endpoint) => string;

  constructor(world: World, options: FakeOptions = {}) {
    this.#world = world;
    this.provider = options.provider ?? 'fake';
    this.name = `fake-iommu ${this.provider}`;
    this.tableKey = options.tableKey ?? 'fake';
    this.capabilities = { ...CAPABILITIES, ...options.capabilities };
    this.#isolate = options.isolate ?? ((e) => e.context);
  }

  /** A step that is recorded and can fail. */
  step(site: string, call: string): void {
    if (this.#world.fail(`fake.${site}`)) throw new LabError('ENOMEM', `fake: ${call}`);
    this.calls.push(call);
  }

  probeEndpoint(_device: Device, endpoint: Endpoint): string {
    if (endpoint.context === 'missing') throw new LabError('ENODEV', 'no such context');
    return this.#isolate(endpoint);
  }

  createPagingTable(): PagingTable {
    this.step('table', 'createPagingTable');
    const table = new FakeTable(this);
    this.tables.add(table);
    return table;
  }

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    const key = keyOf(endpoint);
    if (this.broken.has(endpoint.context)) throw new LabError('EIO', `fake: ${endpoint.context} is broken`);
    if (this.targets.get(key) !== previous) throw new Error(`the core tells a wrong previous for ${key}`);
    this.step('attach', `attach ${endpoint.context} ${target.kind}`);
    this.targets.set(key, target);
  }

  release(endpoint: Endpoint, previous: AttachTarget): void {
    const key = keyOf(endpoint);
    if (this.targets.get(key) !== previous) throw new Error(`the core tells a wrong previous for ${key}`);
    this.calls.push(`release ${endpoint.context}`);
    this.targets.delete(key);
  }

  /** Everything the hardware remembers, as plain data. */
  state(): unknown {
    return {
      targets: [...this.targets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, t]) => [k, t.kind]),
      tables: [...this.tables].map((t) => [...t.leaves.values()].sort((a, b) => a.iova - b.iova)),
    };
  }
}

function keyOf(endpoint: Endpoint): string {
  return `${endpoint.context}:${endpoint.streamIds.join()}`;
}

export function endpoint(context: string, streamId: number, provider = 'fake'): Endpoint {
  return { provider, context, streamIds: [streamId] };
}

export function device(name: string, ...endpoints: readonly Endpoint[]): Device {
  const made = new Device(name);
  made.endpoints = endpoints;
  return made;
}

export interface Bench {
  readonly world: World;
  readonly iommu: Iommu;
  readonly fake: FakeIommu;
  /** Events as `name {fields}`, from the start. */
  readonly events: { readonly name: string; readonly fields: Readonly<Record<string, unknown>> }[];
}

/** A world, a core and one fake IOMMU. */
export function bench(options: FakeOptions & IommuOptions = {}): Bench {
  const world = new World();
  const events: Bench['events'] = [];
  world.events.subscribe(({ name, fields }) => void events.push({ name, fields }));
  const iommu = new Iommu(world, options);
  const fake = new FakeIommu(world, options);
  iommu.registerInstance(fake);
  return { world, iommu, fake, events };
}

/** A device behind two contexts of the fake, configured: streams 4 and 5. */
export function rotator({ iommu }: Bench): Device {
  const rot = device('rot', endpoint('rot_src', 4), endpoint('rot_dst', 5));
  iommu.configure(rot);
  return rot;
}

export function faultReport(report: Partial<FaultReport> = {}): FaultReport {
  return {
    context: 'rot_dst',
    streamId: 5,
    iova: 0x1000_0000,
    direction: 'write',
    cause: 'translation',
    isStalled: false,
    isMultiple: false,
    registers: {},
    ...report,
  };
}

/** Code of the LabError `action` throws; undefined when it throws none. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof LabError) return error.code;
    throw error;
  }
  return undefined;
}
