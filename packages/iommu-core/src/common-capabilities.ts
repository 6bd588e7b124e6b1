/** What several instances can do together, and whether one can serve a domain made for others. */
import type { IommuCapabilities } from './capabilities.ts';

/** Stands for the capabilities of a domain that has no mappings. */
export const NO_MAPPINGS: IommuCapabilities = {
  pageSizes: [],
  aperture: { start: 0, last: Number.MAX_SAFE_INTEGER },
  lastPhysAddr: Number.MAX_SAFE_INTEGER,
  permissions: { readOnly: false, writeOnly: false, noExec: false, privileged: false },
  identity: true,
  switchKind: 'disruptive',
  coherentWalk: false,
  stall: false,
  pasids: 0,
  dirtyTracking: false,
  nesting: false,
};

const SWITCH_KINDS = ['disruptive', 'old-or-new', 'atomic'] as const;

/** What both can do: common page sizes, the common part of the aperture, the weaker of everything else. */
export function commonCapabilities(a: IommuCapabilities, b: IommuCapabilities): IommuCapabilities {
  return {
    pageSizes: a.pageSizes.filter((size) => b.pageSizes.includes(size)),
    aperture: {
      start: Math.max(a.aperture.start, b.aperture.start),
      last: Math.min(a.aperture.last, b.aperture.last),
    },
    lastPhysAddr: Math.min(a.lastPhysAddr, b.lastPhysAddr),
    permissions: {
      readOnly: a.permissions.readOnly && b.permissions.readOnly,
      writeOnly: a.permissions.writeOnly && b.permissions.writeOnly,
      noExec: a.permissions.noExec && b.permissions.noExec,
      privileged: a.permissions.privileged && b.permissions.privileged,
    },
    identity: a.identity && b.identity,
    switchKind: SWITCH_KINDS.find((kind) => kind === a.switchKind || kind === b.switchKind) ?? a.switchKind,
    coherentWalk: a.coherentWalk && b.coherentWalk,
    stall: a.stall && b.stall,
    pasids: Math.min(a.pasids, b.pasids),
    dirtyTracking: a.dirtyTracking && b.dirtyTracking,
    nesting: a.nesting && b.nesting,
  };
}

/** Whether hardware with `mine` can keep every promise about mappings that `promised` makes. */
export function canServe(mine: IommuCapabilities, promised: IommuCapabilities): boolean {
  const rights = ['readOnly', 'writeOnly', 'noExec', 'privileged'] as const;
  return (
    promised.pageSizes.every((size) => mine.pageSizes.includes(size)) &&
    mine.aperture.start <= promised.aperture.start &&
    mine.aperture.last >= promised.aperture.last &&
    mine.lastPhysAddr >= promised.lastPhysAddr &&
    rights.every((right) => mine.permissions[right] || !promised.permissions[right])
  );
}
