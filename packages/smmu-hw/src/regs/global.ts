/**
 * Registers of the global page (the last 4 KiB of the window), by offset inside the window.
 * The letters at the end of a doc string are explained in context.ts, and so is the length.
 */
import { bit, bits, reg32, type Register } from '@iommu-lab/machine';

/** Routing of one machine id; this row is the entry of MID 0, the others follow at 4 bytes each (`m2vcbrOffset`). */
export const M2VCBR: Register<
  | 'VMID'
  | 'CBNDX'
  | 'BYPASSD'
  | 'BPRCOSH'
  | 'BPRCISH'
  | 'BPRCNSH'
  | 'BPSHCFG'
  | 'NSCFG'
  | 'BPMTCFG'
  | 'BPMEMTYPE'
> = reg32(
  'M2VCBR',
  0xff000,
  'rw',
  'Machine id to VMID and context bank, and bypass attributes (R29, R32; open point: unroutedAccess). [H,D]',
  {
    VMID: bits(4, 0, 'Tags the TLB entries of this machine id (open point: vmidMismatch). [D]'),
    CBNDX: bits(15, 8, 'Context bank (R29, R30). [D]'),
    BYPASSD: bit(
      16,
      'Bypass disable: what would bypass is a global error instead (open point: bypassDisable). [S,U]',
    ),
    BPRCOSH: bit(17, 'Bypass: redirect cacheable outer-shareable traffic, as ACTLR.RCOSH. [S]'),
    BPRCISH: bit(18, 'Bypass: redirect cacheable inner-shareable traffic, as ACTLR.RCISH. [S]'),
    BPRCNSH: bit(19, 'Bypass: redirect cacheable non-shareable traffic, as ACTLR.RCNSH. [S]'),
    BPSHCFG: bits(
      21,
      20,
      'Bypass: shareability override (1 outer, 2 inner, 3 none; 0 no override, here none). [S,U]',
    ),
    NSCFG: bits(
      23,
      22,
      'Security: 3 = force non-secure, 2 = force secure, 0 and here 1 = as the master drives it (R31). [D,S]',
    ),
    BPMTCFG: bit(24, 'Bypass: use BPMEMTYPE (open point: bypassMemory). [S]'),
    BPMEMTYPE: bits(27, 25, 'Bypass: memory type, coded as PAR.NOFAULT_MT (fixed choice). [S,U]'),
  },
);

/** Attributes of one bank; this row is the entry of bank 0, the others follow at 4 bytes each (`cbacrOffset`). */
export const CBACR: Register<'RWVMID' | 'RWE' | 'RWGE' | 'CBVMID' | 'IRPTNDX'> = reg32(
  'CBACR',
  0xff800,
  'rw',
  'Access control of a bank, its VMID, its interrupt. [H,D]',
  {
    RWVMID: bits(4, 0, 'VMID that may access the bank; no effect here, register accesses carry no VMID. [S]'),
    RWE: bit(8, 'Enables that check; no effect here. [S]'),
    RWGE: bit(9, 'Enables that check; no effect here. [S]'),
    CBVMID: bits(
      20,
      16,
      'VMID of the bank: scope of its invalidations and of V2P (R21; open point: vmidMismatch). [D]',
    ),
    IRPTNDX: bits(
      31,
      24,
      'Interrupt: 0 = secure line, 1 = non-secure line (R48; open point: interruptIndexBeyond). [D]',
    ),
  },
);

/** Selects the TLB entry that TLBTR0 to TLBTR2 show. */
export const TLBRSW: Register<'INDEX' | 'TLBBFBS'> = reg32(
  'TLBRSW',
  0xffe00,
  'wo',
  'Selects the entry that TLBTR0 to TLBTR2 show (R59; open point: selectedEntry). [H,D]',
  {
    INDEX: bits(7, 0, 'Entry. [H]'),
    TLBBFBS: bits(
      9,
      8,
      '0 = TLB, else the block fetch buffer, of which TLBTR0 to TLBTR2 show 0 (fixed choice). [H,U]',
    ),
  },
);

/** Selected entry: rights and attributes. */
export const TLBTR0: Register<
  'PR' | 'PW' | 'UR' | 'UW' | 'XN' | 'NSDESC' | 'ISH' | 'SH' | 'MT' | 'DPSIZR' | 'DPSIZC'
> = reg32(
  'TLBTR0',
  0xffe80,
  'ro',
  'Selected TLB entry: rights, attributes, size. It is the TLB that fills TLBTR0 to TLBTR2: writes are ignored (fixed choice). [H]',
  {
    PR: bit(0, 'Privileged read allowed. [H]'),
    PW: bit(1, 'Privileged write allowed. [H]'),
    UR: bit(2, 'User read allowed. [H]'),
    UW: bit(3, 'User write allowed. [H]'),
    XN: bit(4, 'Execute never. [H]'),
    NSDESC: bit(6, 'NS bit of the descriptor. [H]'),
    ISH: bit(7, 'Inner shareable. [H]'),
    SH: bit(8, 'Shareable. [H]'),
    MT: bits(11, 9, 'Inner memory type, coded as PAR.NOFAULT_MT (fixed choice). [H,U]'),
    DPSIZR: bits(18, 16, 'Size, here 0 = 4K, 1 = 64K, 2 = 1M, 3 = 16M (fixed choice). [H,U]'),
    DPSIZC: bits(22, 20, 'Size, here the same code (fixed choice). [H,U]'),
  },
);

