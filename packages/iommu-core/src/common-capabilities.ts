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
  processFormats: [],
};

/** Stands for the capabilities of an address space that spans no hardware yet: whatever is mapped is kept for what comes. */
export const ANYTHING: IommuCapabilities = {
  ...NO_MAPPINGS,
  pageSizes: [1],
  permissions: { readOnly: true, writeOnly: true, noExec: true, privileged: true },
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
    processFormats: a.processFormats.filter((format) => b.processFormats.includes(format)),
  };
}

/** Whether one paging domain can serve all of them. */
export function isOneKind(
  instances: readonly { readonly tableKey: string; readonly capabilities: IommuCapabilities }[],
): boolean {
  const [first, ...rest] = instances;
  if (first === undefined || rest.some((i) => i.tableKey !== first.tableKey)) return false;
  const { pageSizes, aperture } = rest.reduce(
    (sum, i) => commonCapabilities(sum, i.capabilities),
    first.capabilities,
  );
  return pageSizes.length > 0 && aperture.start <= aperture.last;
}

/**
 * What an address space over domains of several kinds can do: a page of the largest granule is a number of smaller pages
 * elsewhere, so that every kind can map it.
 */
export function spaceCapabilities(all: readonly IommuCapabilities[]): IommuCapabilities {
  const [first, ...rest] = all;
  if (first === undefined) return ANYTHING;
  const granule = Math.max(...all.map(({ pageSizes }) => pageSizes[0] ?? 1));
  const common = rest.reduce(commonCapabilities, first);
  return { ...common, pageSizes: [granule, ...common.pageSizes.filter((size) => size > granule)] };
}

/** Whether hardware with `mine` can keep every promise about mappings that `promised` makes. */
export function canServe(mine: IommuCapabilities, promised: IommuCapabilities): boolean {
  const rights = ['readOnly', 'writeOnly', 'noExec', 'privileged'] as const;
  return (
    promised.pageSizes.every((size) => mine.pageSizes.includes(size)) &&
    mine.aperture.start <= promised.aperture.start &&
    mine.aperture.last >= promised.aperture.last &&
    mine.lastPhysAddr >= promised.lastPhysAddr &&
    (mine.dirtyTracking || !promised.dirtyTracking) &&
    rights.every((right) => mine.permissions[right] || !promised.permissions[right])
  );
}
