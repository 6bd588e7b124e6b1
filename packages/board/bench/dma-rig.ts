/**
 * A board with one device, nobody watching, and the ways it can do DMA. The device snoops unless a case says otherwise, so
 * that what is measured is the DMA API and the tables, and not the model of a cache that is maintained line by line.
 */
import { type DmaDirection, type DmaOps, getDmaOps, type SgEntry } from '@iommu-lab/dma-mapping';
import type { Iova, PhysAddr } from '@iommu-lab/machine';
import { createSystem, type DmaSettings, type System } from '../src/index.ts';

export type Way = 'direct' | 'strict' | 'deferred' | 'bounce';
export const WAYS: readonly Way[] = ['direct', 'strict', 'deferred', 'bounce'];

/** A context that no master of the board is wired to. */
export const SPARE_CONTEXT = 'gfx2d1_2d1';

const SETTINGS: Readonly<Record<Way, DmaSettings>> = {
  direct: {},
  strict: { invalidation: 'strict' },
  deferred: { invalidation: 'deferred' },
  bounce: { bounce: 'forced' },
};

const PAGE_BYTES = 4096;

/** Boots a system with a device that does DMA that way. */
export function deviceFor(way: Way, isDmaCoherent: boolean): { system: System; dma: DmaOps; name: string } {
  const system = createSystem({ dma: SETTINGS[way] });
  const behindIommu = way === 'strict' || way === 'deferred';
  const name = 'engine';
  const { device } = system.addDevice(name, {
    isDmaCoherent,
    ...(behindIommu && { context: SPARE_CONTEXT }),
  });
  return { system, dma: getDmaOps(device), name };
}

export class DmaRig {
  readonly system: System;
  readonly dma: DmaOps;
  /** Scattered single pages, and one that stays mapped so that the table is there. */
  readonly pages: readonly PhysAddr[];
  readonly #provider: string | undefined;
  readonly #kept: Iova;

  constructor(way: Way, pages: number, isDmaCoherent: boolean = true) {
    const { system, dma, name } = deviceFor(way, isDmaCoherent);
    this.system = system;
    this.dma = dma;
    dma.setParameters({ maxSegmentBytes: 0xffffffff });
    this.pages = Array.from({ length: pages }, () => system.frames.allocate());
    this.#provider = system.bus.device(name).endpoints[0]?.provider;
    this.#kept = dma.mapSingle(system.frames.allocate(), PAGE_BYTES, 'to-device');
  }

  get entries(): readonly SgEntry[] {
    return this.pages.map((address) => ({ address, length: PAGE_BYTES }));
  }

  /** Invalidation commands the device's IOMMU has had. */
  get invalidations(): number {
    return this.#provider === undefined ? 0 : this.system.smmu(this.#provider).statistics.invalidations;
  }

  /** Ends a run: what waits is invalidated now, so that every run does the same. */
  flush(): void {
    this.system.dma.flush(this.system.bus.device('engine'));
  }

  /** @throws Error unless nothing but what is kept is mapped */
  verify(): void {
    if (this.dma.mappedBytes !== PAGE_BYTES) throw new Error(`${this.dma.mappedBytes} bytes are mapped`);
    if (this.dma.isStale(this.#kept)) throw new Error('what is mapped is not stale');
  }
}

/** Maps and unmaps each page once. @returns a checksum of the addresses */
export function mapAndUnmapEach(
  { dma, pages }: DmaRig,
  offset: number,
  sizeBytes: number,
  direction: DmaDirection,
  rounds: number,
): number {
  let sum = 0;
  for (let round = 0; round < rounds; round++) {
    for (const page of pages) {
      const address = dma.mapSingle((page + offset) as PhysAddr, sizeBytes, direction);
      sum = (sum + (address % PAGE_BYTES)) | 0;
      dma.unmapSingle(address, sizeBytes, direction);
    }
  }
  return sum;
}
