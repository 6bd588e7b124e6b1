/**
 * One device's DMA operations: each call of the API with its events. What the calls do stands beside: `DeviceMappings`
 * (streaming), `Allocations`, `Reservations` (two steps). Long because it has every call of the API, in its order.
 */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import type { Device, DmaParameters } from '@iommu-lab/driver-core';
import type { Process } from '@iommu-lab/kernel-mm';
import {
  type ErrorCode,
  hex,
  type Iova,
  isAligned,
  LabError,
  offsetBy,
  type PhysAddr,
  type VirtAddr,
  type World,
} from '@iommu-lab/machine';
import { Allocations } from './allocations.ts';
import { checkDirection, checkMask, checkParameters } from './check-arguments.ts';
import { DeviceMappings, mapOrError } from './device-mappings.ts';
import {
  type AllocOptions,
  type CoherentBuffer,
  DMA_MAPPING_ERROR,
  type DmaBuffer,
  type DmaDirection,
  type DmaOps,
  type DmaSegment,
  type IovaReservation,
  type MapOptions,
  type NoncoherentBuffer,
  type NoncontiguousBuffer,
  type SgEntry,
  type SgTable,
} from '../dma-ops.ts';
import type { LiveMapping, LiveMappings } from './live-mappings.ts';
import type { DmaPath } from '../paths/path.ts';
import type { DmaWiring } from '../ports.ts';
import { Reservations } from './reservations.ts';
import { traceMapping, traceSyncSg, traceSyncSingle } from './trace.ts';

export class DeviceDmaOps implements DmaOps {
  readonly kind: string;
  readonly #world: World;
  readonly #device: Device;
  readonly #path: DmaPath;
  readonly #mappings: DeviceMappings;
  readonly #allocations: Allocations;
  readonly #reservations: Reservations;

  constructor(world: World, device: Device, path: DmaPath, wiring: DmaWiring) {
    this.kind = path.kind;
    this.#world = world;
    this.#device = device;
    this.#path = path;
    this.#mappings = new DeviceMappings(world, device, path, wiring);
    this.#allocations = new Allocations(this.#mappings, wiring);
    this.#reservations = new Reservations(this.#mappings);
  }

  /** What the driver has not given back. */
  get live(): LiveMappings {
    return this.#mappings.live;
  }

  get mappedBytes(): number {
    return this.live.bytes;
  }

  get reservedBytes(): number {
    return this.#reservations.reservedBytes;
  }

  mapSingle(buffer: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#mapOne('page', buffer, sizeBytes, direction, options);
  }

  unmapSingle(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    this.#unmapOne('page', address, sizeBytes, direction, options);
  }

  mapPage(
    page: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): Iova {
    if (!isAligned(page, FRAME_BYTES) || !Number.isSafeInteger(offset) || offset < 0) {
      throw new LabError('EINVAL', `${this.#device.name}: ${hex(page)} + ${offset} is no place in a page`, {
        device: this.#device.name,
        page,
        offset,
      });
    }
    return this.#mapOne('page', offsetBy(page, offset), sizeBytes, direction, options);
  }

  unmapPage(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    this.#unmapOne('page', address, sizeBytes, direction, options);
  }

  mapResource(registers: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#mapOne('resource', registers, sizeBytes, direction, options);
  }

