/** The driver port for one piece of hardware. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type { AttachTarget, IommuCapabilities, IommuInstance, PagingTable } from '@iommu-lab/iommu-core';
import { assert, LabError, type MmioPort, type World } from '@iommu-lab/machine';
import { FIRST_IOVA, LAST_IOVA, PAGE_BYTES, REGISTERS, STREAMS } from './hardware.ts';
import { type TableMemory, TinyTable } from './table.ts';

export interface TinyInit {
  readonly provider: string;
  readonly mmio: MmioPort;
  /** Physical address of the registers. */
  readonly registers: number;
  readonly tables: TableMemory;
}

export class TinyInstance implements IommuInstance {
  readonly name: string;
  readonly provider: string;
  readonly tableKey: string = 'tiny';
  readonly capabilities: IommuCapabilities = {
    pageSizes: [PAGE_BYTES],
    aperture: { start: FIRST_IOVA, last: LAST_IOVA },
    lastPhysAddr: 0xffffffff,
    permissions: { readOnly: true, writeOnly: false, noExec: false, privileged: false },
    identity: false,
    switchKind: 'atomic',
    coherentWalk: true,
    stall: false,
    pasids: 0,
    dirtyTracking: false,
    nesting: false,
    processFormats: [],
  };
  readonly #world: World;
  readonly #init: TinyInit;
  readonly #forget = (): void => this.#write(REGISTERS.FORGET, 1);

  constructor(world: World, init: TinyInit) {
    this.name = `tiny ${init.provider}`;
    this.provider = init.provider;
    this.#world = world;
    this.#init = init;
  }

  probeEndpoint(device: Device, { context, streamIds }: Endpoint): string {
    const [stream] = streamIds;
    if (!STREAMS.includes(Number(context)) || stream !== Number(context) || streamIds.length !== 1) {
      throw new LabError('ENODEV', `${this.name} has no context "${context}" for ${device.name}`);
    }
    return context;
  }

  createPagingTable(): PagingTable {
    return new TinyTable(this.#world, this.#init.tables);
  }

  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    if (this.#world.fail('backend-tiny.attach')) throw new LabError('ENOMEM', 'no memory to attach');
    const table = tableOf(target);
    table?.users.push(this.#forget);
    this.#setTable(endpoint, table?.base ?? 0);
    this.#leave(previous);
  }

  release(endpoint: Endpoint, previous: AttachTarget): void {
    this.#setTable(endpoint, 0);
    this.#leave(previous);
  }

  #setTable({ context }: Endpoint, address: number): void {
    this.#write(4 * Number(context), address);
  }

  #write(offset: number, value: number): void {
    this.#init.mmio.write32(this.#init.registers + offset, value);
  }

  #leave(previous: AttachTarget | undefined): void {
    const users = previous && tableOf(previous)?.users;
    const index = users?.indexOf(this.#forget) ?? -1;
    if (index >= 0) users?.splice(index, 1);
  }
}

/** The table of a target; undefined for the blocked one. */
function tableOf(target: AttachTarget): TinyTable | undefined {
  if (target.kind === 'blocked') return undefined;
  assert(target.kind === 'paging' && target.table instanceof TinyTable, 'all else is not in the manifest');
  return target.table;
}
