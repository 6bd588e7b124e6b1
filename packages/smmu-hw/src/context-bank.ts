/**
 * One context bank: its registers, and what translation needs of them, decoded at each register write so that an
 * access finds plain numbers.
 */
import { RegisterFile, extract, type Register, type ResumeOutcome } from '@iommu-lab/machine';
import type { ResolvedConfig } from './config.ts';
import type { DueAnswers } from './due-answers.ts';
import { onWrite } from './implemented.ts';
import { MEMORY_TABLE_WORDS, fillMemoryTable, redirectMask } from './memory-type.ts';
import {
  ACTLR,
  BFBCR,
  CONTEXTIDR,
  CONTEXT_REGISTERS,
  NMRR,
  PRRR,
  SCTLR,
  TLBLCKR,
  TTBCR,
  TTBR0,
  TTBR1,
} from './regs/index.ts';
import { StallQueue } from './stall.ts';
import { contextTag } from './tlb-key.ts';

/** ACTLR.TLBMCFG and V2PCFG: walk on a miss (R33). */
const WALK_ON_MISS = 3;
const UNKNOWN_POLICY = 2;
/** ACTLR.PRIVCFG, as in later ARM SMMUs. */
const PRIVCFG_USER = 2;
const PRIVCFG_PRIVILEGED = 3;

/** TLBLCKR, decoded. */
export interface TlbLock {
  /** V2P operations load locked entries. */
  loads: boolean;
  /** Locked entries survive CTX_TLBIALL, TLBIASID, TLBIVAA. */
  sparesAtAll: boolean;
  sparesAtAsid: boolean;
  sparesAtAddress: boolean;
}

/** A bank. What stands decoded in it changes with a register write only. */
export class ContextBank {
  readonly index: number;
  readonly registers: RegisterFile;
  readonly stall: StallQueue;

  /** An access of the bank needs nothing but translation: enabled, not blocked, nothing special in the way. */
  isReady = false;
  /** SCTLR.M. */
  isEnabled = false;
  hasAccessFlag = false;
  updatesAccessFlag = false;
  ignoresAccessFlag = false;
  isBigEndian = false;
  asid = 0;
  /** What the bank's look-ups compare, but for the VMID. */
  tag = 0;
  /** Hears of changes of `tag` and `isReady`. */
  onChange: () => void = () => {};
  /** CBACR.CBVMID and IRPTNDX; the device sets them. */
  vmid = 0;
  interruptIndex = 0;
  walksOnMiss = false;
  probeWalksOnMiss = false;
  prefetches = false;
  stallsOnFault = false;
  interruptEnabled = false;
  /** How an access ends that a fault terminates. */
  terminatedOutcome: ResumeOutcome = 'terminate';
  /** Privilege of every access if overridden. */
  privilegeOverride: boolean | undefined;
  redirects = 0;
  readonly lock: TlbLock = {
    loads: false,
    sparesAtAll: false,
    sparesAtAsid: false,
    sparesAtAddress: false,
  };
  /** Ordinary loads use no TLB index below it (TLBLCKR.FLOOR). */
  lockFloor = 0;
  /** Attribute bits by descriptor class. */
  readonly memoryTable: Int32Array = new Int32Array(MEMORY_TABLE_WORDS);
  /** TTBCR.N as the number of bits an address is shifted to see its top N; 32 = no split. */
  splitShift = 32;
  /** Table bases as signed words, whether walks through them are off (PD0, PD1), and whether they see the CPU's cache (R54). */
  tableBase0 = 0;
  tableBase1 = 0;
  walkDisabled0 = false;
  walkDisabled1 = false;
  walkSnoops0 = false;
  walkSnoops1 = false;

  readonly #config: ResolvedConfig;
  #isHeldUp = false;

