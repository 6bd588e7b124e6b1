/** What a mapping allows. The kernel's IOMMU_READ .. IOMMU_PRIV as names. */
export interface Protection {
  readonly read: boolean;
  readonly write: boolean;
  /** Instruction fetches are refused. */
  readonly noExec?: boolean;
  /** Only privileged accesses are allowed. */
  readonly privileged?: boolean;
  /** The device's accesses may be cached and snooped. */
  readonly cacheable?: boolean;
  /** The target is registers, not memory. */
  readonly mmio?: boolean;
}

export const READ_ONLY: Protection = { read: true, write: false };
export const WRITE_ONLY: Protection = { read: false, write: true };
export const READ_WRITE: Protection = { read: true, write: true };

/** `r-`, `-w`, `rw` with the further rights behind: for events and explanations. */
export function formatProtection(protection: Protection): string {
  const { read, write, noExec, privileged, cacheable, mmio } = protection;
  const words = [noExec && 'noexec', privileged && 'priv', cacheable && 'cache', mmio && 'mmio'];
  return [`${read ? 'r' : '-'}${write ? 'w' : '-'}`, ...words.filter(Boolean)].join(',');
}
