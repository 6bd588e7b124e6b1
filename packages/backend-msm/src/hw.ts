/**
 * What the driver says to the hardware: register verbs. They know banks, streams and registers, and no descriptor.
 * They are reached through the clock bracket, which is why none of them can fail.
 */
import { encode, insert, type Register } from '@iommu-lab/machine';
import {
  ACTLR,
  BFBCR,
  CBACR,
  cbacrOffset,
  CONTEXTIDR,
  contextOffset,
  EAR,
  ESR,
  ESYNR0,
  ESYNR1,
  FAR,
  FSR,
  FSRRESTORE,
  FSYNR0,
  FSYNR1,
  M2VCBR,
  m2vcbrOffset,
  NMRR,
  PAR,
  PRRR,
  RESUME,
  SCTLR,
  TLBIASID,
  TLBIVA,
  TTBCR,
  TTBR0,
  TTBR1,
} from '@iommu-lab/smmu-hw/regs';
import { actlrOf, type BankProgram, sctlrOf } from './bank-program.ts';
import type { RegisterAccess } from './register-access.ts';
import { resetInstance, sanityCheck } from './reset.ts';

/** Registers by the manual's names. */
export type RegisterDump = Readonly<Record<string, number>>;

/** Bank number that no instance has: an access routed there is a configuration error. */
const NO_BANK = 0xff;
/** M2VCBR.NSCFG: the transaction is made non-secure (R31). */
const FORCE_NON_SECURE = 3;

/** What is read of a faulting bank, in the order of the kernel's dump (print_ctx_regs). */
const FAULT_REGISTERS: readonly Register[] = [
  FAR,
  PAR,
  FSR,
  FSYNR0,
  FSYNR1,
  TTBR0,
  TTBR1,
  SCTLR,
  ACTLR,
  PRRR,
  NMRR,
];

/** The verbs of one instance. */
export class HardwareVerbs {
  readonly #registers: RegisterAccess;

  constructor(registers: RegisterAccess) {
    this.#registers = registers;
  }

