/**
 * Registers of one context bank, by offset inside the bank's 4 KiB page. REGISTERS.md is made of these rows.
 *
 * The letters in brackets at the end of a doc string say what the meaning rests on: H named by the public register
 * header, D what the Linux driver does with it, K what the GPU driver does with it, A the ARMv7 architecture,
 * S the same-named field of later ARM SMMUs (unconfirmed for this block), U unknown. "No effect here": a field that
 * keeps what is written, and nothing else follows. "Open point": a row of `OPEN_POINTS`, whose reading decides.
 *
 * Long because it is the manual's table of these registers, row by row.
 */
import { bit, bits, reg32, type Register } from '@iommu-lab/machine';

/** Bank control. */
export const SCTLR: Register<'M' | 'TRE' | 'AFE' | 'HAF' | 'BE' | 'AFFD'> = reg32(
  'SCTLR',
  0x000,
  'rw',
  'Bank control: MMU enable, TEX remap, access flag. [H,D]',
  {
    M: bit(0, 'MMU enable; 0 = accesses pass untranslated (R32). [D]'),
    TRE: bit(1, 'TEX remap enable: memory types come from PRRR and NMRR (R42). [D]'),
    AFE: bit(2, 'Access flag enable: AP[0] is the access flag (R41). [D,A]'),
    HAF: bit(3, 'Hardware-managed access flag, with AFE=1 (R41; open point: hardwareAccessFlag). [S,A]'),
    BE: bit(4, 'Big-endian table walks: descriptors are read and updated byte-swapped. [S]'),
    AFFD: bit(5, 'Access flag fault disable: AF=0 does not fault (R41). [S]'),
  },
);

/** Bank auxiliary control. */
export const ACTLR: Register<
  | 'CFERE'
  | 'CFEIE'
  | 'PTSHCFG'
  | 'RCOSH'
  | 'RCISH'
  | 'RCNSH'
  | 'PRIVCFG'
  | 'DNA'
  | 'DNLV2PA'
  | 'TLBMCFG'
  | 'CFCFG'
  | 'TIPCF'
  | 'V2PCFG'
  | 'HUME'
  | 'PTMTCFG'
  | 'PTMEMTYPE'
> = reg32(
  'ACTLR',
  0x004,
  'rw',
  'Bank auxiliary control: fault reporting, policy on a TLB miss, redirect of cacheable traffic. [H,D]',
  {
    CFERE: bit(0, 'Context fault: return an error to the client (open point: terminatedAccess). [S]'),
    CFEIE: bit(1, 'Context fault interrupt enable (R48, R49). [D]'),
    PTSHCFG: bits(3, 2, 'Shareability override of table walks; no effect here. [S]'),
    RCOSH: bit(4, 'Redirect cacheable outer-shareable traffic to the slave port of the L2 cache. [D]'),
    RCISH: bit(5, 'Redirect cacheable inner-shareable traffic. [D]'),
    RCNSH: bit(6, 'Redirect cacheable non-shareable traffic. [D]'),
    PRIVCFG: bits(
      9,
      8,
      'Privilege override: 2 = user, 3 = privileged; 0 and 1 = as the master drives it. [S]',
    ),
    DNA: bit(10, 'Unknown; no effect here. [U]'),
    DNLV2PA: bit(11, 'Unknown; no effect here. [U]'),
    TLBMCFG: bits(
      13,
      12,
      'Policy on a TLB miss: 3 = walk; 0 and 1 fault with TLBMF (R33; open point: missPolicyTwo). [D,U]',
    ),
    CFCFG: bit(14, '1 = hold a faulting access until RESUME; 0 = terminate it (R50). [D,S]'),
    TIPCF: bit(15, 'Unknown; no effect here. [U]'),
    V2PCFG: bits(
      17,
      16,
      'Policy of V2P: 3 = walk on a miss; 1, and here 0, look in the TLB only (R7; open point: missPolicyTwo). [D,U]',
    ),
    HUME: bit(18, 'Hit-under-miss enable; no effect here. [S]'),
    PTMTCFG: bit(20, 'Use PTMEMTYPE for table walks; no effect here. [S]'),
    PTMEMTYPE: bits(23, 21, 'Memory type override of table walks; no effect here. [S]'),
  },
);

