/** What a bank's registers say about the tables it walks. */
import { encode } from '@iommu-lab/machine';
import { ACTLR, SCTLR } from '@iommu-lab/smmu-hw/regs';

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
