/**
 * A device's operations with the checker in front. After a report a call is carried out as the mapping's own record says, so that
 * one mistake is not followed by its consequences. What the inner operations refuse passes through. Long because it has
 * every call of the API, in its order.
 */
import type { DmaParameters } from '@iommu-lab/driver-core';
import type { Process } from '@iommu-lab/kernel-mm';
import { assert, type Iova, offsetBy, type PhysAddr, type VirtAddr } from '@iommu-lab/machine';
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
import { checkMemory, checkSegments, type MapCall } from './check-map.ts';
import { type NewOwner, reportLostStores, SyncChecks } from './check-sync.ts';
import { TakeBackChecks } from './check-unmap.ts';
import { CheckedBuffer } from './checked-buffer.ts';
import type { DebugState } from './debug-state.ts';
import { Ownership } from './ownership.ts';
import { type CallSite, type DeviceRecords, MappingRecord } from './records.ts';
import { TwoStepChecks } from './two-step.ts';

export class CheckedOps implements DmaOps {
  readonly kind: string;
  readonly #state: DebugState;
  readonly #records: DeviceRecords;
  readonly #inner: DmaOps;
  /** Every streaming mapping of this device is bounced. */
  readonly #isBounced: boolean;
  readonly #takeBacks: TakeBackChecks;
  readonly #syncs: SyncChecks;
  readonly #twoStep: TwoStepChecks;
  /** The record behind each handle of an allocation that a driver has or had. */
  readonly #handles = new WeakMap<DmaBuffer, MappingRecord>();

  constructor(state: DebugState, records: DeviceRecords, inner: DmaOps) {
    this.kind = `debug(${inner.kind})`;
    this.#state = state;
    this.#records = records;
    this.#inner = inner;
    this.#isBounced = inner.kind === 'bounce';
    this.#takeBacks = new TakeBackChecks(state, records);
    this.#syncs = new SyncChecks(state, records);
    this.#twoStep = new TwoStepChecks(state, records, inner);
  }

