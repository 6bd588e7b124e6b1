/** A fake IOMMU: a flat map of pages that knows no table format, records what it is asked, and fails on demand. */
import { Device, type Endpoint, type ReservedRegion } from '@iommu-lab/driver-core';
import { LabError, World } from '@iommu-lab/machine';
import {
  type AttachTarget,
  type FaultReport,
  type FaultVerdict,
  Iommu,
  type IommuCapabilities,
  type IommuInstance,
  type IommuOptions,
  type PagingTable,
  type ProcessSpace,
  type ProcessTable,
} from '../src/index.ts';
import { FakeProcessTable, FakeTable } from './fake-table.ts';
import { watched } from './watched.ts';

export { FakeProcessTable, FakeTable };

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
  processFormats: [],
};

export interface FakeOptions {
  readonly provider?: string;
  readonly tableKey?: string;
  readonly capabilities?: Partial<IommuCapabilities>;
  /** Isolation key of an endpoint; its context unless given. */
  readonly isolate?: (endpoint: Endpoint) => string;
  /** Regions the hardware keeps; none unless given. */
  readonly reserved?: (endpoint: Endpoint) => readonly ReservedRegion[];
}

export class FakeIommu implements IommuInstance {
  readonly name: string;
  readonly provider: string;
  readonly tableKey: string;
  readonly capabilities: IommuCapabilities;
  readonly calls: string[] = [];
  /** Tables that have not been destroyed. */
  readonly tables: Set<FakeTable> = new Set();
  readonly processTables: Set<FakeProcessTable> = new Set();
  /** What each endpoint is on, by context and streams. */
  readonly targets: Map<string, AttachTarget> = new Map();
  /** Contexts whose attach always fails. */
  readonly broken: Set<string> = new Set();
  /** Contexts in which an access waits. */
  readonly stalled: Set<string> = new Set();
  /** `resume` finds no hardware. */
  isUnreachable = false;
  /** Isolation key of each entry in `targets`. */
  readonly #keys = new Map<string, string>();
  readonly #world: World;
  readonly #isolate: (endpoint: Endpoint) => string;
  readonly #reserved: (endpoint: Endpoint) => readonly ReservedRegion[];

  constructor(world: World, options: FakeOptions = {}) {
    this.#world = world;
    this.provider = options.provider ?? 'fake';
    this.name = `fake-iommu ${this.provider}`;
    this.tableKey = options.tableKey ?? 'fake';
    this.capabilities = { ...CAPABILITIES, ...options.capabilities };
    this.#isolate = options.isolate ?? ((e) => e.context);
    this.#reserved = options.reserved ?? (() => []);
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
    this.#keys.set(key, this.#isolate(endpoint));
    this.stalled.delete(endpoint.context);
  }

  release(endpoint: Endpoint, previous: AttachTarget): void {
    const key = keyOf(endpoint);
    if (this.targets.get(key) !== previous) throw new Error(`the core tells a wrong previous for ${key}`);
    this.calls.push(`release ${endpoint.context}`);
    this.targets.delete(key);
    this.stalled.delete(endpoint.context);
  }

  reservedRegions(endpoint: Endpoint): readonly ReservedRegion[] {
    return this.#reserved(endpoint);
  }

  createProcessTable(space: ProcessSpace): ProcessTable {
    this.step('process-table', 'createProcessTable');
    const table = new FakeProcessTable(this, space);
    this.processTables.add(table);
    return table;
  }

  resume(context: string, outcome: 'retry' | 'terminate'): void {
    if (this.isUnreachable) throw new LabError('EIO', `fake: ${context} cannot be reached`);
    if (!this.stalled.delete(context)) throw new LabError('EINVAL', `fake: nothing waits in ${context}`);
    this.calls.push(`resume ${context} ${outcome}`);
  }

  /** An access faults and waits; its interrupt is handled at once. @returns the verdict */
  stall(iommu: Iommu, report: Partial<FaultReport> = {}): FaultVerdict {
    const whole = faultReport({ ...report, isStalled: true });
    const context = whole.context as string;
    this.stalled.add(context);
    const verdict = iommu.reportFault(this, whole);
    if (verdict !== 'hold') this.stalled.delete(context);
    return verdict;
  }

  /** Objects when streams that it cannot tell apart are on different targets: one of them is not where it was put. */
  checkIsolation(): void {
    const first = new Map<string, string>();
    for (const [key, target] of this.targets) {
      const isolation = this.#keys.get(key) ?? key;
      const other = first.get(isolation) ?? key;
      first.set(isolation, other);
      if (this.targets.get(other) === target) continue;
      throw new Error(`${this.name} cannot tell ${key} from ${other}, and they are on different targets`);
    }
  }

  /** Everything the hardware remembers, as plain data. */
  state(): unknown {
    this.checkIsolation();
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

/** A world, a core and one fake IOMMU. After each call to the core, all fakes that are registered check isolation. */
export function bench(options: FakeOptions & IommuOptions = {}): Bench {
  const world = new World();
  const events: Bench['events'] = [];
  world.events.subscribe(({ name, fields }) => void events.push({ name, fields }));
  const core = new Iommu(world, options);
  const iommu = watched(core, () => {
    for (const instance of core.instances) if (instance instanceof FakeIommu) instance.checkIsolation();
  });
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
