/**
 * The bus hook that gives each device its DMA operations before its driver probes, and takes them away after it is gone.
 * Installed after the IOMMU layer's hook, whose default domain decides (the kernel's use_dma_iommu). Always strict: an unmap
 * returns when the hardware has forgotten the mapping.
 */
import type { ConfigureHook, Device } from '@iommu-lab/driver-core';
import { hex, type World } from '@iommu-lab/machine';
import { DeviceDmaOps } from './device-ops.ts';
import { DirectPath } from './direct-ops.ts';
import { DMA_OPS } from './get-dma-ops.ts';
import { IommuPath, iovaSpaceOf } from './iommu-ops.ts';
import type { IovaAllocator } from './iova-allocator.ts';
import type { DmaPath } from './path.ts';
import type { DmaDomain, DmaWiring } from './ports.ts';

export class DmaLayer implements ConfigureHook {
  readonly #world: World;
  readonly #wiring: DmaWiring;
  /** IOVA space of each default domain; the devices of a group share theirs. */
  readonly #spaces = new WeakMap<DmaDomain, IovaAllocator>();
  readonly #configured = new WeakMap<Device, DeviceDmaOps>();

  constructor(world: World, wiring: DmaWiring) {
    this.#world = world;
    this.#wiring = wiring;
  }

  /**
   * Chooses: a device behind an IOMMU whose default domain is a paging one is mapped through it, any other directly. (Behind
   * a blocked default domain that means addresses which fault, as in the kernel.)
   */
  configure(device: Device): void {
    const ops = new DeviceDmaOps(this.#world, device, this.#pathOf(device), this.#wiring);
    this.#configured.set(device, ops);
    device.set(DMA_OPS, ops);
  }

  /**
   * Takes the operations away. What the driver left mapped is not unmapped and its coherent memory not freed, since the
   * device may still use it; the event `dma:pending_at_release` tells (the kernel's dma-debug: "device driver has pending
   * DMA allocations while released from device").
   */
  cleanup(device: Device): void {
    device.clear(DMA_OPS);
    const live = this.#configured.get(device)?.live;
    this.#configured.delete(device);
    const example = live?.example;
    if (live === undefined || example === undefined) return;
    this.#world.emit('dma:pending_at_release', {
      device: device.name,
      count: live.count,
      size: live.bytes,
      example: {
        dma_addr: hex(example.segments[0]?.address ?? 0),
        size: example.sizeBytes,
        kind: example.kind,
        site: example.site,
      },
    });
  }

  #pathOf(device: Device): DmaPath {
    const { iommu, frames, firstRamAddress } = this.#wiring;
    const domain = device.endpoints.length > 0 ? iommu?.dmaMappingsOf(device) : undefined;
    if (domain?.kind !== 'paging') return new DirectPath(device.name, frames, firstRamAddress ?? 0);
    let space = this.#spaces.get(domain);
    if (space === undefined) {
      space = iovaSpaceOf(domain.capabilities);
      this.#spaces.set(domain, space);
    }
    for (const { kind, iova, sizeBytes } of iommu?.reservedRegionsOf?.(device) ?? []) {
      // Where software maps doorbells is for owners of whole domains; the DMA API maps its own (iova_reserve_iommu_regions).
      if (kind !== 'sw-msi') space.reserve(iova, sizeBytes);
    }
    return new IommuPath(this.#world, device.name, domain, space, frames);
  }
}
