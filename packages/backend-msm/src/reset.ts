/** From power-on to a known state, and whether there is an SMMU at all (drivers/iommu/msm_iommu_dev.c). */
import type { Register } from '@iommu-lab/machine';
import {
  ACTLR,
  BFBCR,
  CONTEXTIDR,
  contextOffset,
  CR,
  CTX_TLBIALL,
  ESRRESTORE,
  FAR,
  FSRRESTORE,
  GLOBAL_TLBIALL,
  M2VCBR,
  m2vcbrOffset,
  NMRR,
  PAR,
  PRRR,
  RPU_ACR,
  SCTLR,
  TESTBUSCR,
  TLBFLPTER,
  TLBLCKR,
  TLBRSW,
  TLBSLPTER,
  TTBCR,
  TTBR0,
  TTBR1,
  V2PPR,
} from '@iommu-lab/smmu-hw/regs';
import type { RegisterAccess } from './register-access.ts';

/** ACTLR.V2PCFG of the sanity check: look in the TLB only (R7). */
const TLB_ONLY = 1;

/** A bank's registers in the order in which a reset writes 0 to them (drivers/iommu/msm_iommu_dev.c, msm_iommu_reset). */
const BANK_RESET_ORDER: readonly Register[] = [
  ACTLR,
  SCTLR,
  FSRRESTORE,
  TTBR0,
  TTBR1,
  TTBCR,
  BFBCR,
  PAR,
  FAR,
  CTX_TLBIALL,
  TLBFLPTER,
  TLBSLPTER,
  TLBLCKR,
  PRRR,
  NMRR,
  CONTEXTIDR,
];
const BYPASS_FIELDS = ['BPRCOSH', 'BPRCISH', 'BPRCNSH', 'BPSHCFG', 'BPMTCFG'] as const;

/** Global reset and reset of every bank, in the order all kernels have it. Routing survives (R57). */
export function resetInstance(registers: RegisterAccess, banks: number): void {
  registers.modify(CR.offset, CR.fields.RPUE, 0);
  registers.modify(CR.offset, CR.fields.RPUEIE, 0);
  registers.write(ESRRESTORE.offset, 0);
  registers.modify(TESTBUSCR.offset, TESTBUSCR.fields.TBE, 0);
  registers.write(CR.offset, 0);
  registers.modify(TESTBUSCR.offset, TESTBUSCR.fields.SPDMBE, 0);
  registers.write(TESTBUSCR.offset, 0);
  registers.write(TLBRSW.offset, 0);
  registers.write(GLOBAL_TLBIALL.offset, 0);
  registers.write(RPU_ACR.offset, 0);
  registers.modify(CR.offset, CR.fields.TLBLKCRWE, 1);
  for (let bank = 0; bank < banks; bank++) {
    // The kernel takes the bank's number for a stream's here; a bank's own reset leaves routing alone (R57). Harmless: routing
    // is written whole later.
    for (const name of BYPASS_FIELDS) registers.modify(m2vcbrOffset(bank), M2VCBR.fields[name], 0);
    resetBank(registers, bank);
  }
}

/** Everything in a bank to 0. It passes accesses untranslated from then on (R32): not for a bank in use. */
function resetBank(registers: RegisterAccess, bank: number): void {
  for (const register of BANK_RESET_ORDER) registers.write(contextOffset(bank, register), 0);
}

/** Whether a V2P that may not walk leaves something in PAR (R7): a window without an SMMU behind it fails this. */
export function sanityCheck(registers: RegisterAccess): boolean {
  registers.modify(contextOffset(0, SCTLR), SCTLR.fields.M, 1);
  registers.write(contextOffset(0, PAR), 0);
  registers.modify(contextOffset(0, ACTLR), ACTLR.fields.V2PCFG, TLB_ONLY);
  registers.write(contextOffset(0, V2PPR), 0);
  const par = registers.read(contextOffset(0, PAR));
  registers.modify(contextOffset(0, ACTLR), ACTLR.fields.V2PCFG, 0);
  registers.modify(contextOffset(0, SCTLR), SCTLR.fields.M, 0);
  return par !== 0;
}
