/**
 * The driver port: all that the core asks of an IOMMU driver, in the core's words.
 *
 * One `IommuInstance` stands for one piece of hardware; a driver makes one for each it has probed and registers it.
 * The core has checked sizes, alignment, aperture, overlap and ownership before it calls; what an operation may still
 * throw stands with it. An operation that throws has changed nothing.
 */
import type { Device, Endpoint, ReservedRegion } from '@iommu-lab/driver-core';
import type { PhysAddr } from '@iommu-lab/machine';
import type { IommuCapabilities } from './capabilities.ts';
import type { Gather } from './mapping/gather.ts';
import type { ProcessSpace } from './process-space.ts';
import type { Protection } from './protection.ts';

export interface IommuInstance {
  /** For people: `msm-smmu rot`. */
  readonly name: string;
  /** Key by which endpoints name this instance. */
  readonly provider: string;
  readonly capabilities: IommuCapabilities;
  /** Instances of equal key accept each other's paging tables: one domain can span them. */
  readonly tableKey: string;

  /**
   * A device with this endpoint is about to be used.
   * @returns the isolation key: endpoints of equal key cannot be told apart by this hardware and share a group.
   * @throws LabError ENODEV when the instance has no such context or stream.
   */
  probeEndpoint(device: Device, endpoint: Endpoint): string;

  /** A hardware page table with nothing mapped. @throws LabError ENOMEM */
  createPagingTable(): PagingTable;

  /**
   * Makes `target` the translation of the endpoint's streams, in place of `previous` (undefined: never attached).
   * A running master is translated by the one or the other, never by a third thing.
   * @throws LabError ENOSPC, ENOMEM, EBUSY, EIO; the endpoint is then still on `previous`.
   */
  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void;

  /** The endpoint's device leaves. Its streams are blocked afterwards where the hardware can. Must not fail. */
  release(endpoint: Endpoint, previous: AttachTarget): void;

  /** IOVAs that the hardware keeps for itself (a doorbell, a window that is not translated). Absent: none. */
  reservedRegions?(endpoint: Endpoint): readonly ReservedRegion[];

  /**
   * What lets endpoints walk a process's own tables. The core has checked that `processFormats` has its format; absent
   * where that is empty. @throws LabError ENOMEM, EOPNOTSUPP on attributes the hardware cannot be programmed with
   */
  createProcessTable?(space: ProcessSpace): ProcessTable;

  /**
   * Ends the stall of an access that the verdict `hold` left waiting in a context. Absent where `stall` is false.
   * @throws LabError EINVAL when nothing is held there, EIO
   */
  resume?(context: string, outcome: 'retry' | 'terminate'): void;
}

export type AttachTarget =
  | { readonly kind: 'paging'; readonly table: PagingTable }
  | { readonly kind: 'sva'; readonly table: ProcessTable }
  | { readonly kind: 'identity' }
  | { readonly kind: 'blocked' };

/** One hardware page table; it may be current in several contexts of several instances of one table key. */
export interface PagingTable {
  /** Bytes of memory the tables occupy now. */
  readonly tableBytes: number;

  /**
   * Maps `count` pages of `pageSize` bytes from `iova` to `address` on. The core has checked that nothing is mapped
   * there. When it returns, the tables are written and visible to the walker.
   * @throws LabError ENOMEM with nothing of this call left mapped.
   */
  mapPages(iova: number, address: number, pageSize: number, count: number, protection: Protection): void;

  /** Ends a batch of maps: whatever hardware must be told so that it uses them. */
  syncMap(iova: number, sizeBytes: number): void;

  /**
   * Removes `count` pages of `pageSize` bytes from `iova` on and notes in `gather` what must be invalidated, and tables
   * that may be freed after that. Hardware may go on using the old entries until `sync`.
   * @returns bytes removed: it stops at the first hole, and a larger page under the last piece goes whole.
   */
  unmapPages(iova: number, pageSize: number, count: number, gather: Gather): number;

  /** Invalidates what `gather` holds, waits until that is done, then frees the tables in it. */
  sync(gather: Gather): void;

  /** Physical address `iova` is mapped to, or undefined. A look into the tables, not into the TLB. */
  iovaToPhys(iova: number): PhysAddr | undefined;

  /** The table walk for `iova`, descriptor by descriptor, for an explanation. Reads memory as the walker would. */
  walk(iova: number): readonly WalkStep[];

  /** Frees all tables. The core calls it when no endpoint is attached. */
  destroy(): void;

  /** From now on the hardware notes which pages are written, or no longer. Absent where `dirtyTracking` is false. */
  setDirtyTracking?(isOn: boolean): void;

  /**
   * Visits the mapped pages of a range that were written since they were last cleared, ascending. With `clear` they count
   * as clean from here on; what must be invalidated for that goes into `gather`, and `sync` follows.
   */
  visitDirty?(
    iova: number,
    sizeBytes: number,
    clear: boolean,
    gather: Gather,
    visit: (iova: number, pageSize: number) => void,
  ): void;
}

/** A process's tables as this hardware walks them; the tables themselves are the process's. */
export interface ProcessTable {
  /**
   * The process has cleared descriptors of the range: the TLBs forget them before this returns. Cannot fail. The memory is
   * given to somebody else after that.
   */
  invalidate(iova: number, sizeBytes: number): void;

  /** Nothing is attached any more and nothing will be. */
  destroy(): void;
}

/** One descriptor of a walk. */
export interface WalkStep {
  /** `first level`, `second level`, `table`: the format's own word. */
  readonly level: string;
  /** Physical address of the descriptor. */
  readonly address: number;
  /** Its value as the walker reads it. */
  readonly descriptor: number;
  /** What it says, in words: `small page at 0x40212000, read-only`. */
  readonly meaning: string;
}

/** What a driver's interrupt handler read from its hardware. */
export interface FaultReport {
  /** Name of the context that faulted, as endpoints name it; undefined when the access was not routed to one. */
  readonly context: string | undefined;
  readonly streamId: number;
  readonly iova: number;
  readonly direction: 'read' | 'write';
  /** A read that fetches an instruction; absent where the hardware does not say. */
  readonly isInstruction?: boolean;
  readonly cause: FaultCause;
  /** The access waits; the verdict decides what becomes of it. */
  readonly isStalled: boolean;
  /** Further faults came before this one was read, and are lost. */
  readonly isMultiple: boolean;
  /** The registers the report was made from, by the manual's names. */
  readonly registers: Readonly<Record<string, number>>;
}

/**
 * `translation`: no valid descriptor; `permission`: it refuses this access; `access-flag`: its access flag is clear;
 * `walk-abort`: the walker got a bus error; `configuration`: no context serves this stream; `other`: see registers.
 */
export type FaultCause =
  'translation' | 'permission' | 'access-flag' | 'walk-abort' | 'configuration' | 'other';

/** What becomes of a stalled access. `hold`: it stays until somebody decides. */
export type FaultVerdict = 'terminate' | 'retry' | 'hold';
