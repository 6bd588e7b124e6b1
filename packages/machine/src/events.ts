/** What happened, as plain data: the stream that logs, reports and observers are made from. */

/** What an event's field may hold: plain data. */
export type EventValue =
  string | number | boolean | null | readonly EventValue[] | { readonly [key: string]: EventValue };

/** One event. */
export interface LabEvent {
  /** Position in the log, from 0. */
  readonly seq: number;
  /** Model time in nanoseconds. */
  readonly ns: number;
  /** Who speaks: `host`, or `host/NAME` for a guest. */
  readonly scope: string;
  /** `group:event`, with the kernel's name where it has one: `iommu:map`, `dma:map_sg`. */
  readonly name: string;
  readonly fields: Readonly<Record<string, EventValue>>;
}

/** Numbers events and passes them on; it keeps none. */
export class EventLog {
  #seq = 0;
  readonly #listeners = new Set<(event: LabEvent) => void>();

  /** False while nobody listens: emitters on a hot path ask before they build an event's fields. */
  get isObserved(): boolean {
    return this.#listeners.size > 0;
  }

  /** Calls `listener` for each event from now on. @returns ends the subscription. */
  subscribe(listener: (event: LabEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  emit(ns: number, scope: string, name: string, fields: Readonly<Record<string, EventValue>>): void {
    const event: LabEvent = { seq: this.#seq++, ns, scope, name, fields };
    for (const listener of this.#listeners) listener(event);
  }
}