  mapSingle(buffer: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#mapOne('single', buffer, sizeBytes, direction, options, () =>
      this.#inner.mapSingle(buffer, sizeBytes, direction, options),
    );
  }

  unmapSingle(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    if (this.#state.isOff) this.#inner.unmapSingle(address, sizeBytes, direction, options);
    else this.#unmapOne('single', address, sizeBytes, direction, options);
  }

  mapPage(
    page: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): Iova {
    return this.#mapOne('page', offsetBy(page, offset), sizeBytes, direction, options, () =>
      this.#inner.mapPage(page, offset, sizeBytes, direction, options),
    );
  }

  unmapPage(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    if (this.#state.isOff) this.#inner.unmapPage(address, sizeBytes, direction, options);
    else this.#unmapOne('single', address, sizeBytes, direction, options);
  }

  mapResource(registers: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#mapOne('resource', registers, sizeBytes, direction, options, () =>
      this.#inner.mapResource(registers, sizeBytes, direction, options),
    );
  }

  unmapResource(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    if (this.#state.isOff) this.#inner.unmapResource(address, sizeBytes, direction, options);
    else this.#unmapOne('resource', address, sizeBytes, direction, options);
  }

  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[] {
    const made = this.#beforeList(entries, options);
    const segments = this.#inner.mapSg(entries, direction, options);
    if (made !== undefined) this.#addList(made, entries, segments, direction, options, undefined);
    return segments;
  }

  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection, options?: MapOptions): void {
    if (this.#state.isOff) return this.#inner.unmapSg(segments, direction, options);
    this.#unmapList(segments, direction, options, undefined);
  }

  mapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void {
    const made = this.#beforeList(table.entries, options);
    this.#inner.mapSgTable(table, direction, options);
    if (made !== undefined) this.#addList(made, table.entries, table.segments, direction, options, table);
  }

  unmapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void {
    if (this.#state.isOff) return this.#inner.unmapSgTable(table, direction, options);
    this.#unmapList(table.segments, direction, options, table);
  }

  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection, site?: string): void {
    const range = this.#range('cpu', address, sizeBytes, direction, site);
    if (range !== undefined)
      this.#inner.syncSingleForCpu(range.address as Iova, range.sizeBytes, range.direction, site);
  }

  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection, site?: string): void {
    const range = this.#range('device', address, sizeBytes, direction, site);
    if (range !== undefined)
      this.#inner.syncSingleForDevice(range.address as Iova, range.sizeBytes, range.direction, site);
  }

  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection, site?: string): void {
    this.#syncList('cpu', segments, direction, site, (whole, right) =>
      this.#inner.syncSgForCpu(whole, right, site),
    );
  }

  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection, site?: string): void {
    this.#syncList('device', segments, direction, site, (whole, right) =>
      this.#inner.syncSgForDevice(whole, right, site),
    );
  }

  syncSgTableForCpu(table: SgTable, direction: DmaDirection, site?: string): void {
    this.#syncList('cpu', table.segments, direction, site, (whole, right) => {
      table.segments = whole;
      this.#inner.syncSgTableForCpu(table, right, site);
    });
  }

  syncSgTableForDevice(table: SgTable, direction: DmaDirection, site?: string): void {
    this.#syncList('device', table.segments, direction, site, (whole, right) => {
      table.segments = whole;
      this.#inner.syncSgTableForDevice(table, right, site);
    });
  }

  /** Several mappings at one address are asked about one by one, as the kernel counts it (debug_dma_mapping_error). */
  mappingError(address: Iova): boolean {
    if (!this.#state.isOff) {
      const unchecked = this.#records.findStartingAt(address, (record) => record.isErrorUnchecked);
      if (unchecked !== undefined) unchecked.isErrorUnchecked = false;
    }
    return this.#inner.mappingError(address);
  }

  /**
   * Yes for all that changes hands, also where a sync does nothing: a driver that skips it would be taken for one that forgot
   * it (include/linux/dma-mapping.h: dma_dev_need_sync, which is true under CONFIG_DMA_API_DEBUG).
   */
  needSync(address: Iova): boolean {
    if (this.#inner.needSync(address)) return true;
    if (this.#state.isOff) return false;
    return this.#records
      .overlapping(address, address + 1)
      .some(({ record }) => !record.isLeft && record.parts.ownership !== undefined);
  }

  allocCoherent(sizeBytes: number, options?: AllocOptions): CoherentBuffer {
    const inner = this.#inner.allocCoherent(sizeBytes, options);
    const record = new MappingRecord({
      device: this.#records.device,
      made: this.#here(options?.site),
      skipsCpuSync: false,
      type: 'coherent',
      direction: 'bidirectional',
      sizeBytes: inner.sizeBytes,
      segments: [{ address: inner.dmaAddress, length: inner.sizeBytes }],
      entries: this.#inner.getSgTable(inner).entries,
      ownership: undefined,
      buffer: inner,
    });
    const buffer = new CheckedBuffer(this.#state, record, inner);
    this.#addAllocation(buffer, record);
    return buffer;
  }

  freeCoherent(buffer: CoherentBuffer, options?: AllocOptions): void {
    if (this.#state.isOff) this.#inner.freeCoherent(this.#unwrap(buffer), options);
    else this.#free('coherent', buffer, undefined, undefined, options);
  }

  allocNoncoherent(sizeBytes: number, direction: DmaDirection, options?: AllocOptions): NoncoherentBuffer {
    const buffer = this.#inner.allocNoncoherent(sizeBytes, direction, options);
    const record = new MappingRecord({
      device: this.#records.device,
      made: this.#here(options?.site),
      skipsCpuSync: false,
      type: 'noncoherent',
      direction,
      sizeBytes: buffer.sizeBytes,
      segments: [{ address: buffer.dmaAddress, length: buffer.sizeBytes }],
      entries: [{ address: buffer.address, length: buffer.sizeBytes }],
      ownership: new Ownership(direction, buffer.sizeBytes, 'cpu'),
      buffer,
    });
    this.#addAllocation(buffer, record);
    return buffer;
  }

  freeNoncoherent(buffer: NoncoherentBuffer, options?: AllocOptions): void {
    if (this.#state.isOff) this.#inner.freeNoncoherent(buffer, options);
    else this.#free('noncoherent', buffer, buffer.direction, buffer.address, options);
  }

  allocNoncontiguous(
    sizeBytes: number,
    direction: DmaDirection,
    options?: AllocOptions,
  ): NoncontiguousBuffer {
    const buffer = this.#inner.allocNoncontiguous(sizeBytes, direction, options);
    const { entries, segments } = buffer.table;
    const wholeBytes = entries.reduce((sum, { length }) => sum + length, 0);
    const record = new MappingRecord({
      device: this.#records.device,
      made: this.#here(options?.site),
      skipsCpuSync: false,
      type: 'noncontiguous',
      direction,
      sizeBytes: buffer.sizeBytes,
      segments,
      entries,
      ownership: new Ownership(direction, wholeBytes, 'cpu'),
      buffer,
    });
    this.#addAllocation(buffer, record);
    return buffer;
  }

  freeNoncontiguous(buffer: NoncontiguousBuffer, options?: AllocOptions): void {
    if (this.#state.isOff) this.#inner.freeNoncontiguous(buffer, options);
    else this.#free('noncontiguous', buffer, buffer.direction, buffer.table.entries[0]?.address, options);
  }

  mmap(process: Process, buffer: DmaBuffer, offset?: number, sizeBytes?: number): VirtAddr {
    return this.#inner.mmap(process, this.#unwrap(buffer), offset, sizeBytes);
  }

  getSgTable(buffer: DmaBuffer): SgTable {
    return this.#inner.getSgTable(this.#unwrap(buffer));
  }

  setMask(mask: number): void {
    this.#inner.setMask(mask);
  }

  setStreamingMask(mask: number): void {
    this.#inner.setStreamingMask(mask);
  }

  setCoherentMask(mask: number): void {
    this.#inner.setCoherentMask(mask);
  }

  get requiredMask(): number {
    return this.#inner.requiredMask;
  }

  get isAddressingLimited(): boolean {
    return this.#inner.isAddressingLimited;
  }

  get maxMappingSize(): number {
    return this.#inner.maxMappingSize;
  }

  get optMappingSize(): number {
    return this.#inner.optMappingSize;
  }

  get mergeBoundary(): number {
    return this.#inner.mergeBoundary;
  }

  setParameters(changes: Partial<DmaParameters>): void {
    this.#inner.setParameters(changes);
  }

  tryAllocIova(buffer: PhysAddr, sizeBytes: number, site?: string): IovaReservation | undefined {
    if (this.#state.isOff) return this.#inner.tryAllocIova(buffer, sizeBytes, site);
    return this.#twoStep.reserve(buffer, sizeBytes, site);
  }

  linkIova(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    const to = this.#state.isOff ? undefined : this.#twoStep;
    if (to === undefined) this.#inner.linkIova(reservation, buffer, offset, sizeBytes, direction, options);
    else to.link(reservation, buffer, offset, sizeBytes, direction, options);
  }

  syncIova(reservation: IovaReservation, offset: number, sizeBytes: number, site?: string): void {
    if (this.#state.isOff) this.#inner.syncIova(reservation, offset, sizeBytes, site);
    else this.#twoStep.sync(reservation, offset, sizeBytes, site);
  }

  unlinkIova(
    reservation: IovaReservation,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    if (this.#state.isOff) this.#inner.unlinkIova(reservation, offset, sizeBytes, direction, options);
    else this.#twoStep.unlink(reservation, offset, sizeBytes, direction, options);
  }

  destroyIova(
    reservation: IovaReservation,
    linkedBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): void {
    if (this.#state.isOff) this.#inner.destroyIova(reservation, linkedBytes, direction, options);
    else this.#twoStep.destroy(reservation, linkedBytes, direction, options);
  }

  freeIova(reservation: IovaReservation, site?: string): void {
    if (this.#state.isOff) this.#inner.freeIova(reservation, site);
    else this.#twoStep.free(reservation, site);
  }

  get mappedBytes(): number {
    return this.#inner.mappedBytes;
  }

  get reservedBytes(): number {
    return this.#inner.reservedBytes;
  }

  isStale(address: Iova): boolean {
    return this.#inner.isStale(address);
  }

  #mapOne(
    call: MapCall,
    address: PhysAddr,
    length: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
    map: () => Iova,
  ): Iova {
    if (this.#state.isOff) return map();
    const made = this.#here(options?.site);
    const refusal = checkMemory(this.#state, this.#records, call, address, length, made);
    if (refusal !== undefined) {
      if (options?.errorAsValue === true) return DMA_MAPPING_ERROR;
      throw refusal;
    }
    const iova = map();
    if (iova === DMA_MAPPING_ERROR) return iova;
    const type = call === 'resource' ? 'resource' : 'single';
    const record = new MappingRecord({
      device: this.#records.device,
      made,
      skipsCpuSync: options?.skipCpuSync === true,
      type,
      direction,
      sizeBytes: length,
      segments: [{ address: iova, length }],
      entries: [{ address, length }],
      ownership: type === 'single' ? ownershipOf(direction, length, options) : undefined,
      ignoresSharedLines: options?.ignoreSharedLines ?? false,
      owesErrorCheck: options?.errorAsValue ?? false,
      isPage: call === 'page',
      isBounced: this.#isBounced && type === 'single',
    });
    this.#state.add(this.#records, record);
    return iova;
  }

  /** @returns who maps; undefined when nothing is checked */
  #beforeList(entries: readonly SgEntry[], options: MapOptions | undefined): CallSite | undefined {
    if (this.#state.isOff) return undefined;
    const made = this.#here(options?.site);
    for (const { address, length } of entries) {
      checkMemory(this.#state, this.#records, 'sg', address, length, made);
    }
    return made;
  }

  #addList(
    made: CallSite,
    entries: readonly SgEntry[],
    segments: readonly DmaSegment[],
    direction: DmaDirection,
    options: MapOptions | undefined,
    table: SgTable | undefined,
  ): void {
    const sizeBytes = entries.reduce((sum, { length }) => sum + length, 0);
    const record = new MappingRecord({
      device: this.#records.device,
      made,
      skipsCpuSync: options?.skipCpuSync === true,
      type: 'sg',
      direction,
      sizeBytes,
      segments: [...segments],
      entries: [...entries],
      ownership: ownershipOf(direction, sizeBytes, options),
      ignoresSharedLines: options?.ignoreSharedLines ?? false,
      isBounced: this.#isBounced,
      table,
    });
    checkSegments(this.#state, this.#records, record);
    this.#state.add(this.#records, record);
  }

  #addAllocation(handle: DmaBuffer, record: MappingRecord): void {
    this.#handles.set(handle, record);
    if (!this.#state.isOff) this.#state.add(this.#records, record);
  }

  #unmapOne(
    type: 'single' | 'resource',
    address: Iova,
    sizeBytes: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): void {
    const site = this.#here(options?.site);
    const record = this.#takeBacks.check({ type, address, sizeBytes, direction, site });
    if (record !== undefined) this.#takeBack(record, options, undefined, site);
  }

  #unmapList(
    segments: readonly DmaSegment[],
    direction: DmaDirection,
    options: MapOptions | undefined,
    table: SgTable | undefined,
  ): void {
    const site = this.#here(options?.site);
    const address = segments[0]?.address ?? Number.NaN;
    const sizeBytes = segments.reduce((sum, { length }) => sum + length, 0);
    const record = this.#takeBacks.check({ type: 'sg', address, sizeBytes, direction, segments, site });
    if (record !== undefined) this.#takeBack(record, options, table, site);
  }

  #free(
    type: 'coherent' | 'noncoherent' | 'noncontiguous',
    buffer: DmaBuffer,
    direction: DmaDirection | undefined,
    memory: number | undefined,
    options: AllocOptions | undefined,
  ): void {
    const site = this.#here(options?.site);
    const { dmaAddress: address, sizeBytes } = buffer;
    const handleOf = this.#handles.get(buffer);
    const record = this.#takeBacks.check({ type, address, sizeBytes, direction, handleOf, memory, site });
    if (record !== undefined) this.#takeBack(record, options, undefined, site);
  }

  /** Takes a mapping back as it was made, whatever the driver called. */
  #takeBack(
    record: MappingRecord,
    options: MapOptions | AllocOptions | undefined,
    table: SgTable | undefined,
    site: CallSite,
  ): void {
    const { ownership, buffer } = record.parts;
    const skipsSync = options !== undefined && 'skipCpuSync' in options && options.skipCpuSync === true;
    const lost = skipsSync || buffer !== undefined ? undefined : ownership?.lostAtEnd();
    if (lost !== undefined) reportLostStores(this.#state, record, lost, site, 'takes the buffer back');
    this.#forward(record, options, table);
    this.#state.remove(this.#records, record, site);
  }

  #forward(
    { address, parts }: MappingRecord,
    options: MapOptions | AllocOptions | undefined,
    table: SgTable | undefined,
  ): void {
    const { type, sizeBytes, direction, segments, buffer } = parts;
    switch (type) {
      case 'single':
        if (parts.isPage === true) this.#inner.unmapPage(address as Iova, sizeBytes, direction, options);
        else this.#inner.unmapSingle(address as Iova, sizeBytes, direction, options);
        return;
      case 'resource':
        return this.#inner.unmapResource(address as Iova, sizeBytes, direction, options);
      case 'sg': {
        const whole = table ?? parts.table;
        if (whole === undefined) return this.#inner.unmapSg(segments, direction, options);
        whole.segments = segments;
        return this.#inner.unmapSgTable(whole, direction, options);
      }
      case 'coherent':
        return this.#inner.freeCoherent(buffer as CoherentBuffer, options);
      case 'noncoherent':
        return this.#inner.freeNoncoherent(buffer as NoncoherentBuffer, options);
      case 'noncontiguous':
        return this.#inner.freeNoncontiguous(buffer as NoncontiguousBuffer, options);
      case 'linked':
        assert(false, 'pieces of a reservation are taken back by its own calls');
    }
  }

  #range(
    owner: NewOwner,
    address: Iova,
    sizeBytes: number,
    direction: DmaDirection,
    site: string | undefined,
  ): { readonly address: number; readonly sizeBytes: number; readonly direction: DmaDirection } | undefined {
    if (this.#state.isOff || !(sizeBytes > 0)) return { address, sizeBytes, direction };
    return this.#syncs.checkRange(owner, address, sizeBytes, direction, this.#here(site));
  }

  #syncList(
    owner: NewOwner,
    segments: readonly DmaSegment[],
    direction: DmaDirection,
    site: string | undefined,
    sync: (segments: readonly DmaSegment[], direction: DmaDirection) => void,
  ): void {
    if (this.#state.isOff) return sync(segments, direction);
    const checked = this.#syncs.checkList(owner, segments, direction, this.#here(site));
    if (checked !== undefined) sync(checked.record.parts.segments, checked.direction);
  }

  #unwrap<B extends DmaBuffer>(handle: B): B {
    return (this.#handles.get(handle)?.parts.buffer ?? handle) as B;
  }

  #here(site: string | undefined): CallSite {
    return this.#state.here(site ?? this.#records.device.name);
  }
}

function ownershipOf(direction: DmaDirection, sizeBytes: number, options: MapOptions | undefined): Ownership {
  return new Ownership(direction, sizeBytes, options?.skipCpuSync === true ? 'unknown' : 'device');
}
