/**
 * One device's DMA operations. What is the same for every way to memory stands here: argument checks, masks, the record of
 * what is mapped, cache maintenance, events (the kernel's kernel/dma/mapping.c is the common front end in the same way).
 */
import type { Device } from '@iommu-lab/driver-core';
import {
  type CacheMaintenance,
  hex,
  type Iova,
  isAligned,
  LabError,
  type MemoryPort,
  offsetBy,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import { checkMask, checkPiece, checkSize } from './check-arguments.ts';
import { CoherentView, prepareFrames, retireFrames } from './coherent.ts';
import { syncForCpu, syncForDevice } from './cpu-sync.ts';
import type { CoherentBuffer, DmaDirection, DmaOps, DmaSegment, MapOptions, SgEntry } from './dma-ops.ts';
import { type LiveMapping, LiveMappings, type MappingKind } from './live-mappings.ts';
import type { DmaPath } from './path.ts';
import type { DmaWiring } from './ports.ts';
import { protectionFor } from './prot.ts';
import { traceMapping, traceSyncSg, traceSyncSingle } from './trace.ts';

const FRAME_BYTES = 4096;

export class DeviceDmaOps implements DmaOps {
  readonly kind: string;
  /** What the driver has not given back. */
  readonly live: LiveMappings;
  readonly #world: World;
  readonly #device: Device;
  readonly #path: DmaPath;
  readonly #frames: DmaWiring['frames'];
  /** The CPU's view of coherent memory. */
  readonly #view: MemoryPort;
  /** Undefined when there is nothing to keep in step: the device snoops, or there is no cache. */
  readonly #maintenance: CacheMaintenance | undefined;
  readonly #coherent = new Map<CoherentBuffer, LiveMapping>();

  constructor(world: World, device: Device, path: DmaPath, wiring: DmaWiring) {
    this.#world = world;
    this.#device = device;
    this.#path = path;
    this.#frames = wiring.frames;
    this.#view = device.isDmaCoherent ? wiring.memory.cached : wiring.memory.uncached;
    this.#maintenance = device.isDmaCoherent ? undefined : wiring.maintenance;
    this.kind = path.kind;
    this.live = new LiveMappings(device.name);
  }

  get mappedBytes(): number {
    return this.live.bytes;
  }

  mapSingle(buffer: PhysAddr, sizeBytes: number, direction: DmaDirection, options?: MapOptions): Iova {
    return this.#map('page', [{ address: buffer, length: sizeBytes }], direction, options)[0]
      ?.address as Iova;
  }

  unmapSingle(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    const mapping = this.live.find('page', [{ address, length: sizeBytes }], direction);
    this.#unmap(mapping, options);
    traceMapping(this.#world, this.#device, 'unmap_page', mapping, options);
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
    return this.mapSingle(offsetBy(page, offset), sizeBytes, direction, options);
  }

  unmapPage(address: Iova, sizeBytes: number, direction: DmaDirection, options?: MapOptions): void {
    this.unmapSingle(address, sizeBytes, direction, options);
  }

  mapSg(entries: readonly SgEntry[], direction: DmaDirection, options?: MapOptions): readonly DmaSegment[] {
    return this.#map('sg', entries, direction, options);
  }

  unmapSg(segments: readonly DmaSegment[], direction: DmaDirection, options?: MapOptions): void {
    const mapping = this.live.find('sg', segments, direction);
    traceMapping(this.#world, this.#device, 'unmap_sg', mapping, options);
    this.#unmap(mapping, options);
  }

  syncSingleForCpu(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    const pieces = this.#range(address, sizeBytes, direction);
    if (this.#maintenance !== undefined) syncForCpu(this.#maintenance, pieces, direction);
    traceSyncSingle(this.#world, this.#device, 'sync_single_for_cpu', address, sizeBytes, direction);
  }

  syncSingleForDevice(address: Iova, sizeBytes: number, direction: DmaDirection): void {
    const pieces = this.#range(address, sizeBytes, direction);
    if (this.#maintenance !== undefined) syncForDevice(this.#maintenance, pieces, direction);
    traceSyncSingle(this.#world, this.#device, 'sync_single_for_device', address, sizeBytes, direction);
  }

  syncSgForCpu(segments: readonly DmaSegment[], direction: DmaDirection): void {
    const { pieces } = this.live.findList(segments, direction);
    if (this.#maintenance !== undefined) syncForCpu(this.#maintenance, pieces, direction);
    traceSyncSg(this.#world, this.#device, 'sync_sg_for_cpu', segments, direction);
  }

  syncSgForDevice(segments: readonly DmaSegment[], direction: DmaDirection): void {
    const { pieces } = this.live.findList(segments, direction);
    if (this.#maintenance !== undefined) syncForDevice(this.#maintenance, pieces, direction);
    traceSyncSg(this.#world, this.#device, 'sync_sg_for_device', segments, direction);
  }

  allocCoherent(sizeBytes: number, options?: MapOptions): CoherentBuffer {
    checkSize(this.#device, sizeBytes);
    if (this.#world.fail('dma-mapping.coherent')) {
      throw new LabError('ENOMEM', `${this.#device.name}: no coherent memory (failpoint)`, { sizeBytes });
    }
    const mask = this.#device.coherentDmaMask;
    const frames = this.#path.allocateMemory(sizeBytes, mask);
    let mapping: LiveMapping;
    try {
      prepareFrames(this.#view, this.#maintenance, frames);
      mapping = this.#reach('coherent', frames, sizeBytes, mask, 'bidirectional', options);
    } catch (error) {
      this.#freeFrames(frames);
      throw error;
    }
    const buffer = new CoherentView(this.#view, mapping);
    this.#coherent.set(buffer, mapping);
    traceMapping(this.#world, this.#device, 'alloc', mapping, options);
    return buffer;
  }

  freeCoherent(buffer: CoherentBuffer): void {
    const mapping = this.#coherent.get(buffer);
    if (mapping === undefined) {
      throw new LabError('EINVAL', `${this.#device.name}: not a coherent buffer of this device (any more)`, {
        device: this.#device.name,
        address: buffer.dmaAddress,
      });
    }
    traceMapping(this.#world, this.#device, 'free', mapping, undefined);
    this.#coherent.delete(buffer);
    if (buffer instanceof CoherentView) buffer.revoke();
    this.#path.unmap(mapping, mapping.site);
    this.live.remove(mapping);
    this.#freeFrames(mapping.pieces);
  }

  setMask(mask: number): void {
    checkMask(this.#device, mask, this.#path.smallestMask);
    this.#device.dmaMask = mask;
    this.#device.coherentDmaMask = mask;
  }

  setCoherentMask(mask: number): void {
    checkMask(this.#device, mask, this.#path.smallestMask);
    this.#device.coherentDmaMask = mask;
  }

  #map(
    kind: MappingKind,
    entries: readonly SgEntry[],
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): readonly DmaSegment[] {
    if (entries.length === 0) {
      throw new LabError('EINVAL', `${this.#device.name}: an empty scatter list`, {
        device: this.#device.name,
      });
    }
    for (const entry of entries) checkPiece(this.#device, entry);
    const sizeBytes = entries.reduce((sum, { length }) => sum + length, 0);
    const mapping = this.#reach(kind, entries, sizeBytes, this.#device.dmaMask, direction, options);
    // Last, when nothing can fail any more: an invalidation cannot be undone.
    if (this.#maintenance !== undefined && options?.skipCpuSync !== true) {
      syncForDevice(this.#maintenance, mapping.pieces, direction);
    }
    traceMapping(this.#world, this.#device, kind === 'sg' ? 'map_sg' : 'map_page', mapping, options);
    return mapping.segments;
  }

  #reach(
    kind: MappingKind,
    entries: readonly SgEntry[],
    sizeBytes: number,
    mask: number,
    direction: DmaDirection,
    options: MapOptions | undefined,
  ): LiveMapping {
    const site = options?.site ?? this.#device.name;
    const protection = protectionFor(direction, this.#device.isDmaCoherent);
    const reached = this.#path.map(entries, mask, protection, site);
    const mapping: LiveMapping = { ...reached, kind, direction, sizeBytes, site };
    this.live.add(mapping);
    return mapping;
  }

  /** The device first, then the CPU: what it still wrote before it lost its way is invalidated with the rest. */
  #unmap(mapping: LiveMapping, options: MapOptions | undefined): void {
    this.#path.unmap(mapping, options?.site ?? mapping.site);
    this.live.remove(mapping);
    if (this.#maintenance !== undefined && options?.skipCpuSync !== true) {
      syncForCpu(this.#maintenance, mapping.pieces, mapping.direction);
    }
  }

  #range(address: Iova, sizeBytes: number, direction: DmaDirection): readonly SgEntry[] {
    checkSize(this.#device, sizeBytes);
    return this.live.findRange(address, sizeBytes, direction);
  }

  #freeFrames(pieces: readonly SgEntry[]): void {
    retireFrames(this.#maintenance, pieces);
    for (const { address, length } of pieces) this.#frames.free(address, length);
  }
}
