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
   * How a running master is moved from one table to another. `atomic`: one routing write; `old-or-new`: each access
   * sees one of the two; `disruptive`: accesses in between are refused.
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
}
