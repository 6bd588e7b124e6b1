/**
 * How KVM of 2.6.35 gave a guest's memory to its devices (virt/kvm/iommu.c), in own words, on the API of its time: each
 * piece of a memory slot is mapped at its guest-physical address in the largest page that fits, and taken back page by
 * page with whatever order that removes. Pinning is a count for each host frame.
 */
import type { Device } from '@iommu-lab/driver-core';
import type { IommuDomain } from '../../src/index.ts';
import {
  IOMMU_CACHE,
  IOMMU_CAP_CACHE_COHERENCY,
  IOMMU_READ,
  IOMMU_WRITE,
  type Linux2010,
} from '../../src/linux-2010/index.ts';

export const PAGE_SHIFT = 12;

export interface MemorySlot {
  /** First guest frame, and how many. */
  readonly base_gfn: number;
  readonly npages: number;
  /** First host frame; a slot is contiguous here. */
  readonly base_pfn: number;
  /** Bytes of the largest page that backs it on the host. */
  readonly host_page_size: number;
}

export class Kvm {
  readonly pins: Map<number, number> = new Map();
  readonly #linux: Linux2010;
  readonly #slots: readonly MemorySlot[];
  #domain: IommuDomain | null = null;
  #flags = 0;

  constructor(linux: Linux2010, slots: readonly MemorySlot[]) {
    this.#linux = linux;
    this.#slots = slots;
  }

  get domain(): IommuDomain | null {
    return this.#domain;
  }

  /** @returns 0, -ENODEV without IOMMU, -ENOMEM without domain, or what mapping failed with */
  map_guest(): number {
    const { iommu_found, iommu_domain_alloc, iommu_domain_has_cap } = this.#linux;
    if (!iommu_found()) return -19;
    this.#domain = iommu_domain_alloc();
    if (this.#domain === null) return -12;
    if (iommu_domain_has_cap(this.#domain, IOMMU_CAP_CACHE_COHERENCY)) this.#flags = IOMMU_CACHE;
    for (const slot of this.#slots) {
      const r = this.#map_pages(slot);
      if (r !== 0) {
        this.unmap_guest();
        return r;
      }
    }
    return 0;
  }

  assign_device(dev: Device): number {
    return this.#domain === null ? -19 : this.#linux.iommu_attach_device(this.#domain, dev);
  }

  deassign_device(dev: Device): void {
    if (this.#domain !== null) this.#linux.iommu_detach_device(this.#domain, dev);
  }

  unmap_guest(): void {
    if (this.#domain === null) return;
    for (const slot of this.#slots) this.#put_pages(slot.base_gfn, slot.npages);
    this.#linux.iommu_domain_free(this.#domain);
    this.#domain = null;
  }

  #map_pages(slot: MemorySlot): number {
    const { iommu_iova_to_phys, iommu_map } = this.#linux;
    const domain = this.#domain!;
    const end_gfn = slot.base_gfn + slot.npages;
    let gfn = slot.base_gfn;
    while (gfn < end_gfn) {
      if (iommu_iova_to_phys(domain, gfn << PAGE_SHIFT) !== 0) {
        gfn += 1;
        continue;
      }
      const pfn = slot.base_pfn + (gfn - slot.base_gfn);
      let order = Math.log2(slot.host_page_size) - PAGE_SHIFT;
      while (gfn + (1 << order) > end_gfn) order--;
      while (gfn % (1 << order) !== 0) order--;
      while (pfn % (1 << order) !== 0) order--;
      this.#pin(pfn, 1 << order);
      const prot = IOMMU_READ | IOMMU_WRITE | this.#flags;
      const r = iommu_map(domain, gfn << PAGE_SHIFT, pfn << PAGE_SHIFT, order, prot);
      if (r !== 0) {
        this.#unpin(pfn, 1 << order);
        this.#put_pages(slot.base_gfn, gfn - slot.base_gfn);
        return r;
      }
      gfn += 1 << order;
    }
    return 0;
  }

  #put_pages(base_gfn: number, npages: number): void {
    const { iommu_iova_to_phys, iommu_unmap } = this.#linux;
    let gfn = base_gfn;
    while (gfn < base_gfn + npages) {
      const phys = iommu_iova_to_phys(this.#domain!, gfn << PAGE_SHIFT);
      if (phys === 0) {
        gfn += 1;
        continue;
      }
      const order = iommu_unmap(this.#domain!, gfn << PAGE_SHIFT, 0);
      this.#unpin(phys >>> PAGE_SHIFT, 1 << order);
      gfn += 1 << order;
    }
  }

  #pin(pfn: number, npages: number): void {
    for (let i = pfn; i < pfn + npages; i++) this.pins.set(i, (this.pins.get(i) ?? 0) + 1);
  }

  #unpin(pfn: number, npages: number): void {
    for (let i = pfn; i < pfn + npages; i++) {
      const left = (this.pins.get(i) ?? 0) - 1;
      if (left === 0) this.pins.delete(i);
      else this.pins.set(i, left);
    }
  }
}
