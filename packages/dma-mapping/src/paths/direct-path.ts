/**
 * No IOMMU in between: the device drives what the bus makes of physical addresses (the kernel's kernel/dma/direct.c).
 * Scattered buffers stay as they are, entry by entry. What the device does not reach is bounced where there is a pool
 * (kernel/dma/swiotlb.c), else refused.
 */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import type { Device } from '@iommu-lab/driver-core';
import { alignUp, hex, type Iova, LabError } from '@iommu-lab/machine';
import type { BouncePool } from '../bounce/bounce-pool.ts';
import type { BounceReason } from '../bounce/bounce-slot.ts';
import { BusAddresses } from './bus-addresses.ts';
import type { SgEntry } from '../dma-ops.ts';
import type { DmaPath, MappedPiece, PathMapping, PathRequest } from './path.ts';
import type { FrameSource } from '../ports.ts';

export interface DirectPathParts {
  readonly device: Device;
  readonly frames: FrameSource;
  readonly bounce: BouncePool | undefined;
  /** Whether every mapping is bounced. */
  readonly isForced: boolean;
  /** Lowest and highest address of RAM. */
  readonly firstRamAddress: number;
  readonly lastRamAddress: number;
}

export class DirectPath implements DmaPath {
  readonly kind: string;
  readonly optMappingSize: number = Number.MAX_SAFE_INTEGER;
  readonly mergeBoundary: number = 0;
  readonly #parts: DirectPathParts;
  readonly #bus: BusAddresses;

  constructor(parts: DirectPathParts) {
    this.#parts = parts;
    this.#bus = new BusAddresses(parts.device);
    this.kind = parts.isForced ? 'bounce' : 'direct';
  }