  /** Global reset and reset of every bank (`reset.ts`). */
  resetInstance(banks: number): void {
    resetInstance(this.#registers, banks);
  }

  /** Whether an SMMU answers (`reset.ts`). */
  sanityCheck(): boolean {
    return sanityCheck(this.#registers);
  }

  /** Routes a stream to no bank. */
  fenceStream(mid: number): void {
    this.#registers.write(m2vcbrOffset(mid), encode(M2VCBR, { CBNDX: NO_BANK, NSCFG: FORCE_NON_SECURE }));
  }

  /** Routes a stream to a bank with VMID 0: tables are told apart by ASID. One write, for the next access on (R29). */
  routeStream(mid: number, bank: number): void {
    this.#registers.write(m2vcbrOffset(mid), encode(M2VCBR, { CBNDX: bank, NSCFG: FORCE_NON_SECURE }));
  }

  /** VMID 0 and the interrupt line of a bank: 0 = secure, 1 = non-secure (R48). */
  configureBank(bank: number, interruptIndex: 0 | 1): void {
    this.#registers.write(cbacrOffset(bank), encode(CBACR, { IRPTNDX: interruptIndex }));
  }

  /**
   * Programs a closed bank, completely, whatever was in it but for the record of a fault. Walks are off until the last
   * write: whoever is routed there is refused until then, and nothing is loaded under the new ASID by the old table. An
   * entry that answers in between is the new table's, loaded by another bank.
   */
  programBank(bank: number, program: BankProgram): void {
    const write = (register: Register, value: number): void => {
      this.#registers.write(contextOffset(bank, register), value);
    };
    write(ACTLR, actlrOf(program));
    write(PRRR, program.prrr);
    write(NMRR, program.nmrr);
    write(BFBCR, encode(BFBCR, { BFBDFE: program.prefetches ? 1 : 0 }));
    write(TTBR0, program.ttbr0);
    write(TTBR1, 0);
    write(CONTEXTIDR, encode(CONTEXTIDR, { ASID: program.asid }));
    write(SCTLR, sctlrOf(program));
    write(TTBCR, program.ttbcr);
  }

  /**
   * Lets a bank translate nothing: misses no longer walk, then nothing of the TLB answers, then bypass ends. What stood in
   * TTBR0 may stay there.
   * @param asid one that no entry carries
   */
  closeBank(bank: number, asid: number): void {
    this.#registers.write(contextOffset(bank, TTBCR), encode(TTBCR, { PD0: 1, PD1: 1 }));
    this.#registers.write(contextOffset(bank, CONTEXTIDR), encode(CONTEXTIDR, { ASID: asid }));
    this.#registers.modify(contextOffset(bank, SCTLR), SCTLR.fields.M, 1);
  }

  /**
   * Ends all that a bank holds: the faulted access, what waits behind it, and what is on its way to be tried again (R52).
   * Nobody may be routed to it: for a moment it translates nothing.
   */
  terminateHeld(bank: number): void {
    this.#registers.modify(contextOffset(bank, SCTLR), SCTLR.fields.M, 0);
    this.#registers.modify(contextOffset(bank, SCTLR), SCTLR.fields.M, 1);
  }

  /**
   * Puts a bank out of use that no stream is routed to any more. A fault it has recorded stays, with its interrupt, until
   * it is served; an access it holds can be ended as always, and does not stall here again.
   */
  parkBank(bank: number, asid: number): void {
    this.closeBank(bank, asid);
    this.#registers.modify(contextOffset(bank, ACTLR), ACTLR.fields.CFCFG, 0);
  }

  /**
   * Moves a translating bank to another table while its masters run. Each access sees the old table or the new one.
   *
   * Table and ASID stand in two registers, and the TLB may be filled between any two writes. Were the table written
   * first, the new table's entries would be loaded under the old ASID; were the ASID written first, the old table's
   * under the new one. Either way another bank that shares that ASID would be translated by a table that is not its
   * own, and entries of the wrong table would stay. So the bank passes through an ASID nobody else has:
   *   1. ASID = transit: misses walk the old table                            -> old
   *   2. TTBR0 = new:    entries of step 1 still hit (old), misses walk the new table -> old or new
   *   3. ASID = new:     only the new table's own entries can hit             -> new
   *   4. what is tagged transit is dropped, before the ASID serves another switch
   * In step 2 pages of different size may overlap under one ASID. By the default reading of `multiHit` the smaller answers,
   * and both are the old or the new table's. Hardware that takes two hits for a fault is not safe to switch so.
   */
  switchTable(bank: number, ttbr0: number, asid: number, transitAsid: number): void {
    this.#registers.write(contextOffset(bank, CONTEXTIDR), encode(CONTEXTIDR, { ASID: transitAsid }));
    this.#registers.write(contextOffset(bank, TTBR0), ttbr0);
    this.#registers.write(contextOffset(bank, CONTEXTIDR), encode(CONTEXTIDR, { ASID: asid }));
    this.invalidateAsid(bank, transitAsid);
  }

  /** Lets a bank's accesses pass untranslated: one write. Its table may be freed afterwards. */
  enterBypass(bank: number, parkedTtbr0: number, parkedAsid: number): void {
    this.#registers.modify(contextOffset(bank, SCTLR), SCTLR.fields.M, 0);
    this.#registers.write(contextOffset(bank, TTBR0), parkedTtbr0);
    this.#registers.write(contextOffset(bank, CONTEXTIDR), encode(CONTEXTIDR, { ASID: parkedAsid }));
  }

  /** Ends `enterBypass`: nothing is loaded into the TLB while M = 0, so the last write switches at once. */
  leaveBypass(bank: number, ttbr0: number, asid: number): void {
    this.#registers.write(contextOffset(bank, TTBR0), ttbr0);
    this.#registers.write(contextOffset(bank, CONTEXTIDR), encode(CONTEXTIDR, { ASID: asid }));
    this.#registers.modify(contextOffset(bank, SCTLR), SCTLR.fields.M, 1);
  }

  /** Leaves a bank to itself: nothing is translated, so no table is needed; faults end at once and tell nobody. */
  shutBank(bank: number, asid: number): void {
    this.parkBank(bank, asid);
    this.#registers.modify(contextOffset(bank, ACTLR), ACTLR.fields.CFEIE, 0);
    this.resume(bank, 'terminate');
    this.#registers.write(contextOffset(bank, FSRRESTORE), 0);
  }

  /** Drops one address space's entries (R22). */
  invalidateAsid(bank: number, asid: number): void {
    this.#registers.write(contextOffset(bank, TLBIASID), encode(TLBIASID, { ASID: asid }));
  }

  /** Drops the entries for `count` pages of `pageSize` bytes: one write drops a page of any size (R23). */
  invalidateRange(bank: number, asid: number, iova: number, pageSize: number, count: number): void {
    for (let page = 0; page < count; page++) {
      // Address and ASID share the word; the address is page aligned.
      const word = (iova + page * pageSize + asid) >>> 0;
      this.#registers.write(contextOffset(bank, TLBIVA), word);
    }
  }

  /** FSR of a bank: 0 when it has no fault recorded. */
  faultStatus(bank: number): number {
    return this.#registers.read(contextOffset(bank, FSR));
  }

  /** Registers of a bank that has a fault recorded; undefined when it has none. */
  readFault(bank: number): RegisterDump | undefined {
    if (this.faultStatus(bank) === 0) return undefined;
    return dump(FAULT_REGISTERS, (register) => this.#registers.read(contextOffset(bank, register)));
  }

  /** Clears exactly these bits, so that a fault recorded since they were read is not lost (R46). */
  clearFault(bank: number, fsr: number): void {
    this.#registers.write(contextOffset(bank, FSR), fsr);
  }

  /**
   * Drops the record of a fault that was nobody's, before its access is tried again. It stays held, and so does SS: RESUME
   * clears that.
   */
  forgetFault(bank: number): void {
    const fsr = this.faultStatus(bank);
    if (fsr !== 0) this.clearFault(bank, insert(fsr, FSR.fields.SS, 0));
  }

  /** Ends a stall (R51); nothing happens when nothing is stalled. */
  resume(bank: number, outcome: 'retry' | 'terminate'): void {
    this.#registers.write(
      contextOffset(bank, RESUME),
      encode(RESUME, { TNR: outcome === 'terminate' ? 1 : 0 }),
    );
  }

  /** Registers of a recorded global error; undefined when there is none. */
  readGlobalError(): RegisterDump | undefined {
    if (this.#registers.read(ESR.offset) === 0) return undefined;
    return dump([ESR, EAR, ESYNR0, ESYNR1], (register) => this.#registers.read(register.offset));
  }

  clearGlobalError(esr: number): void {
    this.#registers.write(ESR.offset, esr);
  }
}

function dump(registers: readonly Register[], read: (register: Register) => number): RegisterDump {
  return Object.fromEntries(registers.map((register) => [register.name, read(register)]));
}
