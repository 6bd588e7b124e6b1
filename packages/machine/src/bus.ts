/**
 * Bus transactions: what a master drives, and what stands between it and memory.
 *
 * An access lies within one 4 KiB page and ends in one of three ways: it is done, it faults (the master gets an error
 * response and no reason, as on a real bus), or it parks: whoever holds it keeps it and later answers, as a clock
 * task, by calling `resume` on its owner.
 */
import type { PhysAddr } from './address.ts';
import type { MemoryPort } from './memory.ts';

/** No access crosses a multiple of this many bytes. */
export const ACCESS_PAGE_BYTES = 4096;

/** What a master drives besides the address; fixed for one stream of a master. */
export interface AccessAttributes {
  readonly isPrivileged: boolean;
  readonly isInstruction: boolean;
  readonly isSecure: boolean;
}

/** What a master drives that sets nothing: unprivileged, non-secure data accesses. */
export const DEFAULT_ATTRIBUTES: AccessAttributes = {
  isPrivileged: false,
  isInstruction: false,
  isSecure: false,
};

/** One access on the bus. The fields are reused from access to access of a transfer. */
export interface BusAccess {
  /** Address as the master drives it, a non-negative integer: an IOVA behind an IOMMU, else physical. */
  address: number;
  /** Bytes are moved from or to `data[offset .. offset + length)`. */
  readonly data: Uint8Array;
  offset: number;
  length: number;
  readonly isWrite: boolean;
  /** Which of its streams the master uses (MSM: the machine id, MID). */
  readonly streamId: number;
  readonly attributes: AccessAttributes;
  /** Who issued it, for people. */
  readonly masterName: string;
  /**
   * Continues or ends the access after it was parked. Called once, from a clock task. `retry` means now: the access is
   * issued again before this returns.
   */
  resume(outcome: ResumeOutcome): void;
}

/** How an access ended, or that it is `parked`. */
export type AccessStatus = 'done' | 'faulted' | 'parked';

/**
 * `retry`: issue the access again; `terminate`: it ends as a fault; `ignore`: it ends as if it were done, but a read gets
 * zeros and a write is dropped.
 */
export type ResumeOutcome = 'retry' | 'terminate' | 'ignore';

/** What a master is wired to. */
export interface BusPort {
  /** Carries out `access`, or answers why not. Never throws because of an address. */
  access(access: BusAccess): AccessStatus;
}

/** Moves the bytes of `access` at a physical address. @returns false on a bus error. */
export function moveBytes(memory: MemoryPort, address: PhysAddr, access: BusAccess): boolean {
  const bytes =
    access.offset === 0 && access.length === access.data.length
      ? access.data
      : access.data.subarray(access.offset, access.offset + access.length);
  return access.isWrite ? memory.write(address, bytes) : memory.read(address, bytes);
}

/** A master wired straight to memory: its addresses are physical. */
export class DirectPort implements BusPort {
  readonly #memory: MemoryPort;

  constructor(memory: MemoryPort) {
    this.#memory = memory;
  }

  access(access: BusAccess): AccessStatus {
    return moveBytes(this.#memory, access.address as PhysAddr, access) ? 'done' : 'faulted';
  }
}
