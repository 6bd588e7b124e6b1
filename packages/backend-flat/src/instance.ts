/** The driver port for one piece of hardware: glue between the core's words, tables and register verbs. */
import type { Device, Endpoint, ReservedRegion } from '@iommu-lab/driver-core';
import type { AttachTarget, IommuCapabilities, IommuInstance, PagingTable } from '@iommu-lab/iommu-core';
import { assert, LabError, type World } from '@iommu-lab/machine';
import { FLAT_CAPABILITIES, FLAT_TABLE_KEY } from './capabilities.ts';
import type { FlatHw } from './hw.ts';
import { FlatPagingTable } from './paging-table.ts';
import { DOORBELL_IOVA } from './registers.ts';
import { PAGE_BYTES } from './table-format.ts';
import type { TableMemory } from './table-memory.ts';

/** Name of the context of a stream: each stream has a context of its own. */
export function contextName(stream: number): string {
  return `stream${stream}`;
}

const DOORBELL: ReservedRegion = {
  name: 'doorbell',
  kind: 'msi',
  iova: DOORBELL_IOVA,
  sizeBytes: PAGE_BYTES,
};

export interface FlatInstanceOptions {
  /** Key by which endpoints name the instance. */
  readonly provider: string;
  /** Streams the hardware has. */
  readonly streams: number;
  readonly hw: FlatHw;
  readonly tables: TableMemory;
}

export class FlatInstance implements IommuInstance {
  readonly name: string;
  readonly provider: string;
  readonly capabilities: IommuCapabilities = FLAT_CAPABILITIES;
  readonly tableKey: string = FLAT_TABLE_KEY;
  readonly #world: World;
  readonly #options: FlatInstanceOptions;
  /** Endpoints attached through each stream: devices can share one. */
  readonly #users = new Map<number, number>();

  constructor(world: World, options: FlatInstanceOptions) {
    this.#world = world;
    this.#options = options;
    this.provider = options.provider;
    this.name = `flat ${options.provider}`;
  }

  probeEndpoint(device: Device, endpoint: Endpoint): string {
    const stream = endpoint.streamIds[0];
    const isKnown =
      stream !== undefined && Number.isInteger(stream) && stream >= 0 && stream < this.#options.streams;
    if (!isKnown || endpoint.streamIds.length !== 1 || endpoint.context !== contextName(stream)) {
      throw new LabError(
        'ENODEV',
        `${this.name} has no context "${endpoint.context}" with streams ${endpoint.streamIds.join(', ')} for ${device.name}`,
        { context: endpoint.context, streamIds: endpoint.streamIds },
      );
    }
    return endpoint.context;
  }

  createPagingTable(): PagingTable {
    return new FlatPagingTable(this.#world, this.#options.tables);
  }

  reservedRegions(): readonly ReservedRegion[] {
    return [DOORBELL];
  }

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    // All that can fail comes before the one write that switches.
    if (this.#world.fail('backend-flat.attach'))
      throw new LabError('ENOMEM', `no memory to attach ${endpoint.context}`);
    const stream = streamOf(endpoint);
    if (target.kind === 'paging') {
      flatTable(target.table).attach(this.#options.hw, stream);
    } else {
      assert(target.kind === 'blocked', 'the core asks for nothing that the manifest does not have');
      this.#options.hw.block(stream);
    }
    if (previous === undefined) this.#users.set(stream, (this.#users.get(stream) ?? 0) + 1);
    this.#leave(stream, previous);
  }

  release(endpoint: Endpoint, previous: AttachTarget): void {
    const stream = streamOf(endpoint);
    const users = (this.#users.get(stream) ?? 0) - 1;
    this.#users.set(stream, users);
    // What another device of the group still uses stays as it is.
    if (users === 0) this.#options.hw.block(stream);
    this.#leave(stream, previous);
  }

  #leave(stream: number, previous: AttachTarget | undefined): void {
    if (previous?.kind === 'paging') flatTable(previous.table).detach(this.#options.hw, stream);
  }
}

function streamOf(endpoint: Endpoint): number {
  const [stream] = endpoint.streamIds;
  assert(stream !== undefined, 'probeEndpoint has looked at the endpoint');
  return stream;
}

function flatTable(table: PagingTable): FlatPagingTable {
  assert(table instanceof FlatPagingTable, 'the core hands on tables of the same key only');
  return table;
}
