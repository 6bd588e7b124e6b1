/** What tests of address spaces share: IOMMUs that differ, and a look into the tables. */
import { expect } from '@jest/globals';
import type { World } from '@iommu-lab/machine';
import type { Iommu, IoAddressSpace, Protection } from '../src/index.ts';
import { FakeIommu, type FakeOptions, type FakeTable, K, M } from './fake-iommu.ts';

/** Other tables, other page sizes, a window, and rights of its own. */
export const ODD: FakeOptions = {
  tableKey: 'odd',
  capabilities: {
    pageSizes: [16 * K, M],
    aperture: { start: 64 * K, last: 2 ** 31 - 1 },
    lastPhysAddr: 2 ** 31 - 1,
    permissions: { readOnly: true, writeOnly: true, noExec: false, privileged: false },
  },
};

/** The fake's tables, with a smaller window and fewer page sizes. */
export const NARROW: FakeOptions = {
  tableKey: 'fake',
  capabilities: { pageSizes: [4 * K, 64 * K], aperture: { start: 0, last: 256 * M - 1 } },
};

/** Registers one more fake. */
export function addIommu(iommu: Iommu, world: World, provider: string, options: FakeOptions = {}): FakeIommu {
  const fake = new FakeIommu(world, { ...options, provider });
  iommu.registerInstance(fake);
  return fake;
}

/** A table page by page of 4 KiB: where it leads, with what rights. */
export function pagesOf(table: FakeTable): ReadonlyMap<number, string> {
  const pages = new Map<number, string>();
  for (const { iova, address, size, protection } of table.leaves.values()) {
    for (let done = 0; done < size; done += 4 * K) pages.set(iova + done, page(address + done, protection));
  }
  return pages;
}

/** How `pagesOf` writes a page. Write-only is read-write where reads cannot be refused: the comparison leaves that out. */
export function page(address: number, { write }: Protection): string {
  return `${address} ${write ? 'writable' : 'read-only'}`;
}

/** The tables that endpoints are on, of all those `space` has, map what it says and nothing else. */
export function expectSame(space: IoAddressSpace, fakes: readonly FakeIommu[]): void {
  const wanted = new Map<number, string>();
  for (const { iova, address, sizeBytes, protection } of space.mappings()) {
    for (let done = 0; done < sizeBytes; done += 4 * K)
      wanted.set(iova + done, page(address + done, protection));
  }
  const filled = fakes.flatMap((f) => [...f.tables]).filter((t) => t.leaves.size > 0);
  expect(filled.length).toBe(wanted.size === 0 ? 0 : space.domains.length);
  for (const table of filled) expect(sorted(pagesOf(table))).toEqual(sorted(wanted));
  for (const domain of space.domains) expect(domain.mappedBytes).toBe(space.mappedBytes);
}

function sorted(pages: ReadonlyMap<number, string>): readonly (readonly [number, string])[] {
  return [...pages].sort(([a], [b]) => a - b);
}
