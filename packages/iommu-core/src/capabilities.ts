/** What an IOMMU instance can do. The core refuses what is not here; it never finds out by trying. */
export interface IommuCapabilities {
  /** Leaf sizes in bytes, ascending, powers of two. The first is the granule. */
  readonly pageSizes: readonly number[];
  /** Mappable IOVA range, both ends included. */
  readonly aperture: { readonly start: number; readonly last: number };
  /** Physical addresses up to and including this one can be mapped to. */
  readonly lastPhysAddr: number;
  readonly permissions: {
    /** A mapping can refuse writes. */
    readonly readOnly: boolean;
    /** A mapping can refuse reads. Where not, write-only becomes read-write. */
    readonly writeOnly: boolean;
    readonly noExec: boolean;
    readonly privileged: boolean;
  };
  /** Untranslated pass-through of one endpoint. */
  readonly identity: boolean;
  /**
   * How a running master is moved from one table to another. `atomic`: at one moment, after which no access of a stream
   * sees the old one; `old-or-new`: each access sees one of the two, the old one may come after the new one;
   * `disruptive`: accesses in between are refused.
   */
  readonly switchKind: 'atomic' | 'old-or-new' | 'disruptive';
  /** The walker sees the CPU's cache. */
  readonly coherentWalk: boolean;
  /** A faulting access can wait for software. */
  readonly stall: boolean;
  /** Process address space ids per endpoint; 0 = none. */
  readonly pasids: number;
  readonly dirtyTracking: boolean;
  readonly nesting: boolean;
  /**
   * Formats of processes' tables that it walks (`armv7-short`); empty: a device cannot work in a process's address
   * space. An instance that names one can stall, too: a page that is not there is brought in.
   */
  readonly processFormats: readonly string[];
}
