/** What a bank's registers say about the tables it walks. */
import { encode } from '@iommu-lab/machine';
import { ACTLR, SCTLR, TTBR0 } from '@iommu-lab/smmu-hw/regs';
import type { Current } from './bank-state.ts';
import { BLOCKED_ASID, type ResolvedMsmIommuConfig } from './config.ts';

/** One bank's registers, but for what every bank has alike. */
export interface BankProgram {
  /** SCTLR.M; false lets accesses pass untranslated (R32). */
  readonly isTranslating: boolean;
  readonly ttbr0: number;
  readonly ttbcr: number;
  readonly asid: number;
  readonly afe: 0 | 1;
  readonly prrr: number;
  readonly nmrr: number;
  readonly stallFaults: boolean;
  /** BFBCR.BFBDFE: a walk keeps the descriptors beside the one it needs, invalid ones too (R26). */
  readonly prefetches: boolean;
}

/** ACTLR.TLBMCFG and V2PCFG: walk on a miss (R33). */
const WALK_ON_MISS = 3;

/**
 * What the registers must say for each thing that a bank can translate by.
 * @param emptyTtbr0 the table of a blocked bank; it stands by under identity, too
 */
export function programOf(current: Current, emptyTtbr0: number, config: ResolvedMsmIommuConfig): BankProgram {
  const { format, stallFaults, invalidateOnMap } = config;
  const { afe, prrr, nmrr } = format;
  const atRest: BankProgram = {
    isTranslating: current.kind !== 'identity',
    ttbr0: emptyTtbr0,
    ttbcr: 0,
    asid: BLOCKED_ASID,
    afe,
    prrr,
    nmrr,
    stallFaults,
    prefetches: invalidateOnMap,
  };
  switch (current.kind) {
    case 'paging':
      return { ...atRest, ttbr0: current.table.ttbr0, asid: current.attachment.asid };
    case 'sva':
      return { ...atRest, ...current.table.registers, asid: current.attachment.asid };
    case 'identity':
    case 'blocked':
      return atRest;
  }
}

/** TTBR0 for a table: plain memory walks, or walks that look into the CPU's cache (0x6A, R54). */
export function ttbr0Of(root: number, coherentWalk: boolean): number {
  const attributes = coherentWalk ? encode(TTBR0, { SH: 1, NOS: 1, IRGNL: 1, ORGN: 1 }) : 0;
  return (root + attributes) >>> 0;
}

/** Memory types come from PRRR and NMRR. */
export function sctlrOf({ isTranslating, afe }: BankProgram): number {
  return encode(SCTLR, { M: isTranslating ? 1 : 0, TRE: 1, AFE: afe });
}

/** Cacheable traffic is redirected to the CPU's cache, faults raise the interrupt, misses walk. */
export function actlrOf({ stallFaults }: BankProgram): number {
  return encode(ACTLR, {
    CFEIE: 1,
    RCOSH: 1,
    RCISH: 1,
    RCNSH: 1,
    TLBMCFG: WALK_ON_MISS,
    CFCFG: stallFaults ? 1 : 0,
    V2PCFG: WALK_ON_MISS,
  });
}
