/**
 * A paging domain that works, and the port of the masters behind it: a map from page to page. It takes the place of an
 * IOMMU under the real DMA layer; what is not mapped, or not for that direction, faults.
 */
import type { DmaDomain, SgEntry } from '@iommu-lab/dma-mapping';
import {
  type AccessStatus,
  type BusAccess,
  type BusPort,
  moveBytes,
  type PhysicalMemory,
  type PhysAddr,
  physAddr,
} from '@iommu-lab/machine';

type Protection = Parameters<DmaDomain['map']>[3];

const PAGE = 4096;

export class PagedDomain implements DmaDomain, BusPort {
  readonly kind = 'paging';
  readonly capabilities: DmaDomain['capabilities'] = {
    pageSizes: [PAGE],
    aperture: { start: 0, last: 0xffff_ffff },
  };
  readonly #memory: PhysicalMemory;
  readonly #pages = new Map<number, { readonly address: number; readonly protection: Protection }>();

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  map(iova: number, address: PhysAddr, sizeBytes: number, protection: Protection): void {
    for (let at = 0; at < sizeBytes; at += PAGE) {
      this.#pages.set(iova + at, { address: address + at, protection });
    }
  }

  mapSg(iova: number, entries: readonly SgEntry[], protection: Protection): number {
    let mapped = 0;
    for (const { address, length } of entries) {
      this.map(iova + mapped, address, length, protection);
      mapped += length;
    }
    return mapped;
  }

  unmap(iova: number, sizeBytes: number): number {
    let unmapped = 0;
    while (unmapped < sizeBytes && this.#pages.delete(iova + unmapped)) unmapped += PAGE;
    return unmapped;
  }

  unmapFast(iova: number, sizeBytes: number): number {
    return this.unmap(iova, sizeBytes);
  }

  sync(gather: Parameters<DmaDomain['sync']>[0]): void {
    gather.finish();
  }

  access(access: BusAccess): AccessStatus {
    const offset = access.address % PAGE;
    const page = this.#pages.get(access.address - offset);
    const isAllowed = access.isWrite ? page?.protection.write : page?.protection.read;
    if (page === undefined || isAllowed !== true) return 'faulted';
    return moveBytes(this.#memory, physAddr(page.address + offset), access) ? 'done' : 'faulted';
  }
}
