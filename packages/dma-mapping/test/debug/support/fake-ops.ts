/**
 * DMA operations that do what they are told and nothing else: an address is the memory's plus a shift. They are as strict as
 * the real ones about what they are given back, so a checker that passes a mistake on is found out.
 * Long because it has every call of the API.
 */
import {
  type AccessStatus,
  type BusAccess,
  type BusPort,
  hex,
  type Iova,
  LabError,
  type MemoryPort,
  moveBytes,
  type PhysAddr,
  type VirtAddr,
} from '@iommu-lab/machine';
import {
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
} from '../../../src/dma-ops.ts';

/**
 * `direct`: the device reaches everything; `strict` and `lazy`: what is mapped in its direction; lazy also what was unmapped
 * since the last `flush`; `stall`: as strict, and what is not mapped is held.
 */
export type FakePath = 'direct' | 'strict' | 'lazy' | 'stall';

interface Live {
  readonly type: string;
  readonly segments: readonly DmaSegment[];
  readonly direction: DmaDirection;
  readonly buffer?: DmaBuffer;
  readonly reservation?: IovaReservation;
  readonly memory: readonly SgEntry[];
}

const IOVA_SHIFT = 0x8000_0000;

export class FakeOps implements DmaOps, BusPort {
  readonly kind = 'fake';
  /** What was called, and how. */
  readonly calls: string[] = [];
  readonly live: Live[] = [];
  readonly reservations: Set<IovaReservation> = new Set();
  readonly parked: BusAccess[] = [];
  /** The next map fails. */
  isFull = false;
  readonly #path: FakePath;
  readonly #memory: MemoryPort;
  readonly #view: MemoryPort;
  readonly #shift: number;
  #stale: Live[] = [];
  #nextFrame: number;
  #nextReservation = 0x9000_0000;

  constructor(path: FakePath, memory: MemoryPort, view: MemoryPort, frames: number) {
    this.#path = path;
    this.#memory = memory;
    this.#view = view;
    this.#shift = path === 'direct' ? 0 : IOVA_SHIFT;
    this.#nextFrame = frames;
  }

  flush(): void {
    this.#stale = [];
  }