  unmapResource(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    this.#unmapOne('resource', address, sizeBytes, direction, options);
  }

  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[] {
    const mapping = this.#mappings.give(entries, { kind: 'sg', direction, options });
    traceMapping(this.#world, this.#device, 'map_sg', mapping, options);
    return mapping.segments;
  }

  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection, options?: MapOptions): void {
    const mapping = this.live.findList('sg', segments, direction);
    traceMapping(this.#world, this.#device, 'unmap_sg', mapping, options);
    this.#mappings.takeBack(mapping, options);
  }

  mapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void {
    if (table.segments.length > 0) {
      throw new LabError('EINVAL', `${this.#device.name}: the table is mapped already`, {
        device: this.#device.name,
      });
    }
    try {
      table.segments = this.mapSg(table.entries, direction, options);
    } catch (error) {
      throw asTableError(error);
    }
  }

  unmapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void {
    this.unmapSg(table.segments, direction, options);
    table.segments = [];
  }

  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#mappings.handOver.toCpu(this.#mappings.range(address, sizeBytes, direction), direction);
    traceSyncSingle(this.#world, this.#device, 'sync_single_for_cpu', address, sizeBytes, direction);
  }

  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#mappings.handOver.toDevice(this.#mappings.range(address, sizeBytes, direction), direction);
    traceSyncSingle(this.#world, this.#device, 'sync_single_for_device', address, sizeBytes, direction);
  }

  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection): void {
    checkDirection(this.#device, direction);
    const { pieces } = this.live.findSyncedList(segments, direction);
    this.#mappings.handOver.toCpu(pieces, direction);
    traceSyncSg(this.#world, this.#device, 'sync_sg_for_cpu', segments, direction);
  }

  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection): void {
    checkDirection(this.#device, direction);
    const { pieces } = this.live.findSyncedList(segments, direction);
    this.#mappings.handOver.toDevice(pieces, direction);
    traceSyncSg(this.#world, this.#device, 'sync_sg_for_device', segments, direction);
  }

  syncSgTableForCpu({ segments }: SgTable, direction: DmaDirection): void {
    this.syncSgForCpu(segments, direction);
  }

  syncSgTableForDevice({ segments }: SgTable, direction: DmaDirection): void {
    this.syncSgForDevice(segments, direction);
  }

  mappingError(address: Iova): boolean {
    return address === DMA_MAPPING_ERROR;
  }

  needSync(address: Iova): boolean {
    const mapping = this.live.containing(address);
    if (mapping === undefined || mapping.kind === 'coherent' || mapping.kind === 'resource') return false;
    return this.#mappings.handOver.isNeeded(mapping.pieces);
  }

  allocCoherent(sizeBytes: number, options?: AllocOptions): CoherentBuffer {
    const buffer = this.#allocations.allocCoherent(sizeBytes, options);
    this.#traceAllocation('alloc', this.#allocations.mappingOf('coherent', buffer), options);
    return buffer;
  }

  freeCoherent(buffer: CoherentBuffer, options?: AllocOptions): void {
    this.#traceAllocation('free', this.#allocations.mappingOf('coherent', buffer), options);
    this.#allocations.free(buffer, options);
  }

  allocNoncoherent(sizeBytes: number, direction: DmaDirection, options?: AllocOptions): NoncoherentBuffer {
    const buffer = this.#allocations.allocNoncoherent(sizeBytes, direction, options);
    this.#traceAllocation('alloc_pages', this.#allocations.mappingOf('noncoherent', buffer), options);
    return buffer;
  }

  freeNoncoherent(buffer: NoncoherentBuffer, options?: AllocOptions): void {
    this.#traceAllocation('free_pages', this.#allocations.mappingOf('noncoherent', buffer), options);
    this.#allocations.free(buffer, options);
  }

  allocNoncontiguous(
    sizeBytes: number,
    direction: DmaDirection,
    options?: AllocOptions,
  ): NoncontiguousBuffer {
    const buffer = this.#allocations.allocNoncontiguous(sizeBytes, direction, options);
    this.#traceAllocation('alloc_sgt', this.#allocations.mappingOf('noncontiguous', buffer), options);
    return buffer;
  }

  freeNoncontiguous(buffer: NoncontiguousBuffer, options?: AllocOptions): void {
    this.#traceAllocation('free_sgt', this.#allocations.mappingOf('noncontiguous', buffer), options);
    this.#allocations.free(buffer, options);
  }

  mmap(process: Process, buffer: DmaBuffer, offset?: number, sizeBytes?: number): VirtAddr {
    return this.#allocations.mmap(
      process,
      buffer,
      offset ?? 0,
      sizeBytes ?? buffer.sizeBytes - (offset ?? 0),
    );
  }

  getSgTable(buffer: DmaBuffer): SgTable {
    return this.#allocations.getSgTable(buffer);
  }

  setMask(mask: number): void {
    checkMask(this.#device, mask, this.#path.smallestMask);
    this.#device.dmaMask = mask;
    this.#device.coherentDmaMask = mask;
  }

  setStreamingMask(mask: number): void {
    checkMask(this.#device, mask, this.#path.smallestMask);
    this.#device.dmaMask = mask;
  }

  setCoherentMask(mask: number): void {
    checkMask(this.#device, mask, this.#path.smallestMask);
    this.#device.coherentDmaMask = mask;
  }

  get requiredMask(): number {
    return this.#path.requiredMask;
  }

  get isAddressingLimited(): boolean {
    return this.#path.isAddressingLimited;
  }

  get maxMappingSize(): number {
    return this.#path.maxMappingSize;
  }

  get optMappingSize(): number {
    return Math.min(this.#path.optMappingSize, this.#path.maxMappingSize);
  }

  get mergeBoundary(): number {
    return this.#path.mergeBoundary;
  }

  setParameters(changes: Partial<DmaParameters>): void {
    const parameters = { ...this.#device.dmaParameters, ...changes };
    checkParameters(this.#device, parameters);
    this.#device.dmaParameters = parameters;
  }

  tryAllocIova(buffer: PhysAddr, sizeBytes: number, site?: string): IovaReservation | undefined {
    return this.#reservations.tryAllocate(buffer, sizeBytes, site);
  }

  linkIova(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    this.#reservations.link(reservation, buffer, offset, sizeBytes, direction, options);
  }

  syncIova(reservation: IovaReservation, offset: number, sizeBytes: number): void {
    // The tables are walked as soon as they are written here. Hardware that has to be told first is why a driver must
    // call it all the same; the checker notices one that does not.
    this.#reservations.checkPart(reservation, offset, sizeBytes);
  }

  unlinkIova(
    reservation: IovaReservation,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    this.#reservations.unlink(reservation, offset, sizeBytes, direction, options);
  }

  destroyIova(
    reservation: IovaReservation,
    linkedBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    this.#reservations.destroy(reservation, linkedBytes, direction, options);
  }

  freeIova(reservation: IovaReservation): void {
    this.#reservations.free(reservation);
  }

  isStale(address: Iova): boolean {
    return this.#path.isStale(address);
  }

  #mapOne(
    kind: 'page' | 'resource',
    address: PhysAddr,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): Iova {
    return mapOrError(options, () => {
      const mapping = this.#mappings.give([{ address, length: sizeBytes }], { kind, direction, options });
      traceMapping(this.#world, this.#device, `map_${kind}`, mapping, options);
      return mapping.segments[0]?.address as Iova;
    });
  }

  #unmapOne(
    kind: 'page' | 'resource',
    address: Iova,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const mapping = this.live.findSingle(kind, address, sizeBytes, direction);
    this.#mappings.takeBack(mapping, options);
    traceMapping(this.#world, this.#device, `unmap_${kind}`, mapping, options);
  }

  #traceAllocation(
    event: 'alloc' | 'free' | 'alloc_pages' | 'free_pages' | 'alloc_sgt' | 'free_sgt',
    mapping: LiveMapping,
    options: AllocOptions | undefined,
  ): void {
    traceMapping(this.#world, this.#device, event, mapping, options);
  }
}

const TABLE_CODES: ReadonlySet<ErrorCode> = new Set(['EINVAL', 'ENOMEM', 'EOPNOTSUPP', 'EIO']);

/** The codes that `mapSgTable` may fail with (kernel/dma/mapping.c, __dma_map_sg_attrs): others say no more than EIO. */
function asTableError(error: unknown): unknown {
  if (!(error instanceof LabError)) return error;
  if (TABLE_CODES.has(error.code)) return error;
  return new LabError(error.code === 'ENOSPC' ? 'ENOMEM' : 'EIO', error.message, error.details);
}
