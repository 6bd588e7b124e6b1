/** The driver port for one piece of hardware: glue between the core's words, tables and register verbs. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type { AttachTarget, IommuCapabilities, IommuInstance, PagingTable } from '@iommu-lab/iommu-core';
import { assert, LabError, type World } from '@iommu-lab/machine';
import { FLAT_CAPABILITIES, FLAT_TABLE_KEY } from './capabilities.ts';
import type { FlatHw } from './hw.ts';
import { FlatPagingTable } from './paging-table.ts';
import type { TableMemory } from './table-memory.ts';

/** Name of the context of a stream: each stream has a context of its own. */
export function contextName(stream: number): string {
  return `stream${stream}`;
}

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

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    // All that can fail comes before the one write that switches.
    if (target.kind === 'identity') throw new LabError('EOPNOTSUPP', `${this.name} has no pass-through`);
    if (this.#world.fail('backend-flat.attach'))
      throw new LabError('ENOMEM', `no memory to attach ${endpoint.context}`);
    const { hw } = this.#options;
    const stream = streamOf(endpoint);
    if (target.kind === 'paging') {
      const table = flatTable(target.table);
      table.addUser(hw);
      hw.useTable(stream, table.base);
    } else {
      hw.block(stream);
    }
    this.#forget(previous);
  }

  release(endpoint: Endpoint, previous: AttachTarget): void {
    this.#options.hw.block(streamOf(endpoint));
    this.#forget(previous);
  }

  #forget(previous: AttachTarget | undefined): void {
    if (previous?.kind === 'paging') flatTable(previous.table).removeUser(this.#options.hw);
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
