/**
 * What is mapped in one domain and what was, by whom and when. The journal is the core's own knowledge, beside the
 * tables: overlap is checked here before a table is touched, and a fault is explained from here.
 */
import { LiveMappings } from './live-mappings.ts';
import type { Protection } from '../protection.ts';
import { UnmappedHistory } from './unmapped-history.ts';

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
  readonly #live = new LiveMappings();
  readonly #history = new UnmappedHistory(HISTORY_LIMIT);
  #order = 0;
  #liveBytes = 0;

  /** Live mappings, ascending by IOVA. */
  get live(): readonly MappingRecord[] {
    return this.#live.all();
  }

  /** What was unmapped, oldest first; at most `HISTORY_LIMIT` records. */
  get history(): readonly UnmappedRecord[] {
    return this.#history.all();
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
    return this.#live.over(iova);
  }

  /** The lowest live mapping that has a byte in the range. */
  firstOverlap(iova: number, sizeBytes: number): MappingRecord | undefined {
    return this.#live.firstIn(iova, iova + sizeBytes);
  }

  /** Adds a mapping, its buffer itself unless given; the caller has made sure that the range is free. */
  add(mapping: NewMapping): void {
    const { iova, address, sizeBytes, protection, requested, by, atNs } = mapping;
    const whole = { iova, address, sizeBytes };
    const buffer = mapping.buffer ?? whole;
    const order = ++this.#order;
    const record: MappingRecord = { iova, address, sizeBytes, protection, by, atNs, order, whole, buffer };
    this.#live.add(requested === undefined ? record : { ...record, requested });
    this.#liveBytes += sizeBytes;
  }

  /** Moves what is mapped in the range to the history, cutting records at its ends. @returns bytes moved */
  remove(iova: number, sizeBytes: number, by: string, atNs: number): number {
    const end = iova + sizeBytes;
    const unmappedOrder = ++this.#order;
    let movedBytes = 0;
    for (let record = this.#live.firstIn(iova, end); record !== undefined;) {
      const recordEnd = record.iova + record.sizeBytes;
      this.#live.remove(record);
      if (record.iova < iova) this.#live.add(cut(record, record.iova, iova));
      if (recordEnd > end) this.#live.add(cut(record, end, recordEnd));
      const gone = cut(record, Math.max(record.iova, iova), Math.min(recordEnd, end));
      movedBytes += gone.sizeBytes;
      this.#history.add(unmapped(gone, by, atNs, unmappedOrder));
      record = this.#live.firstIn(recordEnd, end);
    }
    this.#liveBytes -= movedBytes;
    return movedBytes;
  }

  /** What was mapped just after position `order`, ascending by IOVA, as far as the history reaches. */
  activeAt(order: number): readonly MappingRecord[] {
    const gone = this.history.filter((r) => r.order <= order && r.unmappedOrder > order);
    return [...this.live.filter((r) => r.order <= order), ...gone].sort((a, b) => a.iova - b.iova);
  }

  /** The last record over `iova` that had been unmapped by position `order`. */
  lastUnmapped(iova: number, order: number = this.#order): UnmappedRecord | undefined {
    return this.#history.findNewest((r) => r.unmappedOrder <= order && contains(r, iova));
  }
}

/** Whether `iova` lies in the mapping. */
export function contains(record: MappingRecord, iova: number): boolean {
  return iova >= record.iova && iova < record.iova + record.sizeBytes;
}

/** Field by field: a spread here took a quarter of an unmap call. */
function unmapped(
  record: MappingRecord,
  unmappedBy: string,
  unmappedAtNs: number,
  unmappedOrder: number,
): UnmappedRecord {
  const { iova, address, sizeBytes, protection, requested, by, atNs, order, whole, buffer } = record;
  const gone: UnmappedRecord = {
    iova,
    address,
    sizeBytes,
    protection,
    by,
    atNs,
    order,
    whole,
    buffer,
    unmappedBy,
    unmappedAtNs,
    unmappedOrder,
  };
  return requested === undefined ? gone : { ...gone, requested };
}

function cut(record: MappingRecord, start: number, end: number): MappingRecord {
  if (end - start === record.sizeBytes) return record;
  return {
    ...record,
    iova: start,
    address: record.address + (start - record.iova),
    sizeBytes: end - start,
  };
}