  constructor(due: DueAnswers, index: number, config: ResolvedConfig) {
    this.index = index;
    this.#config = config;
    this.stall = new StallQueue(due, index, `${config.name} bank ${index}`, () => this.#refresh());
    this.registers = new RegisterFile(CONTEXT_REGISTERS);
    for (const register of CONTEXT_REGISTERS) {
      if (register.access === 'rw') onWrite(this.registers, register);
    }
    for (const register of [TTBR0, TTBR1, TTBCR]) this.on(register, () => this.#decodeTables());
    for (const register of [PRRR, NMRR]) this.on(register, () => this.#decodeMemoryTypes());
    this.on(CONTEXTIDR, () => this.#decodeAsid());
    this.on(BFBCR, () => this.#decodePrefetch());
    this.decode();
  }

  /** Hangs an effect on a register; what is kept of the written word is limited to the implemented bits. */
  on(register: Register, afterWrite: (value: number) => void): void {
    onWrite(this.registers, register, afterWrite);
  }

  /** Something outside the bank forbids that its accesses go straight to translation (CR.CLIENTPD). */
  holdUp(isHeldUp: boolean): void {
    this.#isHeldUp = isHeldUp;
    this.#refresh();
  }

  /** Takes over what all registers say. */
  decode(): void {
    this.decodeSctlr();
    this.decodeActlr();
    this.decodeLock();
    this.#decodeAsid();
    this.#decodeTables();
    this.#decodePrefetch();
  }

  /** Takes over SCTLR. */
  decodeSctlr(): void {
    const { fields } = SCTLR;
    const sctlr = this.registers.get(SCTLR);
    this.isEnabled = extract(sctlr, fields.M) === 1;
    this.hasAccessFlag = extract(sctlr, fields.AFE) === 1;
    this.updatesAccessFlag =
      extract(sctlr, fields.HAF) === 1 && this.#config.readings.hardwareAccessFlag === 'updates';
    this.ignoresAccessFlag = extract(sctlr, fields.AFFD) === 1;
    this.isBigEndian = extract(sctlr, fields.BE) === 1;
    this.#decodeMemoryTypes();
    this.#refresh();
  }

  /** Takes over ACTLR. */
  decodeActlr(): void {
    const { fields } = ACTLR;
    const actlr = this.registers.get(ACTLR);
    this.walksOnMiss = this.#walks(extract(actlr, fields.TLBMCFG));
    this.probeWalksOnMiss = this.#walks(extract(actlr, fields.V2PCFG));
    this.stallsOnFault = extract(actlr, fields.CFCFG) === 1;
    this.interruptEnabled = extract(actlr, fields.CFEIE) === 1;
    const givesError =
      this.#config.readings.terminatedAccess === 'error' || extract(actlr, fields.CFERE) === 1;
    this.terminatedOutcome = givesError ? 'terminate' : 'ignore';
    this.redirects = redirectMask(
      extract(actlr, fields.RCNSH),
      extract(actlr, fields.RCISH),
      extract(actlr, fields.RCOSH),
    );
    const privilege = extract(actlr, fields.PRIVCFG);
    this.privilegeOverride =
      privilege === PRIVCFG_PRIVILEGED ? true : privilege === PRIVCFG_USER ? false : undefined;
  }

  /** Takes over TLBLCKR. */
  decodeLock(): void {
    const { fields } = TLBLCKR;
    const tlblckr = this.registers.get(TLBLCKR);
    const isThere = this.#config.readings.lockdown === 'entries';
    const { lock } = this;
    lock.loads = isThere && extract(tlblckr, fields.LKE) === 1;
    lock.sparesAtAll = isThere && extract(tlblckr, fields.TLBIALLCFG) === 1;
    lock.sparesAtAsid = isThere && extract(tlblckr, fields.TLBIASIDCFG) === 1;
    lock.sparesAtAddress = isThere && extract(tlblckr, fields.TLBIVAACFG) === 1;
    this.lockFloor = isThere ? extract(tlblckr, fields.FLOOR) : 0;
  }

  #refresh(): void {
    const { readings, traceAccesses } = this.#config;
    const isWatched = traceAccesses || readings.vmidMismatch === 'global-error';
    this.isReady = this.isEnabled && !this.#isHeldUp && !isWatched && !this.stall.isBlocked;
    this.onChange();
  }

  #decodeAsid(): void {
    this.asid = extract(this.registers.get(CONTEXTIDR), CONTEXTIDR.fields.ASID);
    const isShared = this.#config.readings.tlbTags === 'vmid-and-asid';
    this.tag = contextTag(this.asid, isShared ? undefined : this.index);
    this.onChange();
  }

  #decodeMemoryTypes(): void {
    const { registers } = this;
    const isRemapped = extract(registers.get(SCTLR), SCTLR.fields.TRE) === 1;
    fillMemoryTable(this.memoryTable, isRemapped, registers.get(PRRR), registers.get(NMRR));
  }

  #decodePrefetch(): void {
    const isOn = extract(this.registers.get(BFBCR), BFBCR.fields.BFBDFE) === 1;
    this.prefetches = isOn && this.#config.fetchBlocks > 0;
  }

  #walks(policy: number): boolean {
    if (policy === UNKNOWN_POLICY) return this.#config.readings.missPolicyTwo === 'walks';
    return policy === WALK_ON_MISS;
  }

  #decodeTables(): void {
    const { registers } = this;
    const ttbcr = registers.get(TTBCR);
    const ttbr0 = registers.get(TTBR0);
    const ttbr1 = registers.get(TTBR1);
    const n = extract(ttbcr, TTBCR.fields.N);
    const lowBits = this.#config.readings.ttbr0Base === 'by-ttbcr-n' ? 14 - n : 14;
    this.splitShift = 32 - n;
    this.tableBase0 = ttbr0 & (-1 << lowBits);
    this.tableBase1 = ttbr1 & (-1 << 14);
    this.walkDisabled0 = extract(ttbcr, TTBCR.fields.PD0) === 1;
    this.walkDisabled1 = extract(ttbcr, TTBCR.fields.PD1) === 1;
    this.walkSnoops0 = isCacheableWalk(ttbr0);
    this.walkSnoops1 = isCacheableWalk(ttbr1);
  }
}

/** Shareable and cacheable in the inner or the outer region: the walker then looks into the CPU's cache (R54). */
function isCacheableWalk(ttbr: number): boolean {
  const { IRGNH, IRGNL, ORGN, SH } = TTBR0.fields;
  const isCacheable = extract(ttbr, IRGNH) + extract(ttbr, IRGNL) + extract(ttbr, ORGN) > 0;
  return isCacheable && extract(ttbr, SH) === 1;
}
