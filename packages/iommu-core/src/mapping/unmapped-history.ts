/**
 * The last unmapped records of a domain: a ring, so that one more takes constant time. (An array that is cut at its
 * front moves all that stay, at each unmap.)
 */
import type { UnmappedRecord } from './mapping-journal.ts';

export class UnmappedHistory {
  readonly #limit: number;
  readonly #records: UnmappedRecord[] = [];
  /** Place of the oldest, once the ring is full. */
  #oldest = 0;

  /** @param limit records it keeps */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Adds the newest; when it is full the oldest is forgotten. */
  add(record: UnmappedRecord): void {
    if (this.#records.length < this.#limit) {
      this.#records.push(record);
      return;
    }
    this.#records[this.#oldest] = record;
    this.#oldest = (this.#oldest + 1) % this.#limit;
  }

  /** Oldest first. */
  all(): readonly UnmappedRecord[] {
    return [...this.#records.slice(this.#oldest), ...this.#records.slice(0, this.#oldest)];
  }

  /** The newest for which `matches` holds. */
  findNewest(matches: (record: UnmappedRecord) => boolean): UnmappedRecord | undefined {
    const count = this.#records.length;
    for (let age = 1; age <= count; age++) {
      const record = this.#records[(this.#oldest + count - age) % count] as UnmappedRecord;
      if (matches(record)) return record;
    }
    return undefined;
  }
}
