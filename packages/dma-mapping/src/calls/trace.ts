/**
 * The layer's events: those of the kernel's trace group `dma` (include/trace/events/dma.h), by name and field. Relative to
 * `iommu:map` and `iommu:unmap` they come in the kernel's order: after the map; after the unmap of a page; before the
 * unmap of a scatter list or a coherent buffer.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type EventValue, hex, type Iova, type World } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment, MapOptions } from '../dma-ops.ts';
import type { LiveMapping } from './live-mappings.ts';

const DIRECTION_NAMES: Readonly<Record<DmaDirection, string>> = {
  'to-device': 'TO_DEVICE',
  'from-device': 'FROM_DEVICE',
  bidirectional: 'BIDIRECTIONAL',
};

type MapEvent =
  | 'map_page'
  | 'unmap_page'
  | 'map_resource'
  | 'unmap_resource'
  | 'map_sg'
  | 'unmap_sg'
  | 'alloc'
  | 'free'
  | 'alloc_pages'
  | 'free_pages'
  | 'alloc_sgt'
  | 'free_sgt';
type SyncEvent = 'sync_single_for_cpu' | 'sync_single_for_device' | 'sync_sg_for_cpu' | 'sync_sg_for_device';

/** Reports that `mapping` has been made or is being taken back. */
export function traceMapping(
  world: World,
  device: Device,
  event: MapEvent,
  mapping: LiveMapping,
  options: MapOptions | undefined,
): void {
  if (!world.events.isObserved) return;
  world.emit(`dma:${event}`, {
    device: device.name,
    dir: DIRECTION_NAMES[mapping.direction],
    ...addressFields(event, mapping),
    attrs: options?.skipCpuSync === true ? 'SKIP_CPU_SYNC' : '',
    site: options?.site ?? mapping.site,
  });
}

export function traceSyncSingle(
  world: World,
  device: Device,
  event: SyncEvent,
  address: Iova,
  sizeBytes: number,
  direction: DmaDirection,
): void {
  if (!world.events.isObserved) return;
  world.emit(`dma:${event}`, {
    device: device.name,
    dir: DIRECTION_NAMES[direction],
    dma_addr: hex(address),
    size: sizeBytes,
  });
}

export function traceSyncSg(
  world: World,
  device: Device,
  event: SyncEvent,
  segments: readonly DmaSegment[],
  direction: DmaDirection,
): void {
  if (!world.events.isObserved) return;
  world.emit(`dma:${event}`, {
    device: device.name,
    dir: DIRECTION_NAMES[direction],
    ...segmentFields(segments),
  });
}

function addressFields(event: MapEvent, mapping: LiveMapping): Record<string, EventValue> {
  const { segments, pieces, sizeBytes } = mapping;
  const whole = { dma_addr: hex(segments[0]?.address ?? 0), size: sizeBytes };
  const physAddrs = pieces.map(({ address }) => hex(address));
  switch (event) {
    case 'map_page':
    case 'map_resource':
      return { ...whole, phys_addr: physAddrs[0] ?? '' };
    case 'unmap_page':
    case 'unmap_resource':
      return whole;
    case 'map_sg':
      return {
        nents: pieces.length,
        ents: segments.length,
        ...segmentFields(segments),
        phys_addrs: physAddrs,
      };
    case 'unmap_sg':
      return { phys_addrs: physAddrs };
    case 'alloc':
    case 'free':
    case 'alloc_pages':
    case 'free_pages':
    case 'alloc_sgt':
    case 'free_sgt':
      return { ...whole, phys_addrs: physAddrs };
  }
}

function segmentFields(segments: readonly DmaSegment[]): Record<string, EventValue> {
  return {
    dma_addrs: segments.map(({ address }) => hex(address)),
    sizes: segments.map(({ length }) => length),
  };
}