  access(access: BusAccess): AccessStatus {
    if (this.#path === 'direct') {
      return moveBytes(this.#memory, access.address as PhysAddr, access) ? 'done' : 'faulted';
    }
    const at = this.#translate(access);
    if (at !== undefined) return moveBytes(this.#memory, at, access) ? 'done' : 'faulted';
    if (this.#path !== 'stall') return 'faulted';
    this.parked.push(access);
    return 'parked';
  }

  mapSingle(buffer: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#map('single', [{ address: buffer, length: sizeBytes }], direction, options)[0]
      ?.address as Iova;
  }

  unmapSingle(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#unmap('single', [{ address, length: sizeBytes }], direction);
  }

  mapPage(
    page: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
    options?: MapOptions,
  ): Iova {
    return this.mapSingle((page + offset) as PhysAddr, sizeBytes, direction, options);
  }

  unmapPage(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.unmapSingle(address, sizeBytes, direction);
  }

  mapResource(registers: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#map('resource', [{ address: registers, length: sizeBytes }], direction, options)[0]
      ?.address as Iova;
  }

  unmapResource(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#unmap('resource', [{ address, length: sizeBytes }], direction);
  }

  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[] {
    return this.#map('sg', entries, direction, options);
  }

  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection): void {
    this.#unmap('sg', segments, direction);
  }

  mapSgTable(table: SgTable, direction: DmaDirection, options?: MapOptions): void {
    table.segments = this.mapSg(table.entries, direction, options);
  }

  unmapSgTable(table: SgTable, direction: DmaDirection): void {
    this.unmapSg(table.segments, direction);
    table.segments = [];
  }

  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#sync('cpu', [{ address, length: sizeBytes }], direction);
  }

  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    this.#sync('device', [{ address, length: sizeBytes }], direction);
  }

  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection): void {
    this.#sync('cpu', segments, direction);
  }

  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection): void {
    this.#sync('device', segments, direction);
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

  needSync(): boolean {
    return true;
  }

  allocCoherent(sizeBytes: number): CoherentBuffer {
    const memory = this.#frames(sizeBytes);
    const at = memory.address;
    const view = this.#view;
    const isLive = (): void => {
      if (!this.live.some((live) => live.buffer === buffer)) throw new LabError('EINVAL', 'freed');
    };
    const buffer: CoherentBuffer = {
      dmaAddress: (at + this.#shift) as Iova,
      sizeBytes,
      read(offset, into) {
        isLive();
        view.read((at + offset) as PhysAddr, into);
      },
      write(offset, from) {
        isLive();
        view.write((at + offset) as PhysAddr, from);
      },
      read32(offset) {
        isLive();
        return view.read32((at + offset) as PhysAddr);
      },
      write32(offset, value) {
        isLive();
        view.write32((at + offset) as PhysAddr, value);
      },
    };
    this.#record('coherent', buffer, 'bidirectional', [memory]);
    return buffer;
  }

  freeCoherent(buffer: CoherentBuffer): void {
    this.#free('coherent', buffer);
  }

  allocNoncoherent(sizeBytes: number, direction: DmaDirection): NoncoherentBuffer {
    const memory = this.#frames(sizeBytes);
    const { address } = memory;
    const buffer = { dmaAddress: (address + this.#shift) as Iova, sizeBytes, direction, address };
    this.#record('noncoherent', buffer, direction, [memory]);
    return buffer;
  }

  freeNoncoherent(buffer: NoncoherentBuffer): void {
    this.#free('noncoherent', buffer);
  }

  allocNoncontiguous(sizeBytes: number, direction: DmaDirection): NoncontiguousBuffer {
    const memory = this.#frames(sizeBytes);
    const dmaAddress = (memory.address + this.#shift) as Iova;
    const table = { entries: [memory], segments: [{ address: dmaAddress, length: sizeBytes }] };
    const buffer = { dmaAddress, sizeBytes, direction, table };
    this.#record('noncontiguous', buffer, direction, [memory]);
    return buffer;
  }

  freeNoncontiguous(buffer: NoncontiguousBuffer): void {
    this.#free('noncontiguous', buffer);
  }

  mmap(_process: unknown, buffer: DmaBuffer): VirtAddr {
    this.#ownerOf(buffer);
    return 0x1000 as VirtAddr;
  }

  getSgTable(buffer: DmaBuffer): SgTable {
    return { entries: this.#ownerOf(buffer).memory, segments: [] };
  }

  setMask(): void {
    this.calls.push('setMask');
  }

  setStreamingMask(): void {
    this.calls.push('setStreamingMask');
  }

  setCoherentMask(): void {
    this.calls.push('setCoherentMask');
  }

  setParameters(): void {
    this.calls.push('setParameters');
  }

  readonly requiredMask = 0xffff;
  readonly isAddressingLimited = true;
  readonly maxMappingSize = 0x10_0000;
  readonly optMappingSize = 0x2_0000;
  readonly mergeBoundary = 4095;

  tryAllocIova(buffer: PhysAddr, sizeBytes: number): IovaReservation | undefined {
    if (this.#path === 'direct') return undefined;
    const reservation = { address: (this.#nextReservation + (buffer % 4096)) as Iova, sizeBytes };
    this.#nextReservation += 0x10_0000;
    this.reservations.add(reservation);
    return reservation;
  }

  linkIova(
    reservation: IovaReservation,
    buffer: PhysAddr,
    offset: number,
    sizeBytes: number,
    direction: DmaDirection,
  ): void {
    this.#checkReservation(reservation);
    const address = (reservation.address + offset) as Iova;
    const segments = [{ address, length: sizeBytes }];
    this.live.push({
      type: 'linked',
      segments,
      direction,
      reservation,
      memory: [{ address: buffer, length: sizeBytes }],
    });
  }

  syncIova(reservation: IovaReservation): void {
    this.#checkReservation(reservation);
  }

  unlinkIova(reservation: IovaReservation, offset: number, sizeBytes: number, direction: DmaDirection): void {
    this.#checkReservation(reservation);
    const start = reservation.address + offset;
    const pieces = this.live.filter(
      ({ segments: [s], reservation: r }) =>
        r === reservation && s !== undefined && s.address >= start && s.address < start + sizeBytes,
    );
    const bytes = pieces.reduce((sum, { segments: [s] }) => sum + (s?.length ?? 0), 0);
    if (bytes !== sizeBytes || pieces.some((piece) => piece.direction !== direction)) {
      throw new LabError('EINVAL', 'not linked like that');
    }
    for (const piece of pieces) this.#remove(piece);
  }

  destroyIova(reservation: IovaReservation, linkedBytes: number, direction: DmaDirection): void {
    if (linkedBytes > 0) this.unlinkIova(reservation, 0, linkedBytes, direction);
    this.freeIova(reservation);
  }

  freeIova(reservation: IovaReservation): void {
    this.#checkReservation(reservation);
    if (this.live.some((live) => live.reservation === reservation)) throw new LabError('EINVAL', 'linked');
    this.reservations.delete(reservation);
  }

  get reservedBytes(): number {
    return [...this.reservations.keys()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  get mappedBytes(): number {
    return this.live.reduce(
      (sum, { segments }) => sum + segments.reduce((s, { length }) => s + length, 0),
      0,
    );
  }

  isStale(address: Iova): boolean {
    return this.#stale.some(({ segments }) =>
      segments.some((s) => s.address <= address && address < s.address + s.length),
    );
  }

  #map(
    type: string,
    entries: readonly SgEntry[],
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): readonly DmaSegment[] {
    this.calls.push(`map ${type} ${listText(entries)} ${direction}`);
    if (this.isFull) {
      if (options?.errorAsValue === true) return [{ address: DMA_MAPPING_ERROR, length: 0 }];
      throw new LabError('ENOSPC', 'full');
    }
    const segments = entries.map(({ address, length }) => ({
      address: (address + this.#shift) as Iova,
      length,
    }));
    this.live.push({ type, segments, direction, memory: entries });
    return segments;
  }

  #unmap(type: string, segments: readonly DmaSegment[], direction: DmaDirection): void {
    this.calls.push(`unmap ${type} ${listText(segments)} ${direction}`);
    const found = this.live.find(
      (live) => live.type === type && live.direction === direction && isSame(live.segments, segments),
    );
    if (found === undefined) throw new LabError('EINVAL', 'not mapped like that');
    this.#remove(found);
  }

  #sync(owner: string, segments: readonly DmaSegment[], direction: DmaDirection): void {
    this.calls.push(`sync for ${owner} ${listText(segments)} ${direction}`);
    for (const { address, length } of segments) {
      const isMapped = this.live.some(
        (live) =>
          live.type !== 'coherent' &&
          (live.direction === 'bidirectional' || live.direction === direction) &&
          live.segments.some((s) => s.address <= address && address + length <= s.address + s.length),
      );
      if (!isMapped) throw new LabError('EINVAL', 'not mapped like that');
    }
  }

  #record(type: string, buffer: DmaBuffer, direction: DmaDirection, memory: readonly SgEntry[]): void {
    const segments = [{ address: buffer.dmaAddress, length: buffer.sizeBytes }];
    this.live.push({ type, segments, direction, buffer, memory });
  }

  #free(type: string, buffer: DmaBuffer): void {
    this.calls.push(`free ${type} ${hex(buffer.dmaAddress)}`);
    const found = this.#ownerOf(buffer);
    if (found.type !== type) throw new LabError('EINVAL', 'not allocated like that');
    this.#remove(found);
  }

  #ownerOf(buffer: DmaBuffer): Live {
    const found = this.live.find((live) => live.buffer === buffer);
    if (found === undefined) throw new LabError('EINVAL', 'not a buffer of this device');
    return found;
  }

  #remove(live: Live): void {
    this.live.splice(this.live.indexOf(live), 1);
    if (this.#path === 'lazy' && live.type !== 'linked') this.#stale.push(live);
  }

  #checkReservation(reservation: IovaReservation): void {
    if (!this.reservations.has(reservation)) throw new LabError('EINVAL', 'not a reservation');
  }

  #frames(sizeBytes: number): SgEntry {
    const address = this.#nextFrame as PhysAddr;
    this.#nextFrame += Math.ceil(sizeBytes / 4096) * 4096;
    return { address, length: sizeBytes };
  }

  #translate({ address, length, isWrite }: BusAccess): PhysAddr | undefined {
    for (const { segments, memory, direction } of [...this.live, ...this.#stale]) {
      if (direction === (isWrite ? 'to-device' : 'from-device')) continue;
      for (const [i, s] of segments.entries()) {
        if (s.address > address || address + length > s.address + s.length) continue;
        return ((memory[i] as SgEntry).address + address - s.address) as PhysAddr;
      }
    }
    return undefined;
  }
}

function isSame(a: readonly DmaSegment[], b: readonly DmaSegment[]): boolean {
  return a.length === b.length && a.every((s, i) => s.address === b[i]?.address && s.length === b[i].length);
}

function listText(ranges: readonly { readonly address: number; readonly length: number }[]): string {
  return ranges.map(({ address, length }) => `${hex(address)}+${length}`).join(',');
}
