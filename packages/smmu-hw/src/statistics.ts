/** Counters of an instance since it was made or reset. They are observers' business; no register shows them. */
export interface SmmuCounters {
  /** Accesses that arrived, each try of a retried one. */
  accesses: number;
  /** Of those, the ones that passed untranslated. */
  bypasses: number;
  /** Of those, the ones that waited behind a stalled one. */
  waits: number;
  /** Of those, the ones that ended in a context fault, or in a global error. */
  faults: number;
  globalErrors: number;
  /** V2P operations of banks that translate. */
  probes: number;
  /** Accesses and V2P operations for which the TLB had no entry, and those of them that were not walked. */
  misses: number;
  unwalked: number;
  /** Maintenance operations, and the entries they dropped. */
  invalidations: number;
  entriesDropped: number;
}

/** The counters, and what follows from them. */
export class SmmuStatistics implements SmmuCounters {
  accesses = 0;
  bypasses = 0;
  waits = 0;
  faults = 0;
  globalErrors = 0;
  probes = 0;
  misses = 0;
  unwalked = 0;
  invalidations = 0;
  entriesDropped = 0;

  /** Accesses that were translated. */
  get translations(): number {
    return this.accesses - this.bypasses - this.waits - this.faults - this.globalErrors;
  }

  /** Accesses and V2P operations for which the TLB had an entry, or several. Not counted one by one: that is half a nanosecond each. */
  get hits(): number {
    const { accesses, bypasses, waits, globalErrors, probes, misses } = this;
    return accesses - bypasses - waits - globalErrors + probes - misses;
  }

  /** Walks of the tables. */
  get walks(): number {
    return this.misses - this.unwalked;
  }

  /** The counters alone, as plain data. */
  snapshot(): SmmuCounters {
    return Object.fromEntries(Object.entries(this)) as unknown as SmmuCounters;
  }

  reset(): void {
    Object.assign(this, new SmmuStatistics());
  }
}