/** The address space identifier that tags this bank's TLB entries. */
export const CONTEXTIDR: Register<'ASID' | 'PROCID'> = reg32(
  'CONTEXTIDR',
  0x008,
  'rw',
  'Address space and process identifiers. [H,D]',
  {
    ASID: bits(7, 0, 'Tags non-global TLB entries. [D]'),
    PROCID: bits(31, 8, 'For software; no effect here. [H]'),
  },
);

type TtbrField = 'IRGNH' | 'SH' | 'ORGN' | 'NOS' | 'IRGNL' | 'PALOW' | 'PA';

const TTBR_FIELDS: Register<TtbrField>['fields'] = {
  IRGNH: bit(
    0,
    'Inner region {IRGNH, IRGNL}, high bit: 0 non-cacheable, 1 WB-WA, 2 WT, 3 WB no WA; walks look only at 0 or not 0 (R54). [D,A]',
  ),
  SH: bit(1, 'Walks are shareable: with a region that is not 0 they see the cache of the CPU (R54). [D,A]'),
  ORGN: bits(4, 3, 'Outer region, coded as the inner one. [D,A]'),
  NOS: bit(5, 'Not outer shareable; no effect here. [D,A]'),
  IRGNL: bit(6, 'Inner region, low bit. [D,A]'),
  PALOW: bits(
    13,
    7,
    'No field of the header. Table base below 16 KiB while TTBCR.N is not 0 (open point: ttbr0Base). [A]',
  ),
  PA: bits(31, 14, 'Table base (R35). [H,D]'),
};

/** Table base 0. */
export const TTBR0: Register<TtbrField> = reg32(
  'TTBR0',
  0x010,
  'rw',
  'Translation table base 0 and walk attributes (R35, R54). [H,D]',
  TTBR_FIELDS,
);

/** Table base 1, laid out as TTBR0. PALOW is stored only: its table is never smaller than 16 KiB. */
export const TTBR1: Register<TtbrField> = reg32(
  'TTBR1',
  0x014,
  'rw',
  'Translation table base 1; used for the upper part of the address space when TTBCR.N is not 0 (R34). [H,D]',
  {
    ...TTBR_FIELDS,
    PALOW: bits(13, 7, 'No field of the header, and the table is never below 16 KiB; no effect here. [A]'),
  },
);

/** Split of the address space. The public header puts N at [5:3], against its own driver's use; it is [2:0]. */
export const TTBCR: Register<'N' | 'PD0' | 'PD1'> = reg32(
  'TTBCR',
  0x018,
  'rw',
  'Translation table base control (R34). [H,D]',
  {
    N: bits(
      2,
      0,
      'TTBR0 serves addresses whose top N bits are 0, TTBR1 the others; 0 = TTBR0 serves all. The header has it at [5:3]. [D,A]',
    ),
    PD0: bit(4, 'A walk through TTBR0 is a translation fault instead. [A]'),
    PD1: bit(5, 'A walk through TTBR1 is a translation fault instead. [A]'),
  },
);

/** Result of the last V2P operation; FAULT decides which of two layouts is valid (they overlap). */
export const PAR: Register<
  | 'FAULT'
  | 'NOFAULT_SS'
  | 'TF'
  | 'AFF'
  | 'APF'
  | 'TLBMF'
  | 'HTWDEEF'
  | 'HTWSEEF'
  | 'MHF'
  | 'NOFAULT_MT'
  | 'NOFAULT_SH'
  | 'NOFAULT_NS'
  | 'NOFAULT_NOS'
  | 'PA'
  | 'SL'
  | 'SS'
