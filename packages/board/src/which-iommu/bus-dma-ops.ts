/**
 * The "first step" of the July 2010 thread: a bus with DMA operations of its own, and no IOMMU API at all. The bus knows the
 * wiring, so it talks to the IOMMU driver privately and puts operations on each device; drivers call the DMA API as ever.
 *
 * What it has: any number of IOMMUs, none of which anybody names. What it has not: domains. Each device has one table, for as
 * long as it is bound; nobody else can have the device, and no two devices can have one set of mappings.
 */
import type { MsmIommuInstance } from '@iommu-lab/backend-msm';
import type { ConfigureHook, Device, Endpoint } from '@iommu-lab/driver-core';
import { DmaLayer, type DmaDomain, type DmaWiring } from '@iommu-lab/dma-mapping';
import {
  type AttachTarget,
  Gather,
  type IommuCapabilities,
  nextPiece,
  type PagingTable,
  type Protection,
  type ScatterEntry,
  splitRange,
} from '@iommu-lab/iommu-core';
import { assert, LabError, type World } from '@iommu-lab/machine';

/** What the bus calls of the IOMMU driver. */
export type PrivateInstance = Pick<
  MsmIommuInstance,
  'provider' | 'capabilities' | 'probeEndpoint' | 'createPagingTable' | 'attach' | 'release'
>;

/** The bus's hook: gives each device a table of its own and DMA operations over it, in its DMA_OPS slot. */
export class BusDmaOps implements ConfigureHook {
  readonly #instances: () => readonly PrivateInstance[];
  readonly #layer: DmaLayer;
  readonly #spaces = new Map<Device, DeviceSpace>();

  /** @param instances the IOMMUs of the one driver that the bus knows */
  constructor(world: World, wiring: Omit<DmaWiring, 'iommu'>, instances: () => readonly PrivateInstance[]) {
    this.#instances = instances;
    const iommu = { dmaMappingsOf: (device: Device) => this.#spaces.get(device) };
    this.#layer = new DmaLayer(world, { ...wiring, iommu });
  }

  /** @throws LabError ENODEV when a device sits behind an IOMMU of another driver; ENOMEM, as `IommuInstance.attach` */
  configure(device: Device): void {
    const pairs = device.endpoints.map((endpoint) => [endpoint, this.#instanceOf(device, endpoint)] as const);
    const [first] = pairs;
    if (first !== undefined) this.#spaces.set(device, new DeviceSpace(device, first[1], pairs));
    this.#layer.configure(device);
  }

  cleanup(device: Device): void {
    this.#layer.cleanup(device);
    this.#spaces.get(device)?.end();
    this.#spaces.delete(device);
  }

  /** Bytes of the device's table; 0 without IOMMU. */
  tableBytesOf(device: Device): number {
    return this.#spaces.get(device)?.tableBytes ?? 0;
  }

  #instanceOf(device: Device, endpoint: Endpoint): PrivateInstance {
    const instance = this.#instances().find((i) => i.provider === endpoint.provider);
    if (instance !== undefined) return instance;
    throw new LabError(
      'ENODEV',
      `the bus's DMA operations know nothing of the IOMMU "${endpoint.provider}" before ${device.name}`,
      { device: device.name, provider: endpoint.provider },
    );
  }
}

/** What is mapped for one device: a table, current at every IOMMU that the device sits behind. */
class DeviceSpace implements DmaDomain {
  readonly kind = 'paging';
  readonly capabilities: IommuCapabilities;
  readonly #table: PagingTable;
  readonly #target: AttachTarget;
  readonly #attached: (readonly [Endpoint, PrivateInstance])[] = [];

  /** @throws LabError as `BusDmaOps.configure`; nothing is attached then */
  constructor(
    device: Device,
    maker: PrivateInstance,
    pairs: readonly (readonly [Endpoint, PrivateInstance])[],
  ) {
    this.capabilities = maker.capabilities;
    this.#table = maker.createPagingTable();
    this.#target = { kind: 'paging', table: this.#table };
    try {
      for (const [endpoint, instance] of pairs) {
        instance.probeEndpoint(device, endpoint);
        instance.attach(endpoint, this.#target, undefined);
        this.#attached.push([endpoint, instance]);
      }
    } catch (error) {
      this.end();
      throw error;
    }
  }

  get tableBytes(): number {
    return this.#table.tableBytes;
  }

  map(iova: number, address: number, sizeBytes: number, protection: Protection): void {
    this.mapSg(iova, [{ address, length: sizeBytes }], protection);
  }

  /** @returns bytes mapped @throws LabError ENOMEM; nothing is mapped then */
  mapSg(iova: number, entries: readonly ScatterEntry[], protection: Protection): number {
    const { pageSizes } = this.capabilities;
    let done = 0;
    try {
      for (const { address, length } of entries) {
        for (const piece of splitRange(pageSizes, iova + done, address, length)) {
          this.#table.mapPages(piece.iova, piece.address, piece.pageSize, piece.count, protection);
          done += piece.pageSize * piece.count;
        }
      }
    } catch (error) {
      if (done > 0) this.unmap(iova, done);
      throw error;
    }
    this.#table.syncMap(iova, done);
    return done;
  }

  unmap(iova: number, sizeBytes: number): number {
    const gather = new Gather();
    const done = this.unmapFast(iova, sizeBytes, gather);
    this.sync(gather);
    return done;
  }

  unmapFast(iova: number, sizeBytes: number, gather: Gather): number {
    let done = 0;
    while (done < sizeBytes) {
      const at = iova + done;
      const { pageSize, count } = nextPiece(this.capabilities.pageSizes, at, at, sizeBytes - done);
      const removed = this.#table.unmapPages(at, pageSize, count, gather);
      if (removed === 0) break;
      done += removed;
    }
    assert(done <= sizeBytes, 'what is unmapped was mapped in one piece');
    return done;
  }

  sync(gather: Gather): void {
    this.#table.sync(gather);
  }

  /** The device is blocked, and its table goes. */
  end(): void {
    for (const [endpoint, instance] of this.#attached.splice(0)) instance.release(endpoint, this.#target);
    this.#table.destroy();
  }
}
