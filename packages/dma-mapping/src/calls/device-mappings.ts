/**
 * One device's mappings: made through its path, recorded, handed over, taken back. Every call of the front end that gives
 * memory to the device or takes it away ends here (the kernel's kernel/dma/mapping.c is the common front end in the same way).
 */
import type { Device } from '@iommu-lab/driver-core';
import { type Iova, LabError, type World } from '@iommu-lab/machine';
import { checkDirection, checkPiece, checkSize } from './check-arguments.ts';
import { DMA_MAPPING_ERROR, type DmaDirection, type MapOptions, type SgEntry } from '../dma-ops.ts';
import { HandOver, type HandedPiece } from './hand-over.ts';
import { type LiveMapping, LiveMappings, type MappingKind } from './live-mappings.ts';
import type { DmaPath, PathMapping, PathRequest } from '../paths/path.ts';
import type { DmaWiring } from '../ports.ts';
import { protectionFor } from './prot.ts';

/** What a mapping is made with, besides its memory. */
export interface MappingAttributes {
  readonly kind: MappingKind;
  readonly direction: DmaDirection;
  readonly options: MapOptions | undefined;
}

export class DeviceMappings {
  readonly world: World;
  readonly device: Device;
  readonly path: DmaPath;
  /** What the driver has not given back. */
  readonly live: LiveMappings;
  readonly handOver: HandOver;

  constructor(world: World, device: Device, path: DmaPath, wiring: DmaWiring) {
    this.world = world;
    this.device = device;
    this.path = path;
    this.live = new LiveMappings(device.name);
    // Nothing is to be kept in step when the device snoops, or there is no cache.
    const maintenance = device.isDmaCoherent ? undefined : wiring.maintenance;
    this.handOver = new HandOver(maintenance, wiring.bounce);
  }

  /** Streaming memory goes to the device. @throws LabError as `DmaOps.mapSg`; nothing is mapped then */
  give(entries: readonly SgEntry[], attributes: MappingAttributes): LiveMapping {
    for (const entry of entries) checkPiece(this.device, entry);
    if (entries.length === 0) {
      throw new LabError('EINVAL', `${this.device.name}: an empty scatter list`, {
        device: this.device.name,
      });
    }
    const request = this.requestFor(attributes);
    return this.record(this.path.map(entries, request), entries, attributes);
  }

  /** Records what the path has mapped, and hands it over. Cannot fail: an invalidation cannot be undone. */
  record(
    mapped: PathMapping,
    entries: readonly SgEntry[],
    { kind, direction, options }: MappingAttributes,
  ): LiveMapping {
    let sizeBytes = 0;
    for (const { length } of entries) sizeBytes += length;
    const site = options?.site ?? this.device.name;
    const { segments, pieces, range, runs } = mapped;
    // Field by field: a spread was a quarter of a direct map.
    const plain: LiveMapping = { segments, pieces, range, kind, direction, sizeBytes, site };
    const mapping = runs === undefined ? plain : { ...plain, runs };
    this.live.add(mapping);
    this.handOver.mapped(pieces, direction, kind !== 'resource' && options?.skipCpuSync !== true);
    return mapping;
  }

  /**
   * Takes it back. The device first, then the CPU: what it still wrote before it lost its way is invalidated with the rest.
   * Bounce buffers are freed last, when their bytes are where they belong.
   */
  takeBack(mapping: LiveMapping, options: MapOptions | undefined): void {
    this.path.unmap(mapping, options?.site ?? mapping.site);
    this.unrecord(mapping, options);
  }

  /** The same for what has been unmapped already. */
  unrecord(mapping: LiveMapping, options: MapOptions | undefined): void {
    this.live.remove(mapping);
    try {
      if (mapping.kind !== 'resource' && options?.skipCpuSync !== true) {
        this.handOver.toCpu(mapping.pieces, mapping.direction);
      }
    } finally {
      this.handOver.release(mapping.pieces);
    }
  }

  /** The pieces under part of a streaming mapping. @throws LabError EINVAL when it is not all mapped, or not so */
  range(address: Iova, sizeBytes: number, direction: DmaDirection): readonly HandedPiece[] {
    checkDirection(this.device, direction);
    checkSize(this.device, sizeBytes);
    return this.live.findRange(address, sizeBytes, direction);
  }

  /** What the path is asked for. @throws LabError EINVAL on no direction, EOPNOTSUPP when coherence is required and not there */
  requestFor({ kind, direction, options }: MappingAttributes): PathRequest {
    checkDirection(this.device, direction);
    const { device } = this;
    const isResource = kind === 'resource';
    const isAllocation = kind === 'coherent' || kind === 'noncoherent' || kind === 'noncontiguous';
    if (options?.requireCoherent === true && !device.isDmaCoherent) {
      throw new LabError('EOPNOTSUPP', `${device.name} does not snoop: coherence is required`, {
        device: device.name,
      });
    }
    return {
      direction,
      protection: protectionFor(direction, {
        isCoherent: device.isDmaCoherent,
        isResource,
        isPrivileged: options?.privileged === true,
      }),
      mask: isAllocation ? device.coherentDmaMask : device.dmaMask,
      isResource,
      isAllocation,
      mayBounce: options?.requireCoherent !== true,
      site: options?.site ?? device.name,
    };
  }
}

/** Runs a map call; failures for want of something become a value where the caller asked for that. */
export function mapOrError(options: MapOptions | undefined, map: () => Iova): Iova {
  if (options?.errorAsValue !== true) return map();
  try {
    return map();
  } catch (error) {
    if (error instanceof LabError && error.code !== 'EINVAL') return DMA_MAPPING_ERROR;
    throw error;
  }
}
