/** Tables of the fake IOMMU: a flat map of pages, and what stands for a process's tables. */
import { hex, type PhysAddr } from '@iommu-lab/machine';
import {
  formatProtection,
  type Gather,
  type IommuCapabilities,
  type PagingTable,
  type ProcessSpace,
  type ProcessTable,
  type Protection,
  type WalkStep,
} from '../src/index.ts';

export interface Leaf {
  readonly iova: number;
  readonly address: number;
  readonly size: number;
  readonly protection: Protection;
}

/** The IOMMU that made a table. */
interface TableOwner {
  readonly capabilities: IommuCapabilities;
  readonly calls: string[];
  readonly tables: Set<FakeTable>;
  readonly processTables: Set<FakeProcessTable>;
  step(site: string, call: string): void;
}

export class FakeTable implements PagingTable {
  readonly leaves: Map<number, Leaf> = new Map();
  /** IOVAs of leaves that were written while tracking was on. */
  readonly #dirty = new Set<number>();
  readonly #iommu: TableOwner;
  #isTracking = false;
  #isDestroyed = false;

  constructor(iommu: TableOwner) {
    this.#iommu = iommu;
  }

  get tableBytes(): number {
    return this.leaves.size * 4;
  }

  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void {
    this.#mustStand();
    this.#iommu.step('map', `map ${hex(iova)} ${hex(address)} ${pageSize}x${count}`);
    for (let i = 0; i < count; i++) {
      const leaf = { iova: iova + i * pageSize, address: address + i * pageSize, size: pageSize, protection };
      if (this.#leafOver(leaf.iova) !== undefined) throw new Error('the core lets mappings overlap');
      this.leaves.set(leaf.iova, leaf);
    }
  }

  syncMap(iova: number, sizeBytes: number): void {
    this.#iommu.step('sync-map', `syncMap ${hex(iova)} ${sizeBytes}`);
  }

  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number {
    this.#mustStand();
    this.#iommu.calls.push(`unmap ${hex(iova)} ${pageSize}x${count}`);
    let done = 0;
    while (done < pageSize * count) {
      const leaf = this.leaves.get(iova + done);
      if (leaf === undefined) break;
      this.leaves.delete(leaf.iova);
      this.#dirty.delete(leaf.iova);
      gather.addRange(leaf.iova, leaf.size, leaf.size);
      done += leaf.size;
    }
    return done;
  }

  sync(gather: Gather): void {
    this.#iommu.calls.push(`sync ${gather.ranges.map((r) => `${hex(r.iova)}+${r.sizeBytes}`).join(' ')}`);
    gather.finish();
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    const leaf = this.#leafOver(iova);
    return leaf && ((leaf.address + iova - leaf.iova) as PhysAddr);
  }

  walk(iova: number): readonly WalkStep[] {
    const leaf = this.#leafOver(iova);
    const at = 0x8000_0000 + (iova >>> 20) * 4;
    const level = 'table';
    if (leaf === undefined) return [{ level, address: at, descriptor: 0, meaning: 'nothing' }];
    const meaning = `page of ${leaf.size} at ${hex(leaf.address)}, ${formatProtection(leaf.protection)}`;
    return [{ level, address: at, descriptor: leaf.address + 2, meaning }];
  }

  destroy(): void {
    this.#mustStand();
    this.#isDestroyed = true;
    this.leaves.clear();
    this.#iommu.tables.delete(this);
  }

  setDirtyTracking(isOn: boolean): void {
    this.#iommu.calls.push(`dirty tracking ${isOn ? 'on' : 'off'}`);
    this.#isTracking = isOn;
  }

  visitDirty(
    iova: number,
    sizeBytes: number,
    clear: boolean,
    gather: Gather,
    visit: (iova: number, pageSize: number) => void,
  ): void {
    for (const leaf of [...this.leaves.values()].sort((a, b) => a.iova - b.iova)) {
      const isInside = leaf.iova < iova + sizeBytes && iova < leaf.iova + leaf.size;
      if (!isInside || !this.#dirty.has(leaf.iova)) continue;
      visit(leaf.iova, leaf.size);
      if (!clear) continue;
      this.#dirty.delete(leaf.iova);
      gather.addRange(leaf.iova, leaf.size, leaf.size);
    }
  }

  /** A device writes to a mapped address; noted while tracking is on, and left from before when `isOld`. */
  write(iova: number, isOld = false): void {
    const leaf = this.#leafOver(iova);
    if (leaf !== undefined && (this.#isTracking || isOld)) this.#dirty.add(leaf.iova);
  }

  #mustStand(): void {
    if (this.#isDestroyed) throw new Error('the core uses a table that it has destroyed');
  }

  #leafOver(iova: number): Leaf | undefined {
    for (const size of this.#iommu.capabilities.pageSizes) {
      const leaf = this.leaves.get(iova - (iova % size));
      if (leaf !== undefined && leaf.size > iova - leaf.iova) return leaf;
    }
    return undefined;
  }
}

export class FakeProcessTable implements ProcessTable {
  readonly space: ProcessSpace;
  readonly #iommu: TableOwner;

  constructor(iommu: TableOwner, space: ProcessSpace) {
    this.#iommu = iommu;
    this.space = space;
  }

  invalidate(iova: number, sizeBytes: number): void {
    this.#iommu.calls.push(`invalidate ${hex(iova)}+${sizeBytes}`);
  }

  destroy(): void {
    this.#iommu.processTables.delete(this);
  }
}
