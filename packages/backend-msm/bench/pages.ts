/** Which pages a case maps where, and how one sees that they are. floor/table.c has the same. */
import type { FloorCase } from '@iommu-lab/bench';
import type { IommuDomain } from '@iommu-lab/iommu-core';
import { Rig, type TableStorage } from './rig.ts';

export const PAGE_BYTES = 0x1000;
export const SECTION_BYTES = 0x100000;
const ALMOST_ALL = 0xe0000000;
/** Every so many pages one descriptor goes into the checksum. */
const SAMPLE_STEP = 1024;

/** Pages of one size side by side, in the domain of each bank. */
export interface Pages {
  readonly pageBytes: number;
  readonly count: number;
  /** Domains, each with its table and its bank. */
  readonly tables: number;
  readonly storage?: TableStorage;
}

export const SMALL: Pages = { pageBytes: PAGE_BYTES, count: 65536, tables: 1 };
export const LARGE: Pages = { pageBytes: 0x10000, count: 4096, tables: 4 };
export const SECTIONS: Pages = { pageBytes: SECTION_BYTES, count: 2048, tables: 16 };
export const SUPERSECTIONS: Pages = { pageBytes: 0x1000000, count: 96, tables: 16 };

/** A rig, and where the pages lie in it. */
export class PageRig extends Rig {
  readonly pages: Pages;
  readonly iova: number;
  /** Not congruent to the IOVA modulo the next larger size of page: each leaf is of the size that was asked for. */
  readonly address: number;
  readonly sizeBytes: number;

  constructor(pages: Pages) {
    super(pages.tables, pages.storage);
    this.pages = pages;
    this.sizeBytes = pages.pageBytes * pages.count;
    this.iova = this.sizeBytes > ALMOST_ALL ? 0 : 0x10000000;
    this.address = this.iova + pages.pageBytes;
  }

  get domain(): IommuDomain {
    return this.domains[0] as IommuDomain;
  }

  /** Some descriptors, summed up. */
  samples(): number {
    const { count, tables, pageBytes } = this.pages;
    let sum = 0;
    for (let table = 0; table < tables; table++) {
      for (let page = 0; page < count; page += SAMPLE_STEP)
        sum = (sum + this.leafAt(table, this.iova + page * pageBytes)) | 0;
    }
    return sum;
  }

  /** @throws Error unless every page leads where it must, or nowhere if `isMapped` is false */
  check(isMapped: boolean): void {
    const { count, pageBytes } = this.pages;
    for (const domain of this.domains) {
      for (let page = 0; page < count; page++) {
        const offset = page * pageBytes + (page % pageBytes);
        const found = domain.iovaToPhys(this.iova + offset);
        if (found !== (isMapped ? this.address + offset : undefined))
          throw new Error(`IOVA ${(this.iova + offset).toString(16)} leads to ${String(found)}`);
      }
      const mapped = isMapped ? this.sizeBytes : 0;
      if (domain.mappedBytes !== mapped) throw new Error(`${domain.mappedBytes} bytes are mapped`);
    }
  }
}

/** The same in C. */
export function floorOf(work: string, { pageBytes, count, tables }: Pages): FloorCase {
  return { program: 'table', args: [work, String(pageBytes), String(count), String(tables)] };
}