> = reg32('PAR', 0x01c, 'rw', 'Result of the last V2P operation, in one of two layouts (R7 to R14). [H,D]', {
  FAULT: bit(0, '1 = the translation failed, and the cause bits are valid. [D]'),
  NOFAULT_SS: bit(
    1,
    'FAULT=0: the address lies in a supersection, only PA[31:24] is valid; bits 23:12 are 0 here (R12). [D]',
  ),
  TF: bit(1, 'FAULT=1: translation fault. [H]'),
  AFF: bit(2, 'FAULT=1: access flag fault. [H]'),
  APF: bit(3, 'FAULT=1: permission fault. [H]'),
  TLBMF: bit(4, 'FAULT=1: TLB miss fault (open point: probeMissStatus). [H,U]'),
  HTWDEEF: bit(5, 'FAULT=1: table walk, decode error. [H]'),
  HTWSEEF: bit(6, 'FAULT=1: table walk, slave error. [H]'),
  MHF: bit(7, 'FAULT=1: multi-hit fault (open point: multiHit). [H]'),
  NOFAULT_MT: bits(
    6,
    4,
    'FAULT=0: inner memory type, coded as in the PAR of ARMv7: 0 non-cacheable, 1 strongly ordered, 3 device, 5 WB-WA, 6 WT, 7 WB no WA. [H,A]',
  ),
  NOFAULT_SH: bit(7, 'FAULT=0: shareable. [H,A]'),
  NOFAULT_NS: bit(9, 'FAULT=0: NS bit of the descriptor (fixed choice). [H]'),
  NOFAULT_NOS: bit(10, 'FAULT=0: not outer shareable. [H,A]'),
  PA: bits(
    31,
    12,
    'NPFAULT_PA in the header. FAULT=0: the physical 4 KiB page, for every leaf size but a supersection (R11). [D]',
  ),
  SL: bit(16, 'FAULT=1: the second level failed. [H,S]'),
  SS: bit(30, 'FAULT=1: stalled, as in FSR; a V2P never stalls and has 0 here. [H]'),
});

/** Fault status. */
export const FSR: Register<
  'TF' | 'AFF' | 'APF' | 'TLBMF' | 'HTWDEEF' | 'HTWSEEF' | 'MHF' | 'SL' | 'SS' | 'MULTI'
> = reg32(
  'FSR',
  0x020,
  'w1c',
  'Fault status; a written 1 clears its bit (R44 to R46). Bit 0 has no name. [H,D]',
  {
    TF: bit(1, 'Translation fault. [H,D]'),
    AFF: bit(2, 'Access flag fault. [H,D]'),
    APF: bit(3, 'Permission fault. [H,D]'),
    TLBMF: bit(4, 'TLB miss fault (R33). [H]'),
    HTWDEEF: bit(5, 'Table walk, decode error. [H]'),
    HTWSEEF: bit(6, 'Table walk, slave error. [H]'),
    MHF: bit(7, 'Multi-hit fault (open point: multiHit). [H]'),
    SL: bit(16, 'The second level caused it (R36). [H,S]'),
    SS: bit(30, 'A transaction is stalled (R50; open point: clearingStallStatus). [D,S]'),
    MULTI: bit(31, 'A further fault came while FSR was not 0 (R45; open point: furtherFault). [H,S]'),
  },
);

/** Loads FSR. */
export const FSRRESTORE: Register = reg32(
  'FSRRESTORE',
  0x024,
  'wo',
  'A write loads FSR with the data (R47; open point: statusRestore). [H,D,S]',
);

/** Fault address. */
export const FAR: Register = reg32(
  'FAR',
  0x028,
  'rw',
  'The IOVA of the recorded fault, its low 32 bits. [H,D]',
);

/** Who caused the recorded fault. */
export const FSYNR0: Register<'AMID' | 'APID' | 'ABID' | 'ATID'> = reg32(
  'FSYNR0',
  0x02c,
  'rw',
  'Fault syndrome 0: bus ids; a record has 0 in what is not said to be recorded. [H]',
  {
    AMID: bits(7, 0, 'Recorded: machine id, its low 8 bits (R44). [H,D]'),
    APID: bits(12, 8, 'Port id. [H]'),
    ABID: bits(15, 13, 'Bus id. [H]'),
    ATID: bits(31, 24, 'Transaction id. [H]'),
  },
);

