/** The fake IOMMU with a TLB: an access goes by what the TLB holds until that is invalidated, whatever the table says. */
import type { Endpoint } from '@iommu-lab/driver-core';
import type { World } from '@iommu-lab/machine';
import type { AttachTarget, Gather, PagingTable } from '../src/index.ts';
import { FakeIommu, type FakeOptions, FakeTable } from './fake-iommu.ts';
import type { Leaf } from './fake-table.ts';

/** A table whose removals leave one piece of table memory each, to be freed after the invalidation. */
class TlbTable extends FakeTable {
  readonly #park: TlbPark;

  constructor(iommu: TlbIommu, park: TlbPark) {
    super(iommu);
    this.#park = park;
  }

  override unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    const removed = super.unmapPages(iova, pageSize, count, gather);
    this.#park.waitingTables++;
    gather.freeLater(() => {
      if (this.#park.iommus.some((each) => each.holds(this, iova, removed))) {
        throw new Error('a table is freed while a TLB still has what it led to');
      }
      this.#park.waitingTables--;
    });
    return removed;
  }

  override sync(gather: Gather): void {
    for (const { iova, sizeBytes, pageSize } of gather.ranges) {
      for (let done = 0; done < sizeBytes; done += pageSize) {
        for (const each of this.#park.iommus) each.invalidate(this, iova + done);
      }
    }
    super.sync(gather);
  }
}

/** IOMMUs with a TLB, and what waits to be freed. */
export class TlbPark {
  readonly iommus: TlbIommu[] = [];
  /** Pieces of table memory that wait for an invalidation. */
  waitingTables = 0;

  add(world: World, provider: string, options: FakeOptions = {}): TlbIommu {
    const iommu = new TlbIommu(this, world, { ...options, provider });
    this.iommus.push(iommu);
    return iommu;
  }
}

export class TlbIommu extends FakeIommu {
  readonly #park: TlbPark;
  /** By context. */
  readonly #tlbs = new Map<string, Set<Leaf>>();
  readonly #current = new Map<string, AttachTarget>();

  constructor(park: TlbPark, world: World, options: FakeOptions) {
    super(world, options);
    this.#park = park;
  }

  override createPagingTable(): PagingTable {
    this.step('table', 'createPagingTable');
    const table = new TlbTable(this, this.#park);
    this.tables.add(table);
    return table;
  }

  override attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    super.attach(endpoint, target, previous);
    this.#current.set(endpoint.context, target);
    this.#tlbs.delete(endpoint.context);
  }

  override release(endpoint: Endpoint, previous: AttachTarget): void {
    super.release(endpoint, previous);
    this.#current.delete(endpoint.context);
    this.#tlbs.delete(endpoint.context);
  }

  /** Where an access in the context goes: by the TLB, else by the table, which the TLB then remembers. */
  access(context: string, iova: number): number | undefined {
    const tlb = this.#tlbs.get(context) ?? new Set();
    this.#tlbs.set(context, tlb);
    const leaf = leafOver(tlb, iova) ?? leafOver(this.#tableOf(context)?.leaves.values() ?? [], iova);
    if (leaf === undefined) return undefined;
    tlb.add(leaf);
    return leaf.address + iova - leaf.iova;
  }

  /** One invalidation: the entry over `iova` goes, in the contexts that are on the table. */
  invalidate(table: FakeTable, iova: number): void {
    for (const tlb of this.#tlbsOn(table)) {
      const leaf = leafOver(tlb, iova);
      if (leaf !== undefined) tlb.delete(leaf);
    }
  }

  holds(table: FakeTable, iova: number, sizeBytes: number): boolean {
    return this.#tlbsOn(table).some((tlb) =>
      [...tlb].some((leaf) => leaf.iova >= iova && leaf.iova < iova + sizeBytes),
    );
  }

  #tlbsOn(table: FakeTable): readonly Set<Leaf>[] {
    return [...this.#tlbs].filter(([context]) => this.#tableOf(context) === table).map(([, tlb]) => tlb);
  }

  #tableOf(context: string): FakeTable | undefined {
    const target = this.#current.get(context);
    return target?.kind === 'paging' ? (target.table as FakeTable) : undefined;
  }
}

function leafOver(leaves: Iterable<Leaf>, iova: number): Leaf | undefined {
  for (const leaf of leaves) if (iova >= leaf.iova && iova < leaf.iova + leaf.size) return leaf;
  return undefined;
}
