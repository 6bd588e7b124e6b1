/**
 * The bus hook that gives each device its DMA operations before its driver probes, and takes them away after it is gone.
 * Installed after the IOMMU layer's hook, whose default domain decides (the kernel's use_dma_iommu).
 */
import type { ConfigureHook, Device } from '@iommu-lab/driver-core';
import { hex, type World } from '@iommu-lab/machine';
import { DeviceDmaOps } from './calls/device-ops.ts';
import { DirectPath } from './paths/direct-path.ts';
import type { FlushStatistics } from './paths/flush-queue.ts';
import { DMA_OPS } from './get-dma-ops.ts';
import { IommuPath } from './paths/iommu-path.ts';
import { IovaSpace } from './paths/iova-space.ts';
import type { IovaFragmentation } from './iova/iova-allocator.ts';
import type { DmaPath } from './paths/path.ts';
import type { DmaDomain, DmaWiring } from './ports.ts';

const LAST_32_BIT = 0xffffffff;

/** The IOVA space behind a device, to look at. */
export interface IovaReport {
  /** Bytes of ranges that are out, waiting for a flush included. */
  readonly allocatedBytes: number;
  readonly fragmentation: IovaFragmentation;
  /** Of deferred invalidation; undefined in strict mode. */
  readonly deferred?: FlushStatistics & { readonly pending: number };
}

export class DmaLayer implements ConfigureHook {
  readonly #world: World;
  readonly #wiring: DmaWiring;
  /** IOVA space of each default domain; the devices of a group share theirs. */
  readonly #spaces = new WeakMap<DmaDomain, IovaSpace>();
  readonly #configured = new WeakMap<
    Device,
    { readonly ops: DeviceDmaOps; readonly space: IovaSpace | undefined }
  >();

  constructor(world: World, wiring: DmaWiring) {
    this.#world = world;
    this.#wiring = wiring;
  }

  /**
   * Chooses: a way of the bus's own; else a device behind an IOMMU whose default domain is a paging one is mapped through it,
   * any other directly. (Behind a blocked default domain that means addresses which fault, as in the kernel.)
   * @throws LabError EFAULT when the bus's windows do not meet the aperture of the IOMMU
   */
  configure(device: Device): void {
    const own = this.#wiring.pathOf?.(device);
    const space = own === undefined ? this.#spaceFor(device) : undefined;
    const ops = new DeviceDmaOps(this.#world, device, own ?? this.#pathOf(device, space), this.#wiring);
    this.#configured.set(device, { ops, space });
    device.set(DMA_OPS, this.#wiring.debug?.wrap(device, ops) ?? ops);
  }

  /**
   * Takes the operations away. What the driver left mapped is not unmapped and its memory not freed, since the device may
   * still use it; the event `dma:pending_at_release` tells (the kernel's dma-debug: "device driver has pending
   * DMA allocations while released from device"). What waits for a flush is flushed.
   */
  cleanup(device: Device): void {
    device.clear(DMA_OPS);
    this.#wiring.debug?.released(device);
    this.flush(device);
    const ops = this.#configured.get(device)?.ops;
    this.#configured.delete(device);
    if (ops === undefined || ops.mappedBytes + ops.reservedBytes === 0) return;
    const { count, bytes, example } = ops.live;
    this.#world.emit('dma:pending_at_release', {
      device: device.name,
      count,
      size: bytes,
      ...(ops.reservedBytes > 0 && { reserved: ops.reservedBytes }),
      ...(example && {
        example: {
          dma_addr: hex(example.segments[0]?.address ?? 0),
          size: example.sizeBytes,
          kind: example.kind,
          site: example.site,
        },
      }),
    });
  }

  /** The IOVA space that the device maps in; undefined without an IOMMU. */
  iovaReport(device: Device): IovaReport | undefined {
    const space = this.#configured.get(device)?.space;
    if (space === undefined) return undefined;
    const { allocator, queue } = space;
    return {
      allocatedBytes: allocator.allocatedBytes,
      fragmentation: allocator.fragmentation(),
      ...(queue && { deferred: { ...queue.statistics, pending: queue.pending } }),
    };
  }

  /** What was unmapped for the device stops working now, also where invalidation is deferred. */
  flush(device: Device): void {
    this.#configured.get(device)?.space?.queue?.flush();
  }

  #pathOf(device: Device, space: IovaSpace | undefined): DmaPath {
    const { frames, bounce, firstRamAddress = 0, lastRamAddress = LAST_32_BIT } = this.#wiring;
    if (space !== undefined) return new IommuPath({ device, space, frames, bounce });
    const isForced = this.#wiring.forceBounce?.(device) === true;
    return new DirectPath({ device, frames, bounce, isForced, firstRamAddress, lastRamAddress });
  }

  /** The space of the paging domain that the device is mapped through, if there is one. */
  #spaceFor(device: Device): IovaSpace | undefined {
    const { iommu } = this.#wiring;
    const domain = device.endpoints.length > 0 ? iommu?.dmaMappingsOf(device) : undefined;
    if (domain?.kind !== 'paging') return undefined;
    let space = this.#spaces.get(domain);
    if (space === undefined) {
      space = new IovaSpace(this.#world, domain, this.#wiring);
      this.#spaces.set(domain, space);
    }
    space.admit(device, iommu);
    return space;
  }
}
