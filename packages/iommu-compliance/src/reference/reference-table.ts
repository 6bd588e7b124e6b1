/** A page table that is a map from IOVA to page: there is little that can be wrong with it. */
import type { Gather, PagingTable, Protection, WalkStep } from '@iommu-lab/iommu-core';
import { LabError, type PhysAddr, type World } from '@iommu-lab/machine';
import type { Defect } from './defects.ts';

/** A page. */
export interface Leaf {
  readonly iova: number;
  readonly address: number;
  readonly pageSize: number;
  readonly protection: Protection;
  isDirty: boolean;
}

/** Bytes a table takes for itself, and for each leaf. */
const ROOT_BYTES = 64;
const LEAF_BYTES = 16;

/** What a table needs of the IOMMU it belongs to. */
export interface ReferenceHost {
  readonly world: World;
  readonly pageSizes: readonly number[];
  readonly defect: Defect | undefined;
  /** Whether any stream uses the table. */
  isInUse(table: ReferenceTable): boolean;
  allocatedBytes: number;
  invalidate(iova: number, sizeBytes: number): void;
}

/** A domain's table. */
export class ReferenceTable implements PagingTable {
  readonly leaves: Map<number, Leaf> = new Map();
  /** Whether writes are noted. */
  isTracking = false;
  readonly #host: ReferenceHost;

  /** @throws LabError ENOMEM */
  constructor(host: ReferenceHost) {
    if (host.world.fail('reference.root')) throw new LabError('ENOMEM', 'no memory for a table');
    this.#host = host;
    host.allocatedBytes += ROOT_BYTES;
  }

  get tableBytes(): number {
    return ROOT_BYTES + this.leaves.size * LEAF_BYTES;
  }

  /** The page in which `iova` lies. */
  find(iova: number): Leaf | undefined {
    for (const size of this.#host.pageSizes) {
      const leaf = this.leaves.get(iova - (iova % size));
      if (leaf !== undefined && iova < leaf.iova + leaf.pageSize) return leaf;
    }
    return undefined;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    for (let i = 0; i < count; i++) {
      if (this.#host.world.fail('reference.leaf')) {
        if (this.#host.defect !== 'map-without-rollback') {
          for (let done = 0; done < i; done++) this.#remove(iova + done * pageSize);
        }
        throw new LabError('ENOMEM', 'no memory for a leaf');
      }
      this.#add(iova + i * pageSize, address + i * pageSize, pageSize, protection);
      this.#step();
    }
    if (this.#host.defect === 'map-off-by-one') {
      const end = iova + count * pageSize;
      if (!this.leaves.has(end)) this.#add(end, address + count * pageSize, pageSize, protection);
    }
  }

  syncMap(): void {}

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    const { defect, world } = this.#host;
    if (defect === 'unmap-can-throw' && world.fail('reference.unmap')) {
      throw new LabError('ENOMEM', 'no memory to unmap');
    }
    if (defect === 'unmap-needs-a-device' && !this.#host.isInUse(this)) {
      throw new LabError('EIO', 'no device to unmap for');
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
    const behind = this.leaves.get(iova + removed);
    if (defect === 'unmap-runs-on' && removed > pageSize && behind !== undefined) this.#remove(behind.iova);
    return defect === 'unmap-wrong-size' && removed > 0 ? removed + pageSize : removed;
  }

  sync(gather: Gather): void {
    const { defect } = this.#host;
    for (const { iova, sizeBytes, pageSize } of gather.ranges) {
      const cut = defect === 'invalidation-off-by-one' && sizeBytes > pageSize ? pageSize : 0;
      if (defect !== 'no-invalidation') this.#host.invalidate(iova, sizeBytes - cut);
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

  setDirtyTracking(isOn: boolean): void {
    this.isTracking = isOn;
  }

  visitDirty(
    iova: number,
    sizeBytes: number,
    clear: boolean,
    gather: Gather,
    visit: (iova: number, pageSize: number) => void,
  ): void {
    const { defect } = this.#host;
    const inOrder = [...this.leaves.values()].sort((a, b) => a.iova - b.iova);
    for (const leaf of inOrder) {
      const isInside = leaf.iova < iova + sizeBytes && iova < leaf.iova + leaf.pageSize;
      if (!leaf.isDirty || (!isInside && defect !== 'dirty-whole-table')) continue;
      visit(leaf.iova, leaf.pageSize);
      const isCleared = clear || defect === 'dirty-cleared-by-reading';
      if (!isCleared || defect === 'dirty-never-cleared') continue;
      leaf.isDirty = false;
      // What is cached as noted would not be noted again.
      if (defect !== 'dirty-without-invalidation') gather.addRange(leaf.iova, leaf.pageSize, leaf.pageSize);
    }
  }

  #add(iova: number, address: number, pageSize: number, protection: Protection): void {
    this.leaves.set(iova, {
      iova,
      address,
      pageSize,
      protection: this.#adapt(protection),
      isDirty: false,
    });
    this.#host.allocatedBytes += LEAF_BYTES;
  }

  #adapt(protection: Protection): Protection {
    const { defect } = this.#host;
    if (defect === 'read-only-is-writable') return { ...protection, write: true };
    if (defect === 'rights-swapped') {
      return { ...protection, read: protection.write, write: protection.read };
    }
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
