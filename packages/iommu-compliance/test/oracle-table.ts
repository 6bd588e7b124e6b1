import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import { LabError, type PhysAddr, type World } from '@iommu-lab/machine';
import type { Defect } from './oracle-backend.ts';

export interface Leaf {
  readonly iova: number;
  readonly address: number;
  readonly pageSize: number;
  readonly protection: Protection;
}

/** Bytes a table takes for itself, and for each leaf. */
export const ROOT_BYTES = 64;
const LEAF_BYTES = 16;

/** What a table needs of the IOMMU it belongs to. */
export interface OracleHost {
  readonly world: World;
  readonly pageSizes: readonly number[];
  readonly defect: Defect | undefined;
  allocatedBytes: number;
  invalidate(iova: number, sizeBytes: number): void;
}

/** A page table that is a map from IOVA to page. */
export class OracleTable implements PagingTable {
  readonly leaves: Map<number, Leaf> = new Map();
  readonly #host: OracleHost;

  constructor(host: OracleHost) {
    if (host.world.fail('oracle.root')) throw new LabError('ENOMEM', 'no memory for a table');
    this.#host = host;
    host.allocatedBytes += ROOT_BYTES;
  }

  get tableBytes(): number {
    return ROOT_BYTES + this.leaves.size * LEAF_BYTES;
  }

  find(iova: number): Leaf | undefined {
    for (const size of this.#host.pageSizes) {
      const leaf = this.leaves.get(iova - (iova % size));
      if (leaf !== undefined && iova < leaf.iova + leaf.pageSize) return leaf;
    }
    return undefined;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    for (let i = 0; i < count; i++) {
      if (this.#host.world.fail('oracle.leaf')) {
        if (this.#host.defect !== 'map-without-rollback') {
          for (let done = 0; done < i; done++) this.#remove(iova + done * pageSize);
        }
        throw new LabError('ENOMEM', 'no memory for a leaf');
      }
      const at = iova + i * pageSize;
      this.leaves.set(at, {
        iova: at,
        address: address + i * pageSize,
        pageSize,
        protection: this.#adapt(protection),
      });
      this.#host.allocatedBytes += LEAF_BYTES;
      this.#step();
    }
    if (this.#host.defect === 'map-off-by-one') {
      const end = iova + count * pageSize;
      const extra = { iova: end, address: address + count * pageSize, pageSize, protection };
      if (!this.leaves.has(end)) this.leaves.set(end, extra);
    }
  }

  syncMap(): void {}

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    if (this.#host.defect === 'unmap-can-throw' && this.#host.world.fail('oracle.unmap')) {
      throw new LabError('ENOMEM', 'no memory to unmap');
    }
    let removed = 0;
    while (removed < pageSize * count) {
      const leaf = this.leaves.get(iova + removed);
      if (leaf === undefined) break;
      this.#remove(leaf.iova);
      this.#step();
      gather.addRange(leaf.iova, leaf.pageSize, leaf.pageSize);
      removed += leaf.pageSize;
    }
    return this.#host.defect === 'unmap-wrong-size' && removed > 0 ? removed + pageSize : removed;
  }

  sync(gather: Gather): void {
    for (const { iova, sizeBytes, pageSize } of gather.ranges) {
      const cut = this.#host.defect === 'invalidation-off-by-one' && sizeBytes > pageSize ? pageSize : 0;
      if (this.#host.defect !== 'no-invalidation') this.#host.invalidate(iova, sizeBytes - cut);
      this.#step();
    }
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const leaf = this.find(iova);
    return leaf && ((leaf.address + iova - leaf.iova) as PhysAddr);
  }

  walk(iova: number): readonly WalkStep[] {
    const leaf = this.find(iova);
    const meaning = leaf === undefined ? 'no page' : `a page of ${leaf.pageSize} bytes`;
    return [{ level: 'map', address: 0, descriptor: 0, meaning }];
  }

  destroy(): void {
    if (this.#host.defect !== 'leak-on-destroy') this.#host.allocatedBytes -= this.tableBytes;
    this.leaves.clear();
  }

  #adapt(protection: Protection): Protection {
    if (this.#host.defect === 'read-only-is-writable') return { ...protection, write: true };
    if (this.#host.defect === 'rights-swapped')
      return { ...protection, read: protection.write, write: protection.read };
    return protection;
  }

  #remove(iova: number): void {
    if (this.leaves.delete(iova)) this.#host.allocatedBytes -= LEAF_BYTES;
  }

  /** One step towards the hardware, for those who look in between. */
  #step(): void {
    this.#host.world.interposer.notify('store', 0, 4);
  }
}