/** Selected entry: VMID and physical page. */
export const TLBTR1: Register<'VMID' | 'PA'> = reg32(
  'TLBTR1',
  0xffe84,
  'ro',
  'Selected TLB entry: VMID and physical page; writes are ignored. [H]',
  { VMID: bits(4, 0, 'Tag. [H]'), PA: bits(31, 12, 'Where its page starts, the low 32 bits. [H]') },
);

/** Selected entry: ASID, valid, address. */
export const TLBTR2: Register<'ASID' | 'V' | 'NSTID' | 'NV' | 'VA'> = reg32(
  'TLBTR2',
  0xffe88,
  'ro',
  'Selected TLB entry: tags; writes are ignored. [H]',
  {
    ASID: bits(7, 0, 'Tag; 0 of a global entry. [H]'),
    V: bit(8, 'Valid; if not, all three read 0. [H]'),
    NSTID: bit(9, 'Unknown; reads 0 here. [U]'),
    NV: bit(10, 'Unknown; here 1 = global entry, the ASID does not count (fixed choice). [U]'),
    VA: bits(31, 12, 'Tag. [H]'),
  },
);

/** Debug bus. */
export const TESTBUSCR: Register<
  'TBE' | 'SPDMBE' | 'WGSEL' | 'TBLSEL' | 'TBHSEL' | 'SPDM0SEL' | 'SPDM1SEL' | 'SPDM2SEL' | 'SPDM3SEL'
> = reg32('TESTBUSCR', 0xffe8c, 'rw', 'Debug bus; no effect here. [H,D]', {
  TBE: bit(0, 'Test bus enable; no effect here. [H]'),
  SPDMBE: bit(1, 'SPDM bus enable; no effect here. [H]'),
  WGSEL: bits(9, 8, 'Selector; no effect here. [H]'),
  TBLSEL: bits(13, 12, 'Selector; no effect here. [H]'),
  TBHSEL: bits(15, 14, 'Selector; no effect here. [H]'),
  SPDM0SEL: bits(19, 16, 'Selector; no effect here. [H]'),
  SPDM1SEL: bits(23, 20, 'Selector; no effect here. [H]'),
  SPDM2SEL: bits(27, 24, 'Selector; no effect here. [H]'),
  SPDM3SEL: bits(31, 28, 'Selector; no effect here. [H]'),
});

/** Drops the whole TLB. */
export const GLOBAL_TLBIALL: Register = reg32(
  'GLOBAL_TLBIALL',
  0xfff00,
  'wo',
  'A write of anything drops every TLB entry (R19; open point: globalInvalidateLocked). [H,D]',
);

/** Drops the entries of a VMID. */
export const TLBIVMID: Register<'VMID'> = reg32(
  'TLBIVMID',
  0xfff04,
  'wo',
  'A write drops every TLB entry of a VMID, global ones too (open point: globalInvalidateLocked). [H]',
  { VMID: bits(4, 0, 'Which. [H]') },
);

/** Global control. */
export const CR: Register<
  | 'RPUE'
  | 'RPUERE'
  | 'RPUEIE'
  | 'DCDEE'
  | 'CLIENTPD'
  | 'STALLD'
  | 'TLBLKCRWE'
  | 'TLBIALLCFG'
  | 'TLBIVMIDCFG'
  | 'HUME'
> = reg32('CR', 0xfff80, 'rw', 'Global control (R5). [H,D]', {
  RPUE: bit(0, 'Register protection unit enable; no effect here, register accesses carry no VMID. [S]'),
  RPUERE: bit(1, 'Its error response; no effect here. [S]'),
  RPUEIE: bit(2, 'Its error interrupt; no effect here. [S]'),
  DCDEE: bit(3, 'Decode error enable; no effect here. [S]'),
  CLIENTPD: bit(4, 'Client port disable: every access bypasses (open point: clientPortDisable). [S,U]'),
  STALLD: bit(5, 'Stall disable: a fault terminates (R50; open point: stallDisable). [S,U]'),
  TLBLKCRWE: bit(6, 'TLBLCKR write enable (R6; open point: lockRegisterGate). [D,S]'),
  TLBIALLCFG: bit(7, 'Locked entries survive GLOBAL_TLBIALL (R19; open point: globalInvalidateLocked). [S]'),
  TLBIVMIDCFG: bit(8, 'Locked entries survive TLBIVMID (R19; open point: globalInvalidateLocked). [S]'),
  HUME: bit(9, 'Hit-under-miss enable; no effect here. [S]'),
});

/** Address of the recorded global error. */
export const EAR: Register = reg32(
  'EAR',
  0xfff84,
  'rw',
  'The IOVA of the recorded global error, its low 32 bits. [H,S]',
);