/** What the access of the recorded fault looked like. */
export const FSYNR1: Register<
  | 'AMEMTYPE'
  | 'ASHARED'
  | 'AINNERSHARED'
  | 'APRIV'
  | 'APROTNS'
  | 'AINST'
  | 'AWRITE'
  | 'ABURST'
  | 'ALEN'
  | 'ASIZE'
  | 'ALOCK'
  | 'AFULL'
> = reg32(
  'FSYNR1',
  0x030,
  'rw',
  'Fault syndrome 1: transaction attributes; a record has 0 as in FSYNR0. [H,K]',
  {
    AMEMTYPE: bits(2, 0, 'Memory type the master drives. [H]'),
    ASHARED: bit(3, 'Shareable. [H]'),
    AINNERSHARED: bit(4, 'Inner shareable. [H]'),
    APRIV: bit(5, 'Recorded: privileged, after PRIVCFG. [H]'),
    APROTNS: bit(6, 'Recorded: non-secure, after NSCFG (R31). [H]'),
    AINST: bit(7, 'Recorded: instruction fetch. [H]'),
    AWRITE: bit(8, 'Recorded: write (R44). [K]'),
    ABURST: bit(10, 'Burst kind. [H]'),
    ALEN: bits(15, 12, 'Burst length. [H]'),
    ASIZE: bits(18, 16, 'Beat size. [H]'),
    ALOCK: bits(21, 20, 'Lock. [H]'),
    AFULL: bit(24, 'Full write. [H]'),
  },
);

/** Field names of PRRR. */
export type PrrrField =
  `MTC${ClassNumber}` | `NOS${ClassNumber}` | 'SHDSH0' | 'SHDSH1' | 'SHNMSH0' | 'SHNMSH1';
/** Field names of NMRR. */
export type NmrrField = `ICPC${ClassNumber}` | `OCPC${ClassNumber}`;
type ClassNumber = '0' | '1' | '2' | '3' | '4' | '5' | '6' | '7';

/** Primary region remap: memory type by class {TEX[0], C, B}. */
export const PRRR: Register<PrrrField> = reg32('PRRR', 0x034, 'rw', 'Primary region remap (R42). [H,D]', {
  MTC0: bits(1, 0, 'Type of class 0: 0 strongly ordered, 1 device, 2 normal; 3 is here as 0. [H,A]'),
  MTC1: bits(3, 2, 'Type of class 1. [H,A]'),
  MTC2: bits(5, 4, 'Type of class 2. [H,A]'),
  MTC3: bits(7, 6, 'Type of class 3. [H,A]'),
  MTC4: bits(9, 8, 'Type of class 4. [H,A]'),
  MTC5: bits(11, 10, 'Type of class 5. [H,A]'),
  MTC6: bits(13, 12, 'Type of class 6. [H,A]'),
  MTC7: bits(15, 14, 'Type of class 7. [H,A]'),
  SHDSH0: bit(16, 'Shareability of device memory with S=0. [H,A]'),
  SHDSH1: bit(17, 'Shareability of device memory with S=1. [H,A]'),
  SHNMSH0: bit(18, 'Shareability of normal memory with S=0. [H,A]'),
  SHNMSH1: bit(19, 'Shareability of normal memory with S=1. [H,A]'),
  NOS0: bit(24, 'Class 0, if shareable, is inner shareable only. [H,A]'),
  NOS1: bit(25, 'Class 1, likewise. [H,A]'),
  NOS2: bit(26, 'Class 2, likewise. [H,A]'),
  NOS3: bit(27, 'Class 3, likewise. [H,A]'),
  NOS4: bit(28, 'Class 4, likewise. [H,A]'),
  NOS5: bit(29, 'Class 5, likewise. [H,A]'),
  NOS6: bit(30, 'Class 6, likewise. [H,A]'),
  NOS7: bit(31, 'Class 7, likewise. [H,A]'),
});

