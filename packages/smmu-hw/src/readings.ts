/**
 * What the public sources leave open about this hardware. Each open point is one named choice: a row with the values
 * it can take, the one the project stands by first. MANUAL.md says what follows from the rules; every test of a rule
 * runs under each value of each row.
 *
 * Long because it is the table of these choices.
 */
import { LabError } from '@iommu-lab/machine';

/** One open point: `values[0]` is the default. */
export interface OpenPoint {
  /** The rule of MANUAL.md, or the open point there. */
  readonly rule: string;
  /** What is open. */
  readonly question: string;
  readonly values: readonly (string | number)[];
  /** What each value means, in the order of `values`. */
  readonly meanings: readonly string[];
}

/** All open points by name. */
export const OPEN_POINTS = {
  /** A machine id without M2VCBR entry, or routed to a bank that does not exist. */
  unroutedAccess: {
    rule: 'open point 6',
    question: 'a machine id without M2VCBR entry, or a bank that does not exist',
    values: ['global-error', 'bypass'],
    meanings: ['ESR.CFG, the access is terminated', 'the access passes untranslated'],
  },
  /** Which line is high while ESR is not 0. */
  globalErrorLine: {
    rule: 'open point 6',
    question: 'the line that is high while ESR is not 0',
    values: ['none', 'secure', 'non-secure'],
    meanings: ['no line', 'the secure line', 'the non-secure line'],
  },
  /** M2VCBR.VMID differs from CBACR.CBVMID. */
  vmidMismatch: {
    rule: 'open point 4',
    question: 'M2VCBR.VMID differs from CBACR.CBVMID',
    values: ['allowed', 'global-error'],
    meanings: [
      "it translates, entries are tagged with the stream's VMID",
      'ESR.CFG, the access is terminated',
    ],
  },
  /** M2VCBR.BYPASSD=1 on an access that would bypass. */
  bypassDisable: {
    rule: 'open point 2',
    question: 'M2VCBR.BYPASSD=1 on an access that would bypass',
    values: ['global-error', 'ignored'],
    meanings: ['ESR.BYPASS, the access is terminated', 'it passes'],
  },
  /** CR.CLIENTPD=1. */
  clientPortDisable: {
    rule: 'open point 2',
    question: 'CR.CLIENTPD=1',
    values: ['bypass', 'ignored'],
    meanings: ['every access bypasses, as in later ARM SMMUs', 'nothing follows'],
  },
  /** CR.STALLD=1. */
  stallDisable: {
    rule: 'open point 2',
    question: 'CR.STALLD=1',
    values: ['terminates', 'ignored'],
    meanings: ['a fault never stalls', 'nothing follows'],
  },
  /** What a bypassing access counts as while BPMTCFG is 0. */
  bypassMemory: {
    rule: 'R32',
    question: 'what a bypassing access counts as while BPMTCFG is 0',
    values: ['cacheable', 'non-cacheable'],
    meanings: ['cacheable: BPRCxSH can redirect it', 'non-cacheable: it goes past the cache'],
  },
  /** What tags a TLB entry besides the address. */
  tlbTags: {
    rule: 'R27',
    question: 'what tags a TLB entry besides the address',
    values: ['vmid-and-asid', 'bank-vmid-and-asid'],
    meanings: ['banks with equal tags share entries', 'no bank uses an entry of another'],
  },
  /** What CTX_TLBIALL drops. */
  contextInvalidateScope: {
    rule: 'R21',
    question: 'what CTX_TLBIALL drops',
    values: ['vmid', 'vmid-and-asid', 'bank'],
    meanings: [
      "every entry of the bank's CBVMID",
      "of those, the ones with the bank's ASID, and global ones",
      'the entries this bank loaded',
    ],
  },
  /** What TLBIASID does to global entries. */
  asidInvalidateGlobals: {
    rule: 'R22',
    question: 'global entries at TLBIASID',
    values: ['kept', 'dropped'],
    meanings: ['they survive', "those of the bank's VMID are dropped too"],
  },
  /** What TLBIVA does to a global entry that covers the address. */
  addressInvalidateGlobals: {
    rule: 'R23',
    question: 'a global entry that covers the address of a TLBIVA',
    values: ['dropped', 'kept'],
    meanings: ['it is dropped whatever the ASID, as in ARMv7', 'it survives; TLBIVAA drops it'],
  },
  /** Two entries of the TLB translate one address. */
  multiHit: {
    rule: 'open point 8',
    question: 'two TLB entries translate one address',
    values: ['smaller-page', 'fault'],
    meanings: ['the entry of the smaller page answers', 'MHF'],
  },
  /** Whether the TLB keeps that a walk found nothing. */
  failedWalks: {
    rule: 'R26',
    question: 'a walk that ends in a translation fault',
    values: ['forgotten', 'kept'],
    meanings: [
      'is made again at the next access',
      'answers the page (the section, if the first level failed) until it is invalidated or replaced',
    ],
  },
  /** When TLBLCKR takes a write. */
  lockRegisterGate: {
    rule: 'R6',
    question: 'when TLBLCKR takes a write',
    values: ['cr-tlblkcrwe', 'open'],
    meanings: ['while CR.TLBLKCRWE is 1', 'always'],
  },
  /** What TLBLCKR is good for. */
  lockdown: {
    rule: 'R17, R18',
    question: 'TLBLCKR',
    values: ['entries', 'none'],
    meanings: ['locks entries', 'stores what is written, and nothing is ever locked'],
  },
  /** Locked entries at GLOBAL_TLBIALL and TLBIVMID. */
  globalInvalidateLocked: {
    rule: 'R19',
    question: 'locked entries at GLOBAL_TLBIALL and TLBIVMID',
    values: ['by-cr', 'dropped'],
    meanings: ['survive if CR.TLBIALLCFG or CR.TLBIVMIDCFG is 1', 'are dropped like the others'],
  },
  /** PAR after a V2P that found no entry and may not walk. */
  probeMissStatus: {
    rule: 'R7',
    question: 'PAR after a V2P that found no entry and may not walk',
    values: ['tlb-miss', 'translation'],
    meanings: ['FAULT and TLBMF (0x11)', 'FAULT and TF (0x3)'],
  },
  /** Value 2 of ACTLR.TLBMCFG and V2PCFG (0 and 1 do not walk, 3 does). */
  missPolicyTwo: {
    rule: 'R33, open point 3',
    question: 'value 2 of ACTLR.TLBMCFG and V2PCFG (3 walks, 0 and 1 do not)',
    values: ['faults', 'walks'],
    meanings: ['a miss is a TLBMF fault', 'a miss walks'],
  },
  /** Where a V2P that fails is noted. */
  probeFaults: {
    rule: 'R14',
    question: 'where a V2P that fails is noted',
    values: ['par-only', 'recorded'],
    meanings: ['in PAR', 'in PAR, and in FSR, FAR and FSYNR as a fault that does not stall (AMID 0)'],
  },
  /** Whether V2P looks at rights. */
  probeRights: {
    rule: 'R16',
    question: 'whether V2PPR, V2PPW, V2PUR and V2PUW check the right in their name',
    values: ['checked', 'unchecked'],
    meanings: ['they do', 'a V2P of a mapped address succeeds whatever its rights'],
  },
  /** FAR and FSYNR at a fault while FSR is not 0. */
  furtherFault: {
    rule: 'R45',
    question: 'FAR and FSYNR at a fault while FSR is not 0 (MULTI is set anyway)',
    values: ['first-kept', 'last-kept'],
    meanings: ['keep the first fault', 'take over the new one; its cause is added to FSR'],
  },
  /** A write to FSRRESTORE or ESRRESTORE. */
  statusRestore: {
    rule: 'R47',
    question: 'a write to FSRRESTORE or ESRRESTORE',
    values: ['loads', 'clears'],
    meanings: ['loads the status with the data', 'clears the status whatever the data'],
  },
  /** CBACR.IRPTNDX of 2 and more. */
  interruptIndexBeyond: {
    rule: 'R48',
    question: 'CBACR.IRPTNDX of 2 and more',
    values: ['no-line', 'non-secure'],
    meanings: ['no line', 'the non-secure line'],
  },
  /** Accesses that arrive at a bank that holds a stalled one. */
  stalledBank: {
    rule: 'R50',
    question: 'an access that arrives at a bank that holds a stalled one',
    values: ['blocks-all', 'hits-pass'],
    meanings: ['waits behind it', 'passes if the TLB translates it without fault, else waits'],
  },
  /** Which value of RESUME.TNR terminates. */
  resumeTerminates: {
    rule: 'R51',
    question: 'the value of RESUME.TNR that terminates',
    values: [1, 0],
    meanings: ['1 terminates, 0 retries', '0 terminates, 1 retries'],
  },
  /** Clearing FSR.SS, through FSR or FSRRESTORE, while an access is held. */
  clearingStallStatus: {
    rule: 'R52, open point 5',
    question: 'FSR.SS is cleared, through FSR or FSRRESTORE, while an access is held',
    values: ['keeps-stall', 'terminates'],
    meanings: ['the stall goes on', 'everything the bank holds is terminated'],
  },
  /** SCTLR.M becomes 0 while accesses are held. */
  disabledBank: {
    rule: 'R52',
    question: 'SCTLR.M becomes 0 while accesses are held',
    values: ['terminates', 'keeps-stall'],
    meanings: ['they are terminated', 'they stay until RESUME; what is retried then bypasses'],
  },
  /** What a master sees of an access that a context fault terminates. */
  terminatedAccess: {
    rule: 'ACTLR.CFERE',
    question: 'what a master sees of an access that a context fault terminated',
    values: ['error', 'by-cfere'],
    meanings: ['a bus error', 'a bus error if CFERE is 1, else reads give 0 and writes are dropped'],
  },
  /** Which bits of TTBR0 are the table base when TTBCR.N is not 0. */
  ttbr0Base: {
    rule: 'R35',
    question: 'the table base in TTBR0 when TTBCR.N is not 0',
    values: ['aligned-16k', 'by-ttbcr-n'],
    meanings: ['[31:14]', '[31:14-N], as in ARMv7'],
  },
  /** PA[39:32] of a supersection. */
  supersections: {
    rule: 'R37, open point 7',
    question: 'PA[39:32] of a supersection (descriptor bits 23:20 and 8:5)',
    values: ['32-bit', '40-bit'],
    meanings: ['do not count', 'count; PAR and TLBTR1 show the low 32 bits'],
  },
  /** SCTLR.HAF. */
  hardwareAccessFlag: {
    rule: 'R41',
    question: 'SCTLR.HAF',
    values: ['updates', 'ignored'],
    meanings: ['the walker sets AP[0] in the descriptor', 'nothing follows: AFF, unless AFFD'],
  },
  /** What TLBTR0 to TLBTR2 show after the entry that TLBRSW selected changed. */
  selectedEntry: {
    rule: 'R59',
    question: 'TLBTR0 to TLBTR2 after the entry that TLBRSW selected has changed',
    values: ['latched', 'live'],
    meanings: ['show it as it was when it was selected', 'show it as it is'],
  },
} as const;

/** Name of an open point. */
export type ReadingName = keyof typeof OPEN_POINTS;

/** A value for every open point. */
export type Readings = {
  readonly [Name in ReadingName]: (typeof OPEN_POINTS)[Name]['values'][number];
};

/** Fills in the defaults. @throws LabError EINVAL on a name or value that is none. */
export function resolveReadings(chosen: Partial<Readings> = {}): Readings {
  const points: Readonly<Record<string, OpenPoint>> = OPEN_POINTS;
  for (const [name, value] of Object.entries(chosen)) {
    const point = Object.hasOwn(points, name) ? points[name] : undefined;
    if (point === undefined) throw new LabError('EINVAL', `there is no open point "${name}"`, { name });
    if (value !== undefined && !point.values.includes(value)) {
      throw new LabError('EINVAL', `${name} is one of ${point.values.join(', ')}`, { name, value });
    }
  }
  const names = Object.keys(OPEN_POINTS) as ReadingName[];
  return Object.fromEntries(
    names.map((name) => [name, chosen[name] ?? OPEN_POINTS[name].values[0]]),
  ) as unknown as Readings;
}
