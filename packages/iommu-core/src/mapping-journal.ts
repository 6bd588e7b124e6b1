/**
 * What is mapped in one domain and what was, by whom and when. The journal is the core's own knowledge, beside the
 * tables: overlap is checked here before a table is touched, and a fault is explained from here.
 */
import type { Protection } from './protection.ts';

/** A physically contiguous mapping, or what is left of one. */
export interface MappingRecord {
  readonly iova: number;
  /** Physical address `iova` leads to. */
  readonly address: number;
  readonly sizeBytes: number;
  /** The rights the hardware was given. */
  readonly protection: Protection;
  /** The rights that were asked for, when the hardware could not express them and gave more (write-only). */
  readonly requested?: Protection;
  /** Who mapped it. */
  readonly by: string;
  /** When, in model time. */
  readonly atNs: number;
  /** Position in the domain's sequence of maps and unmaps: tells what came first within one instant. */
  readonly order: number;
  /** The physically contiguous mapping this record is, or is left of. */
  readonly whole: { readonly iova: number; readonly address: number; readonly sizeBytes: number };
  /** What the map call made altogether: a scattered buffer is one call and several records. */
  readonly buffer: { readonly iova: number; readonly sizeBytes: number };
}

/** A record without what the journal itself adds. */
export type NewMapping = Omit<MappingRecord, 'order' | 'whole' | 'buffer'> &
  Partial<Pick<MappingRecord, 'buffer'>>;

/** A mapping, or a part of one, that is no more. */
export interface UnmappedRecord extends MappingRecord {
  readonly unmappedBy: string;
  readonly unmappedAtNs: number;
  readonly unmappedOrder: number;
}

/** Unmapped records a domain remembers; the oldest are forgotten first. */
export const HISTORY_LIMIT = 1024;

export class MappingJournal {
  /** Ascending, not overlapping. */
  readonly #live: MappingRecord[] = [];
  /** Oldest first. */
  readonly #history: UnmappedRecord[] = [];
  #order = 0;
  #liveBytes = 0;

  /** Live mappings, ascending by IOVA. */
  get live(): readonly MappingRecord[] {
    return this.#live;
  }

  /** What was unmapped, oldest first; at most `HISTORY_LIMIT` records. */
  get history(): readonly UnmappedRecord[] {
    return this.#history;
  }

  /** Position of the last map or unmap. */
  get order(): number {
    return this.#order;
  }

  /** Bytes mapped now. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  /** The live mapping over `iova`. */
  find(iova: number): MappingRecord | undefined {
    return this.firstOverlap(iova, 1);
  }

  /** The lowest live mapping that has a byte in the range. */
  firstOverlap(iova: number, sizeBytes: number): MappingRecord | undefined {
    const record = this.#live[this.#firstEndingAfter(iova)];
    return record !== undefined && record.iova < iova + sizeBytes ? record : undefined;
  }

  /** Adds a mapping, its buffer itself unless given; the caller has made sure that the range is free. */
  add(mapping: NewMapping): void {
    const { iova, address, sizeBytes } = mapping;
    const whole = { iova, address, sizeBytes };
    const record = { buffer: whole, ...mapping, order: ++this.#order, whole };
    this.#live.splice(this.#firstEndingAfter(iova), 0, record);
    this.#liveBytes += sizeBytes;
  }

  /** Moves what is mapped in the range to the history, cutting records at its ends. @returns bytes moved */
  remove(iova: number, sizeBytes: number, by: string, atNs: number): number {
    const end = iova + sizeBytes;
    const first = this.#firstEndingAfter(iova);
    const kept: MappingRecord[] = [];
    let next = first;
    let movedBytes = 0;
    this.#order++;
    for (; next < this.#live.length; next++) {
      const record = this.#live[next] as MappingRecord;
      if (record.iova >= end) break;
      const recordEnd = record.iova + record.sizeBytes;
      if (record.iova < iova) kept.push(cut(record, record.iova, iova));
      const gone = cut(record, Math.max(record.iova, iova), Math.min(recordEnd, end));
      if (recordEnd > end) kept.push(cut(record, end, recordEnd));
      movedBytes += gone.sizeBytes;
      this.#history.push({ ...gone, unmappedBy: by, unmappedAtNs: atNs, unmappedOrder: this.#order });
    }
    this.#live.splice(first, next - first, ...kept);
    this.#history.splice(0, this.#history.length - HISTORY_LIMIT);
    this.#liveBytes -= movedBytes;
    return movedBytes;
  }

  /** What was mapped just after position `order`, ascending by IOVA, as far as the history reaches. */
  activeAt(order: number): readonly MappingRecord[] {
    const gone = this.#history.filter((r) => r.order <= order && r.unmappedOrder > order);
    return [...this.#live.filter((r) => r.order <= order), ...gone].sort((a, b) => a.iova - b.iova);
  }

  /** The last record over `iova` that had been unmapped by position `order`. */
  lastUnmapped(iova: number, order: number = this.#order): UnmappedRecord | undefined {
    return this.#history.findLast((r) => r.unmappedOrder <= order && contains(r, iova));
  }

  /** Index of the first live record whose end lies above `iova`; binary search. */
  #firstEndingAfter(iova: number): number {
    let low = 0;
    let high = this.#live.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const record = this.#live[middle] as MappingRecord;
      if (record.iova + record.sizeBytes > iova) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Whether `iova` lies in the mapping. */
export function contains(record: MappingRecord, iova: number): boolean {
  return iova >= record.iova && iova < record.iova + record.sizeBytes;
}

function cut(record: MappingRecord, start: number, end: number): MappingRecord {
  return {
    ...record,
    iova: start,
    address: record.address + (start - record.iova),
    sizeBytes: end - start,
  };
}
