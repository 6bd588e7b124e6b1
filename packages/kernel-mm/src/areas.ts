/** Which addresses of a process mean anything, and what they allow: the kernel's vm_area_struct. */
import { offsetBy, type VirtAddr } from '@iommu-lab/machine';

export interface MmapOptions {
  /** Pages get a frame when they are touched, and may be evicted. Unless given, all frames are there at once and stay. */
  readonly lazy?: boolean;
  /** Neither the process nor a device may write. */
  readonly readOnly?: boolean;
}

export interface MmapFramesOptions {
  /** Neither the process nor a device may write. */
  readonly readOnly?: boolean;
  /** The process reads and writes past the cache, and its table says so (the kernel's pgprot_dmacoherent). */
  readonly uncached?: boolean;
}

export interface Area {
  /** First byte; page-aligned. */
  readonly start: VirtAddr;
  /** Exclusive; page-aligned. */
  readonly end: VirtAddr;
  /** Pages come when they are touched, and may be evicted. */
  readonly isLazy: boolean;
  readonly isReadOnly: boolean;
  /** Its frames are somebody else's and stay so, whatever becomes of the area (the kernel's VM_PFNMAP). */
  readonly isGiven: boolean;
}

export class Areas {
  /** Ascending, without overlaps. */
  #areas: Area[] = [];

  /** The areas of frames that are somebody else's. */
  get given(): readonly Area[] {
    return this.#areas.filter((area) => area.isGiven);
  }

  /** Adds an area above all others. */
  add(area: Area): void {
    this.#areas.push(area);
  }

  /** The area of an address; what is no address lies in none. */
  at(address: number): Area | undefined {
    if (!Number.isSafeInteger(address)) return undefined;
    const area = this.#areas[this.#firstEndingAbove(address)];
    return area !== undefined && area.start <= address ? area : undefined;
  }

  /** The areas that a range touches, or undefined when a byte of it lies in none. An empty range touches none. */
  covering(start: VirtAddr, sizeBytes: number): readonly Area[] | undefined {
    const end = offsetBy(start, sizeBytes);
    const found: Area[] = [];
    let at = start;
    while (at !== end) {
      const area = this.at(at);
      if (area === undefined) return undefined;
      found.push(area);
      at = area.end < end ? area.end : end;
    }
    return found;
  }

  /** Takes a page-aligned range away; an area that sticks out of it keeps what sticks out. */
  remove(start: VirtAddr, sizeBytes: number): void {
    const end = offsetBy(start, sizeBytes);
    this.#areas = this.#areas.flatMap((area) =>
      area.end <= start || area.start >= end
        ? [area]
        : [
            { ...area, end: start },
            { ...area, start: end },
          ].filter((rest) => rest.start < rest.end),
    );
  }

  /** All of them, ascending, as they are now. */
  all(): readonly Area[] {
    return [...this.#areas];
  }

  /** By bisection: an access of the CPU asks for each page. */
  #firstEndingAbove(address: number): number {
    let low = 0;
    let high = this.#areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#areas[middle] as Area).end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
