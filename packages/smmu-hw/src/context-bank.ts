/**
 * One context bank: its registers, and what translation needs of them, decoded at each register write so that an
 * access finds plain numbers.
 */
import { RegisterFile, extract, type Register } from '@iommu-lab/machine';
import type { ResolvedConfig } from './config.ts';
import { implementedBits } from './implemented.ts';
import { MEMORY_TABLE_WORDS, fillMemoryTable, redirectMask } from './memory-type.ts';
import {
  ACTLR,
  CONTEXTIDR,
  CONTEXT_REGISTERS,
  NMRR,
  PRRR,
  SCTLR,
  TTBCR,
  TTBR0,
  TTBR1,
} from './regs/index.ts';
import type { StallQueue } from './stall.ts';

/** ACTLR.TLBMCFG and V2PCFG: walk on a miss (R33). */
const WALK_ON_MISS = 3;
/** ACTLR.PRIVCFG, as in later ARM SMMUs. */
const PRIVCFG_USER = 2;
const PRIVCFG_PRIVILEGED = 3;

/** A bank. What stands decoded in it changes with a register write only. */
export class ContextBank {
  readonly index: number;
  readonly registers: RegisterFile;
  readonly stall: StallQueue;

  /** SCTLR.M. */
  isEnabled = false;
  hasAccessFlag = false;
  updatesAccessFlag = false;
  ignoresAccessFlag = false;
  isBigEndian = false;
  asid = 0;
  /** CBACR.CBVMID and IRPTNDX; the device sets them. */
  vmid = 0;
  interruptIndex = 0;
  walksOnMiss = false;
  probeWalksOnMiss = false;
  stallsOnFault = false;
  interruptEnabled = false;
  /** Privilege of every access if overridden. */
  privilegeOverride: boolean | undefined;
  redirects = 0;
  /** Attribute bits by descriptor class. */
  readonly memoryTable: Uint32Array = new Uint32Array(MEMORY_TABLE_WORDS);
  /** TTBCR.N as the number of bits an address is shifted to see its top N; 32 = no split. */
  splitShift = 32;
  /** Table bases, whether walks through them are off (PD0, PD1), and whether they see the CPU's cache (R54). */
  tableBase0 = 0;
  tableBase1 = 0;
  walkDisabled0 = false;
  walkDisabled1 = false;
  walkSnoops0 = false;
  walkSnoops1 = false;

  readonly #ttbr0Base: ResolvedConfig['ttbr0Base'];

  constructor(index: number, config: ResolvedConfig, stall: StallQueue) {
    this.index = index;
    this.stall = stall;
    this.#ttbr0Base = config.ttbr0Base;
    this.registers = new RegisterFile(CONTEXT_REGISTERS);
    for (const register of CONTEXT_REGISTERS) {
      if (register.access === 'rw') this.on(register, () => {});
    }
    for (const register of [SCTLR, ACTLR, CONTEXTIDR, TTBR0, TTBR1, TTBCR, PRRR, NMRR]) {
      this.on(register, () => this.decode());
    }
    this.decode();
  }

  /** Hangs an effect on a register; what is kept of the written word is limited to the implemented bits. */
  on(register: Register, afterWrite: (value: number) => void): void {
    const mask = register.access === 'rw' ? implementedBits(register) : 0xffffffff;
    this.registers.on(register, { beforeWrite: (value) => (value & mask) >>> 0, afterWrite });
  }

  /** Takes over what the registers say. */
  decode(): void {
    const { registers } = this;
    const sctlr = registers.get(SCTLR);
    this.isEnabled = extract(sctlr, SCTLR.fields.M) === 1;
    this.hasAccessFlag = extract(sctlr, SCTLR.fields.AFE) === 1;
    this.updatesAccessFlag = extract(sctlr, SCTLR.fields.HAF) === 1;
    this.ignoresAccessFlag = extract(sctlr, SCTLR.fields.AFFD) === 1;
    this.isBigEndian = extract(sctlr, SCTLR.fields.BE) === 1;
    this.asid = extract(registers.get(CONTEXTIDR), CONTEXTIDR.fields.ASID);
    const isRemapped = extract(sctlr, SCTLR.fields.TRE) === 1;
    fillMemoryTable(this.memoryTable, isRemapped, registers.get(PRRR), registers.get(NMRR));
    this.#decodeActlr(registers.get(ACTLR));
    this.#decodeTables(registers.get(TTBCR), registers.get(TTBR0), registers.get(TTBR1));
  }

  #decodeActlr(actlr: number): void {
    const { fields } = ACTLR;
    this.walksOnMiss = extract(actlr, fields.TLBMCFG) === WALK_ON_MISS;
    this.probeWalksOnMiss = extract(actlr, fields.V2PCFG) === WALK_ON_MISS;
    this.stallsOnFault = extract(actlr, fields.CFCFG) === 1;
    this.interruptEnabled = extract(actlr, fields.CFEIE) === 1;
    this.redirects = redirectMask(
      extract(actlr, fields.RCNSH),
      extract(actlr, fields.RCISH),
      extract(actlr, fields.RCOSH),
    );
    const privilege = extract(actlr, fields.PRIVCFG);
    this.privilegeOverride =
      privilege === PRIVCFG_PRIVILEGED ? true : privilege === PRIVCFG_USER ? false : undefined;
  }

  #decodeTables(ttbcr: number, ttbr0: number, ttbr1: number): void {
    const n = extract(ttbcr, TTBCR.fields.N);
    const lowBits = this.#ttbr0Base === 'by-ttbcr-n' ? 14 - n : 14;
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