/** Global error status. */
export const ESR: Register<'CFG' | 'BYPASS' | 'MULTI'> = reg32(
  'ESR',
  0xfff88,
  'w1c',
  'Global error status; a written 1 clears its bit (R46; open point: globalErrorLine). [H,S]',
  {
    CFG: bit(
      0,
      'Configuration error: an access could not be routed (open points: unroutedAccess, vmidMismatch). [S]',
    ),
    BYPASS: bit(
      1,
      'An access would have bypassed translation where that is forbidden (open point: bypassDisable). [S]',
    ),
    MULTI: bit(31, 'A further error came while ESR was not 0; it changes nothing else. [S]'),
  },
);

/** Loads ESR. */
export const ESRRESTORE: Register = reg32(
  'ESRRESTORE',
  0xfff8c,
  'wo',
  'A write loads ESR with the data (R47; open point: statusRestore). [H,D,S]',
);

/** Who caused the recorded global error. */
export const ESYNR0: Register<'AMID' | 'APID' | 'ABID' | 'AVMID' | 'ATID'> = reg32(
  'ESYNR0',
  0xfff90,
  'rw',
  'Error syndrome 0: bus ids; a record has 0 in what is not said to be recorded. [H]',
  {
    AMID: bits(7, 0, 'Recorded: machine id, its low 8 bits. [H]'),
    APID: bits(12, 8, 'Port id. [H]'),
    ABID: bits(15, 13, 'Bus id. [H]'),
    AVMID: bits(20, 16, 'Recorded: VMID of its routing, 0 if it has none. [H]'),
    ATID: bits(31, 24, 'Transaction id. [H]'),
  },
);

/** What the access of the recorded global error looked like. */
export const ESYNR1: Register<
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
  | 'AOOO'
  | 'AFULL'
  | 'AC'
  | 'DCD'
> = reg32(
  'ESYNR1',
  0xfff94,
  'rw',
  'Error syndrome 1: transaction attributes; a record has 0 as in ESYNR0. [H]',
  {
    AMEMTYPE: bits(2, 0, 'Memory type the master drives. [H]'),
    ASHARED: bit(3, 'Shareable. [H]'),
    AINNERSHARED: bit(4, 'Inner shareable. [H]'),
    APRIV: bit(5, 'Recorded: privileged. [H]'),
    APROTNS: bit(6, 'Recorded: non-secure, after NSCFG (R31). [H]'),
    AINST: bit(7, 'Recorded: instruction fetch. [H]'),
    AWRITE: bit(8, 'Recorded: write. [H]'),
    ABURST: bit(10, 'Burst kind. [H]'),
    ALEN: bits(15, 12, 'Burst length. [H]'),
    ASIZE: bit(16, 'Beat size; one bit in the header, three in FSYNR1. [H]'),
    ALOCK: bits(21, 20, 'Lock. [H]'),
    AOOO: bit(22, 'Unknown. [U]'),
    AFULL: bit(24, 'Full write. [H]'),
    AC: bit(30, 'Unknown. [U]'),
    DCD: bit(31, 'Unknown. [U]'),
  },
);

/** Revision. */
export const REV: Register<'MINOR' | 'MAJOR'> = reg32(
  'REV',
  0xffff4,
  'ro',
  'Revision: `revision` of the configuration. [H]',
  {
    MINOR: bits(3, 0, 'Minor. [H]'),
    MAJOR: bits(7, 4, 'Major. [H]'),
  },
);

/** What this instance has. */
export const IDR: Register<'NM2VCBMT' | 'HTW' | 'HUM' | 'TLBSIZE' | 'NCB' | 'NIRPT'> = reg32(
  'IDR',
  0xffff8,
  'ro',
  'Identification: counts of the configuration (R4). [H,D]',
  {
    NM2VCBMT: bits(
      8,
      0,
      'Number of M2VCBR entries, here not minus one, and 511 for 512 (fixed choice). [H,U]',
    ),
    HTW: bit(9, 'Hardware walker present; 1 here. [H]'),
    HUM: bit(10, 'Hit-under-miss present; 0 here. [H]'),
    TLBSIZE: bits(15, 12, 'TLB size, here log2 of the entry count, rounded down (fixed choice). [H,U]'),
    NCB: bits(23, 16, 'Number of banks minus one. [D]'),
    NIRPT: bits(31, 24, 'Number of interrupts, here 2 (fixed choice). [H,U]'),
  },
);

/** Access control of the register protection unit. */
export const RPU_ACR: Register = reg32(
  'RPU_ACR',
  0xffffc,
  'rw',
  'Register protection unit; no effect here, register accesses carry no VMID. [H,D]',
);

/** The global registers there is one of, by offset (M2VCBR and CBACR are arrays and not among them). */
export const GLOBAL_REGISTERS: readonly Register[] = [
  TLBRSW,
  TLBTR0,
  TLBTR1,
  TLBTR2,
  TESTBUSCR,
  GLOBAL_TLBIALL,
  TLBIVMID,
  CR,
  EAR,
  ESR,
  ESRRESTORE,
  ESYNR0,
  ESYNR1,
  REV,
  IDR,
  RPU_ACR,
];
