/** The IOVA space of a domain, shared by the devices that translate by it, and what waits to come back to it. */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import type { Device } from '@iommu-lab/driver-core';
import { hex, type Iova, isPowerOfTwo, LabError, offsetBy, type World } from '@iommu-lab/machine';
import { FlushQueue } from './flush-queue.ts';
import { IovaAllocator } from '../iova/iova-allocator.ts';
import type { DmaDomain, DmaIommu, DmaWiring, IovaGeometry } from '../ports.ts';

const LAST_32_BIT = 0xffffffff;

/**
 * IOVA space from what a domain's hardware can do.
 *
 * An aperture that ends at a power of two ends where the address lines do: behind it comes address 0, and a device that
 * runs over the end of a buffer there looks like one that was given a null address. So the last granule is never handed
 * out. (Linux does hand it out: there the first mapping of a 32-bit device is at 0xfffff000.)
 */
export function iovaAllocatorOf(
  world: World,
  { pageSizes, aperture }: IovaGeometry,
  cpus: number = 1,
): IovaAllocator {
  const granule = pageSizes[0] ?? FRAME_BYTES;
  const last = isPowerOfTwo(aperture.last + 1) ? aperture.last - granule : aperture.last;
  return new IovaAllocator(world, { granule, start: aperture.start, last, cpus });
}

export class IovaSpace {
  readonly domain: DmaDomain;
  readonly allocator: IovaAllocator;
  /** Where unmapped ranges wait; undefined in strict mode. */
  readonly queue: FlushQueue | undefined;
  readonly #world: World;
  /** A device of the group is not trusted: nothing is deferred, whoever unmaps. */
  #isStrict = false;
  /** Devices that are past their first 4 GiB (the kernel's clearing of `pci_32bit_workaround`). */
  readonly #isPast32Bit = new WeakSet<Device>();

  constructor(world: World, domain: DmaDomain, wiring: DmaWiring) {
    const cpus = wiring.cpus ?? 1;
    this.#world = world;
    this.domain = domain;
    this.allocator = iovaAllocatorOf(world, domain.capabilities, cpus);
    if (wiring.invalidation !== 'deferred') return;
    // Without memory for a queue a domain is strict (iommu_dma_init_fq).
    if (world.fail('dma-mapping.flush-queue')) world.emit('dma:strict_instead_of_deferred', {});
    else this.queue = new FlushQueue(world, domain, this.allocator, { cpus, ...wiring.flushQueue });
  }

  /**
   * Keeps the space away from what a device cannot reach or firmware keeps for itself.
   * @throws LabError EFAULT when the device's bus has no window that meets the aperture
   */
  admit(device: Device, iommu: DmaIommu | undefined): void {
    if (device.isUntrusted && !this.#isStrict) {
      this.#isStrict = true;
      this.queue?.flush();
    }
    this.#reserveBetweenWindows(device);
    for (const { kind, iova, sizeBytes } of iommu?.reservedRegionsOf?.(device) ?? []) {
      // Where software maps doorbells is for owners of whole domains; the DMA API maps its own (iova_reserve_iommu_regions).
      if (kind !== 'sw-msi') this.allocator.reserve(iova, sizeBytes);
    }
  }

  /**
   * Takes a range at or below `limit`, below 4 GiB as long as there is any (iommu_dma_alloc_iova).
   * @throws LabError ENOSPC
   */
  allocate(device: Device, sizeBytes: number, limit: number): Iova {
    if (this.#world.fail('dma-mapping.iova')) {
      throw new LabError('ENOSPC', `${device.name}: no IOVA space (failpoint)`, { sizeBytes });
    }
    if (limit > LAST_32_BIT && !this.#isPast32Bit.has(device)) {
      const low = this.allocator.tryAllocate(sizeBytes, LAST_32_BIT);
      if (low !== undefined) return low;
      this.#isPast32Bit.add(device);
    }
    return this.allocator.allocate(sizeBytes, limit);
  }

  /** Unmaps a range that was mapped without holes, and gives its IOVAs back when nothing translates them any more. */
  unmap(device: Device, iova: Iova, sizeBytes: number, site: string): void {
    const queue = this.#isStrict ? undefined : this.queue;
    const isWhole =
      queue === undefined
        ? this.unmapNow(device, iova, sizeBytes, site)
        : this.#isAll(device, iova, sizeBytes, queue.unmap(iova, sizeBytes, site), site);
    if (isWhole && queue === undefined) this.allocator.free(iova, sizeBytes);
  }

  /**
   * Unmaps a range and waits; its IOVAs stay out.
   * @returns false when somebody had unmapped part of it: the IOVAs are theirs too, and must never be handed out again
   */
  unmapNow(device: Device, iova: Iova, sizeBytes: number, site: string): boolean {
    return this.#isAll(device, iova, sizeBytes, this.domain.unmap(iova, sizeBytes, site), site);
  }

  /** An unmap stops at a hole. What lies behind it goes too: its memory is about to be somebody else's. */
  #isAll(device: Device, iova: Iova, sizeBytes: number, unmapped: number, site: string): boolean {
    if (unmapped === sizeBytes) return true;
    const { granule } = this.allocator;
    for (let done = unmapped; done < sizeBytes;) {
      done += this.domain.unmap(offsetBy(iova, done), sizeBytes - done, site) || granule;
    }
    this.#world.emit('dma:iova_quarantined', {
      device: device.name,
      dma_addr: hex(iova),
      size: sizeBytes,
      unmapped_size: unmapped,
    });
    return false;
  }

  #reserveBetweenWindows({ name, dmaRanges }: Device): void {
    if (dmaRanges.length === 0) return;
    const { aperture } = this.domain.capabilities;
    const windows = dmaRanges
      .map(({ busStart, sizeBytes }) => ({ start: busStart, end: busStart + sizeBytes }))
      .sort((a, b) => a.start - b.start);
    if (!windows.some(({ start, end }) => start <= aperture.last && end > aperture.start)) {
      throw new LabError('EFAULT', `${name}: no window of its bus meets the aperture of its IOMMU`, { name });
    }
    let at = 0;
    for (const { start, end } of windows) {
      if (start > at) this.allocator.reserve(at, start - at);
      at = Math.max(at, end);
    }
    if (at <= aperture.last) this.allocator.reserve(at, aperture.last + 1 - at);
  }
}
