/** Counters of an instance since it was made or reset. They are observers' business; no register shows them. */
export interface SmmuStatistics {
  /** Accesses that arrived, each try of a retried one. */
  accesses: number;
  /** Of those, the ones that were translated. */
  translations: number;
  /** Of those, the ones that passed untranslated. */
  bypasses: number;
  /** TLB look-ups, of accesses and of V2P operations. */
  hits: number;
  misses: number;
  walks: number;
  /** Maintenance operations, and the entries they dropped. */
  invalidations: number;
  entriesDropped: number;
  /** Context faults, and global errors. */
  faults: number;
  globalErrors: number;
}

/** All counters at 0. */
export function newStatistics(): SmmuStatistics {
  return {
    accesses: 0,
    translations: 0,
    bypasses: 0,
    hits: 0,
    misses: 0,
    walks: 0,
    invalidations: 0,
    entriesDropped: 0,
    faults: 0,
    globalErrors: 0,
  };
}
