/** Where a table is current, and how what has gone from it is invalidated there. */
import type { InvalidationRange } from '@iommu-lab/iommu-core';
import { assert } from '@iommu-lab/machine';
import type { HardwareVerbs } from './hw.ts';

/** A bank on which a table is current, and the ASID it has in that instance. */
export interface Attachment {
  /** The instance's verbs, one object for all its banks. Its clocks run as long as the attachment lasts. */
  readonly hw: HardwareVerbs;
  readonly bank: number;
  readonly asid: number;
}

/** The attachments of one table. */
export class TableUsers {
  readonly #maxPageInvalidations: number;
  readonly #attachments = new Set<Attachment>();
  /** The first attachment in each instance: made when one comes or goes, since every unmap asks for it. */
  #onePerInstance: readonly Attachment[] = [];
  #isDestroyed = false;

  /** @param maxPageInvalidations more pages than so many drop the whole address space */
  constructor(maxPageInvalidations: number) {
    this.#maxPageInvalidations = maxPageInvalidations;
  }

  /** Whether the table is gone; nobody may join then. */
  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  /** From now on what is unmapped is invalidated there too. */
  join(attachment: Attachment): void {
    assert(!this.#isDestroyed, 'nobody joins a table that is gone');
    this.#attachments.add(attachment);
    this.#onePerInstance = firstOfEach(this.#attachments);
  }

  /** The bank no longer walks the table, and the TLB holds nothing of it for that bank's sake. */
  leave(attachment: Attachment): void {
    this.#attachments.delete(attachment);
    this.#onePerInstance = firstOfEach(this.#attachments);
  }

  /**
   * Once an instance, through any bank it is current on: there the table has one ASID, and one VMID, in the one TLB that
   * all banks use (R27), and an invalidation drops by these tags, whoever loaded the entry (R22, R23). A bank that leaves
   * a table another one stays on rests on the same. (The kernel's drivers write it in each bank.) Cannot fail: the clocks
   * run while a table is current.
   */
  invalidate(ranges: readonly InvalidationRange[]): void {
    let pages = 0;
    for (const range of ranges) pages += pagesOf(range);
    for (const { hw, bank, asid } of this.#onePerInstance) {
      if (pages > this.#maxPageInvalidations) hw.invalidateAsid(bank, asid);
      else {
        for (const range of ranges) {
          hw.invalidateRange(bank, asid, range.iova, range.pageSize, pagesOf(range));
        }
      }
    }
  }

  /** The table goes, and no bank walks it. */
  destroy(): void {
    assert(this.#attachments.size === 0, 'a table is destroyed when no bank walks it');
    this.#isDestroyed = true;
  }
}

function firstOfEach(attachments: Iterable<Attachment>): readonly Attachment[] {
  const first = new Map<HardwareVerbs, Attachment>();
  for (const attachment of attachments) if (!first.has(attachment.hw)) first.set(attachment.hw, attachment);
  return [...first.values()];
}

function pagesOf(range: InvalidationRange): number {
  return Math.ceil(range.sizeBytes / range.pageSize);
}
