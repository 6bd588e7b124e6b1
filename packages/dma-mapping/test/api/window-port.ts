/** The bus of a device without an IOMMU. */
import type { DmaRange } from '@iommu-lab/driver-core';
import { type BusAccess, type BusPort, type MemoryPort, moveBytes, type PhysAddr } from '@iommu-lab/machine';

/** A bus between a device and memory, with windows where it has some. */
export class WindowPort implements BusPort {
  readonly #memory: MemoryPort;
  readonly #windows: readonly DmaRange[];

  constructor(memory: MemoryPort, windows: readonly DmaRange[]) {
    this.#memory = memory;
    this.#windows = windows;
  }

  access(access: BusAccess): 'done' | 'faulted' {
    const { address, length } = access;
    const window = this.#windows.find(
      (w) => w.busStart <= address && address + length <= w.busStart + w.sizeBytes,
    );
    if (this.#windows.length > 0 && window === undefined) return 'faulted';
    const at = window === undefined ? address : address - window.busStart + window.cpuStart;
    return moveBytes(this.#memory, at as PhysAddr, access) ? 'done' : 'faulted';
  }
}