/** Normal memory remap: cache policies by class. */
export const NMRR: Register<NmrrField> = reg32('NMRR', 0x038, 'rw', 'Normal memory remap (R42). [H,D]', {
  ICPC0: bits(1, 0, 'Inner policy of class 0: 0 non-cacheable, 1 WB-WA, 2 WT, 3 WB no WA. [H,A]'),
  ICPC1: bits(3, 2, 'Inner policy of class 1. [H,A]'),
  ICPC2: bits(5, 4, 'Inner policy of class 2. [H,A]'),
  ICPC3: bits(7, 6, 'Inner policy of class 3. [H,A]'),
  ICPC4: bits(9, 8, 'Inner policy of class 4. [H,A]'),
  ICPC5: bits(11, 10, 'Inner policy of class 5. [H,A]'),
  ICPC6: bits(13, 12, 'Inner policy of class 6. [H,A]'),
  ICPC7: bits(15, 14, 'Inner policy of class 7. [H,A]'),
  OCPC0: bits(17, 16, 'Outer policy of class 0, coded as the inner one. [H,A]'),
  OCPC1: bits(19, 18, 'Outer policy of class 1. [H,A]'),
  OCPC2: bits(21, 20, 'Outer policy of class 2. [H,A]'),
  OCPC3: bits(23, 22, 'Outer policy of class 3. [H,A]'),
  OCPC4: bits(25, 24, 'Outer policy of class 4. [H,A]'),
  OCPC5: bits(27, 26, 'Outer policy of class 5. [H,A]'),
  OCPC6: bits(29, 28, 'Outer policy of class 6. [H,A]'),
  OCPC7: bits(31, 30, 'Outer policy of class 7. [H,A]'),
});

/** TLB lockdown. The public header puts VICTIM at [15:8] by mistake; it is [23:16]. */
export const TLBLCKR: Register<'LKE' | 'TLBIALLCFG' | 'TLBIASIDCFG' | 'TLBIVAACFG' | 'FLOOR' | 'VICTIM'> =
  reg32(
    'TLBLCKR',
    0x03c,
    'rw',
    'TLB lockdown control; writable while CR.TLBLKCRWE is 1 (R6; open points: lockRegisterGate, lockdown). [H,K,S]',
    {
      LKE: bit(0, 'V2P operations load locked entries, at V2Pxx.INDEX (R17). [K]'),
      TLBIALLCFG: bit(1, 'Locked entries survive CTX_TLBIALL (R18). [K]'),
      TLBIASIDCFG: bit(2, 'Locked entries survive TLBIASID (R18). [K]'),
      TLBIVAACFG: bit(3, 'Locked entries survive TLBIVAA (R18). [K]'),
      FLOOR: bits(15, 8, 'Number of low TLB indices that ordinary loads of this bank leave alone. [K]'),
      VICTIM: bits(
        23,
        16,
        'Next index to replace; no effect here. The header has it at [15:8], that of the GPU driver here. [K]',
      ),
    },
  );

/** Status of the last V2P operation. */
export const V2PSR: Register<'HIT' | 'INDEX'> = reg32(
  'V2PSR',
  0x040,
  'rw',
  'Whether the last V2P hit in the TLB, and at which index. [H]',
  { HIT: bit(0, 'The TLB had the entry. [H]'), INDEX: bits(15, 8, 'Its index; 0 after a miss. [H]') },
);

/** Only ever written 0. */
export const TLBFLPTER: Register = reg32('TLBFLPTER', 0x044, 'rw', 'Unknown; no effect here. [H,U]');
/** Only ever written 0. */
export const TLBSLPTER: Register = reg32('TLBSLPTER', 0x048, 'rw', 'Unknown; no effect here. [H,U]');

/** Block fetch buffer (prefetch) control. */
export const BFBCR: Register<'BFBDFE' | 'BFBSFE' | 'SFVS' | 'FLVIC' | 'SLVIC'> = reg32(
  'BFBCR',
  0x04c,
  'rw',
  'Block fetch buffer control. [H,D]',
  {
    BFBDFE: bit(
      0,
      'Prefetch enable: walks of this bank use the block fetch buffer, if the instance has one (R26, R60). [D]',
    ),
    BFBSFE: bit(1, 'Unknown; no effect here. [U]'),
    SFVS: bit(2, 'Unknown; no effect here. [U]'),
    FLVIC: bits(7, 4, 'Unknown; no effect here. [U]'),
    SLVIC: bits(11, 8, 'Unknown; no effect here. [U]'),
  },
);

