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

  /** Whether windows hold all of a stretch of memory, one behind the other if need be. */
  reachesAll(cpuAddress: number, sizeBytes: number): boolean {
    const { dmaRanges } = this.#device;
    if (dmaRanges.length === 0) return true;
    const end = cpuAddress + sizeBytes;
    let at = cpuAddress;
    for (const { cpuStart, sizeBytes: windowBytes } of [...dmaRanges].sort(
      (a, b) => a.cpuStart - b.cpuStart,
    )) {
      if (cpuStart <= at) at = Math.max(at, cpuStart + windowBytes);
    }
    return at >= end;
  }

  /** Highest bus address of memory up to `cpuAddress`. */
  highestBusAddress(cpuAddress: number): number {
    const { dmaRanges } = this.#device;
    if (dmaRanges.length === 0) return cpuAddress;
    const lasts = dmaRanges
      .filter(({ cpuStart }) => cpuStart <= cpuAddress)
      .map(({ busStart, cpuStart, sizeBytes }) => busStart + Math.min(sizeBytes - 1, cpuAddress - cpuStart));
    return Math.max(0, ...lasts);
  }

  /** Lowest bus address of memory from `cpuAddress` on; undefined when no window holds any of it. */
  lowestBusAddress(cpuAddress: number): number | undefined {
    const { dmaRanges } = this.#device;
    if (dmaRanges.length === 0) return cpuAddress;
    const starts = dmaRanges
      .filter(({ cpuStart, sizeBytes }) => cpuStart + sizeBytes > cpuAddress)
      .map(({ busStart, cpuStart }) => busStart + Math.max(0, cpuAddress - cpuStart));
    return starts.length === 0 ? undefined : Math.min(...starts);
  }

  /** Where memory for the device may begin: the start of each window, ascending. */
  get cpuStarts(): readonly number[] {
    const { dmaRanges } = this.#device;
    return dmaRanges.length === 0 ? [0] : dmaRanges.map(({ cpuStart }) => cpuStart).sort((a, b) => a - b);
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
