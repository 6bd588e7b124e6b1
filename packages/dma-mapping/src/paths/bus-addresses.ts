/** What a bus makes of the CPU's addresses: the windows of its `dma-ranges` (include/linux/dma-direct.h, dma_range_map). */
import type { Device } from '@iommu-lab/driver-core';
import type { Iova } from '@iommu-lab/machine';

export class BusAddresses {
  readonly #device: Device;

  constructor(device: Device) {
    this.#device = device;
  }

  /** The bus address of a stretch of memory; undefined unless one window holds all of it. */
  toBus(cpuAddress: number, sizeBytes: number): Iova | undefined {
    const { dmaRanges } = this.#device;
    if (dmaRanges.length === 0) return cpuAddress as Iova;
    for (const { busStart, cpuStart, sizeBytes: windowBytes } of dmaRanges) {
      const offset = cpuAddress - cpuStart;
      if (offset >= 0 && offset + sizeBytes <= windowBytes) return (busStart + offset) as Iova;
    }
    return undefined;
  }

  /** Highest address of memory that some bus address up to `mask` reaches; -1 when none does. */
  highestCpuAddress(mask: number): number {
    const { dmaRanges, busDmaLimit } = this.#device;
    const limit = Math.min(mask, busDmaLimit);
    if (dmaRanges.length === 0) return limit;
    let highest = -1;
    for (const { busStart, cpuStart, sizeBytes } of dmaRanges) {
      const last = Math.min(busStart + sizeBytes - 1, limit);
      if (last >= busStart) highest = Math.max(highest, cpuStart + last - busStart);
    }
    return highest;
  }
}