/** Drops the bank's TLB entries, whatever the data. */
export const CTX_TLBIALL: Register = reg32(
  'CTX_TLBIALL',
  0x800,
  'wo',
  'A write of anything drops the TLB entries of this bank (R20, R21; open point: contextInvalidateScope). [H,D,K]',
);

/** Drops one address space's entries. */
export const TLBIASID: Register<'ASID'> = reg32(
  'TLBIASID',
  0x804,
  'wo',
  "A write drops the non-global entries of an ASID and the bank's VMID (R22; open point: asidInvalidateGlobals). [H,D]",
  { ASID: bits(7, 0, 'Which. [D]') },
);

/** Drops the entry that covers an address, in one address space. */
export const TLBIVA: Register<'ASID' | 'VA'> = reg32(
  'TLBIVA',
  0x808,
  'wo',
  "A write drops the entry of any size that covers VA for an ASID and the bank's VMID (R23; open point: addressInvalidateGlobals). [H,D]",
  { ASID: bits(7, 0, 'Whose. [D]'), VA: bits(31, 12, 'Address of a 4 KiB page inside the entry. [D]') },
);

/** Drops the entries that cover an address, in all address spaces. */
export const TLBIVAA: Register<'VA'> = reg32(
  'TLBIVAA',
  0x80c,
  'wo',
  "A write drops the entries of any size and ASID, of the bank's VMID, that cover VA (R23). [H]",
  { VA: bits(31, 12, 'Address of a 4 KiB page inside the entry. [H]') },
);

type V2pField = 'INDEX' | 'VA';
const V2P_FIELDS: Register<V2pField>['fields'] = {
  INDEX: bits(7, 0, 'TLB index to load while TLBLCKR.LKE is 1, else ignored (R17). [K]'),
  VA: bits(31, 12, 'The address to translate. [D]'),
};

/** Translates as a privileged read. */
export const V2PPR: Register<V2pField> = reg32(
  'V2PPR',
  0x810,
  'wo',
  'A write translates VA as a privileged read; the result stands in PAR (R7 to R16; open points: probeFaults, probeRights). [H,D]',
  V2P_FIELDS,
);
/** Translates as a privileged write. */
export const V2PPW: Register<V2pField> = reg32(
  'V2PPW',
  0x814,
  'wo',
  'A write translates VA as a privileged write; the result stands in PAR. [H]',
  V2P_FIELDS,
);
/** Translates as a user read. */
export const V2PUR: Register<V2pField> = reg32(
  'V2PUR',
  0x818,
  'wo',
  'A write translates VA as a user read; the result stands in PAR. The GPU driver locks entries with it (R17). [H,K]',
  V2P_FIELDS,
);
/** Translates as a user write. */
export const V2PUW: Register<V2pField> = reg32(
  'V2PUW',
  0x81c,
  'wo',
  'A write translates VA as a user write; the result stands in PAR. [H]',
  V2P_FIELDS,
);

/** Ends a stall. */
export const RESUME: Register<'TNR'> = reg32(
  'RESUME',
  0x820,
  'wo',
  'A write ends the stall of the bank; without one it is ignored (R51). [H,D,K]',
  {
    TNR: bit(
      0,
      'Terminate, not retry: 1 = the access ends as a fault, 0 = it is tried again (open point: resumeTerminates). [S]',
    ),
  },
);

/** All registers of a bank, by offset. */
export const CONTEXT_REGISTERS: readonly Register[] = [
  SCTLR,
  ACTLR,
  CONTEXTIDR,
  TTBR0,
  TTBR1,
  TTBCR,
  PAR,
  FSR,
  FSRRESTORE,
  FAR,
  FSYNR0,
  FSYNR1,
  PRRR,
  NMRR,
  TLBLCKR,
  V2PSR,
  TLBFLPTER,
  TLBSLPTER,
  BFBCR,
  CTX_TLBIALL,
  TLBIASID,
  TLBIVA,
  TLBIVAA,
  V2PPR,
  V2PPW,
  V2PUR,
  V2PUW,
  RESUME,
];