  get smallestMask(): number {
    return (this.#bus.lowestBusAddress(this.#parts.firstRamAddress) ?? 0) + FRAME_BYTES - 1;
  }

  get requiredMask(): number {
    const last = this.#bus.highestBusAddress(this.#parts.lastRamAddress);
    return 2 ** Math.ceil(Math.log2(last + 1)) - 1;
  }

  get isAddressingLimited(): boolean {
    const { device, firstRamAddress, lastRamAddress } = this.#parts;
    if (Math.min(device.dmaMask, device.busDmaLimit) < this.requiredMask) return true;
    return !this.#bus.reachesAll(firstRamAddress, lastRamAddress + 1 - firstRamAddress);
  }

  get maxMappingSize(): number {
    const { bounce, isForced, device } = this.#parts;
    if (bounce === undefined || !(isForced || this.isAddressingLimited)) return Number.MAX_SAFE_INTEGER;
    return bounce.maxMappingSize(device.dmaParameters.minAlignMask);
  }

  map(entries: readonly SgEntry[], request: PathRequest): PathMapping {
    const pieces: MappedPiece[] = [];
    try {
      for (const entry of entries) pieces.push(this.#mapEntry(entry, request));
    } catch (error) {
      for (const { bounce } of pieces) if (bounce !== undefined) this.#parts.bounce?.release(bounce);
      throw error;
    }
    const segments = pieces.map(({ iova, length }) => ({ address: iova, length }));
    return { segments, pieces, range: { start: 0 as Iova, sizeBytes: 0 } };
  }

  unmap(): void {
    // Nothing was set up for the mapping, so the device can go on reaching it: that is what "direct" means.
  }

  allocateMemory(sizeBytes: number, mask: number): readonly SgEntry[] {
    const length = alignUp(sizeBytes, FRAME_BYTES);
    const { device, frames } = this.#parts;
    // A coherent buffer is aligned to its size (Documentation/core-api/dma-api.rst, dma_alloc_coherent).
    const alignment = 2 ** Math.ceil(Math.log2(length));
    for (const lowest of this.#bus.cpuStarts) {
      // The lowest run of a window is what there is: if it lies too high, there is none lower.
      const address = frames.allocateContiguous(length, alignment, lowest);
      if (this.#reach(address, length, mask) !== undefined) return [{ address, length }];
      frames.free(address, length);
    }
    throw new LabError(
      'ENOMEM',
      `the memory there is for ${device.name} is out of reach of its mask ${hex(mask)}`,
      { device: device.name, length, mask },
    );
  }

  freeMemory(pieces: readonly SgEntry[]): void {
    for (const { address, length } of pieces) this.#parts.frames.free(address, length);
  }

  isStale(): boolean {
    return false;
  }

  #mapEntry(entry: SgEntry, request: PathRequest): MappedPiece {
    const { isForced, device } = this.#parts;
    if (request.isResource) {
      // Registers are where the bus has them, whatever its windows onto memory (dma_direct_map_phys).
      const isReached = entry.address + entry.length - 1 <= Math.min(request.mask, device.busDmaLimit);
      if (isForced || !isReached) throw this.#unreachable(entry, request, 'registers are never bounced');
      return { iova: entry.address as number as Iova, ...entry };
    }
    const iova = this.#reach(entry.address, entry.length, request.mask);
    if (iova !== undefined && (!isForced || request.isAllocation)) return { iova, ...entry };
    return this.#bounce(entry, request, isForced ? 'forced' : 'out-of-reach');
  }

  #bounce(entry: SgEntry, request: PathRequest, reason: BounceReason): MappedPiece {
    const { bounce, device } = this.#parts;
    if (!request.mayBounce) throw this.#unreachable(entry, request, 'it may not be bounced');
    if (bounce === undefined) {
      throw this.#unreachable(
        entry,
        request,
        'there is no bounce pool: place the buffer lower or give the device an IOMMU',
      );
    }
    const limit = this.#bus.highestCpuAddress(request.mask);
    const { minAlignMask, segmentBoundaryMask } = device.dmaParameters;
    const most = Math.min(bounce.maxMappingSize(minAlignMask), segmentBoundaryMask + 1);
    if (entry.length > most)
      throw this.#unreachable(entry, request, `a bounce buffer has at most ${most} bytes`);
    if (bounce.lowestAddress + entry.length - 1 > limit) {
      throw this.#unreachable(entry, request, 'and not the bounce pool either');
    }
    const pool = bounce.lowestAddress;
    const busOffset = (this.#bus.toBus(pool, 1) ?? pool) - pool;
    const slot = bounce.map({
      original: entry.address,
      sizeBytes: entry.length,
      reason,
      site: request.site,
      deviceName: device.name,
      direction: request.direction,
      limit,
      allocAlignMask: 0,
      minAlignMask,
      segmentBoundaryMask,
      busOffset,
    });
    // The pool keeps the low bits of the CPU's address, and may lie in several windows.
    const iova = this.#reach(slot.address, entry.length, request.mask);
    const boundary = segmentBoundaryMask + 1;
    const isKept =
      iova !== undefined &&
      (iova % boundary) + entry.length <= boundary &&
      (iova - slot.address) % (minAlignMask + 1) === 0;
    if (!isKept) {
      bounce.release(slot);
      throw this.#unreachable(entry, request, 'and no bounce buffer as the device needs it');
    }
    return { iova, address: slot.address, length: entry.length, bounce: slot };
  }

  /** Where the device finds the memory, or undefined: nowhere (dma_capable). */
  #reach(address: number, length: number, mask: number): Iova | undefined {
    const bus = this.#bus.toBus(address, length);
    const limit = Math.min(mask, this.#parts.device.busDmaLimit);
    return bus !== undefined && bus + length - 1 <= limit ? bus : undefined;
  }

  #unreachable({ address, length }: SgEntry, { mask }: PathRequest, why: string): LabError {
    const { device } = this.#parts;
    return new LabError(
      'EIO',
      `${device.name} cannot address ${hex(address)}..${hex(address + length - 1)} with mask ${hex(mask)}; ${why}`,
      { device: device.name, address, length, mask },
    );
  }
}
