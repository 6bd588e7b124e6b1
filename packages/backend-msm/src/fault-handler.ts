/** From recorded faults to reports, and from verdicts to the end of a stall. One pass serves all banks (R53). */
import type { FaultCause, FaultReport, FaultVerdict } from '@iommu-lab/iommu-core';
import { extract, type Field } from '@iommu-lab/machine';
import { EAR, ESR, ESYNR0, ESYNR1, FAR, FSR, FSYNR0, FSYNR1 } from '@iommu-lab/smmu-hw/regs';
import type { BankState } from './bank-state.ts';
import type { HardwareVerbs, RegisterDump } from './hw.ts';

/** @returns whether any fault was recorded: with a shared interrupt it may have been another device's. */
export function serviceFaults(
  hw: HardwareVerbs,
  banks: Iterable<BankState>,
  report: (report: FaultReport) => FaultVerdict,
): boolean {
  // All are read before the first is reported: a consumer may change what the registers say.
  const faults: { readonly state: BankState; readonly registers: RegisterDump }[] = [];
  for (const state of banks) {
    const registers = hw.readFault(state.bank);
    if (registers !== undefined) faults.push({ state, registers });
  }
  const globalError = hw.readGlobalError();
  for (const { state, registers } of faults) serviceBank(hw, state, registers, report);
  if (globalError !== undefined) {
    report(globalReport(globalError));
    hw.clearGlobalError(word(globalError, ESR.name));
  }
  return faults.length > 0 || globalError !== undefined;
}

/** The status goes first, so that a fault of the retried access is recorded afresh (drivers of the vendor's kernel). */
function serviceBank(
  hw: HardwareVerbs,
  state: BankState,
  registers: RegisterDump,
  report: (report: FaultReport) => FaultVerdict,
): void {
  const fault = contextReport(state, registers);
  const verdict = report(fault);
  hw.clearFault(state.bank, word(registers, FSR.name));
  if (!fault.isStalled) return;
  if (verdict === 'hold') state.isHeld = true;
  else hw.resume(state.bank, verdict);
}

function contextReport(state: BankState, registers: RegisterDump): FaultReport {
  const fsr = word(registers, FSR.name);
  const streamId = extract(word(registers, FSYNR0.name), FSYNR0.fields.AMID);
  const context = state.contexts.find((c) => c.machineIds.includes(streamId)) ?? state.contexts[0];
  return {
    context: context?.context,
    streamId,
    iova: word(registers, FAR.name),
    direction: isSet(word(registers, FSYNR1.name), FSYNR1.fields.AWRITE) ? 'write' : 'read',
    cause: causeOf(fsr),
    isStalled: isSet(fsr, FSR.fields.SS),
    isMultiple: isSet(fsr, FSR.fields.MULTI),
    registers,
  };
}

function globalReport(registers: RegisterDump): FaultReport {
  return {
    context: undefined,
    streamId: extract(word(registers, ESYNR0.name), ESYNR0.fields.AMID),
    iova: word(registers, EAR.name),
    direction: isSet(word(registers, ESYNR1.name), ESYNR1.fields.AWRITE) ? 'write' : 'read',
    cause: 'configuration',
    isStalled: false,
    isMultiple: isSet(word(registers, ESR.name), ESR.fields.MULTI),
    registers,
  };
}

function causeOf(fsr: number): FaultCause {
  const { TF, AFF, APF, HTWDEEF, HTWSEEF } = FSR.fields;
  if (isSet(fsr, TF)) return 'translation';
  if (isSet(fsr, APF)) return 'permission';
  if (isSet(fsr, AFF)) return 'access-flag';
  if (isSet(fsr, HTWDEEF) || isSet(fsr, HTWSEEF)) return 'walk-abort';
  return 'other';
}

function isSet(value: number, field: Field): boolean {
  return extract(value, field) !== 0;
}

function word(registers: RegisterDump, name: string): number {
  return registers[name] ?? 0;
}
