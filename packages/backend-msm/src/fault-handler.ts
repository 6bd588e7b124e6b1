/** From recorded faults to reports, and from verdicts to the end of a stall. One pass serves all banks (R53). */
import type { FaultCause, FaultReport, FaultVerdict } from '@iommu-lab/iommu-core';
import { extract, type Field } from '@iommu-lab/machine';
import type { MsmIommuContext } from '@iommu-lab/msm-bus';
import { EAR, ESR, ESYNR0, ESYNR1, FAR, FSR, FSYNR0, FSYNR1 } from '@iommu-lab/smmu-hw/regs';
import type { BankMap, BankState } from './bank-state.ts';
import { endStall } from './held-access.ts';
import type { HardwareVerbs, RegisterDump } from './hw.ts';

/**
 * Serves every bank, spare ones, too: a fault may have been recorded in a bank that its stream has left since.
 * @returns whether any fault was recorded: with a shared interrupt it may have been another device's.
 */
export function serviceFaults(
  hw: HardwareVerbs,
  map: BankMap,
  report: (report: FaultReport) => FaultVerdict,
): boolean {
  // All are read before the first is reported: a consumer may change what the registers say.
  const faults: { readonly bank: number; readonly registers: RegisterDump }[] = [];
  for (const bank of map.banks) {
    const registers = hw.readFault(bank);
    if (registers !== undefined) faults.push({ bank, registers });
  }
  const globalError = hw.readGlobalError();
  for (const { bank, registers } of faults) serviceBank(hw, map, bank, registers, report);
  if (globalError !== undefined) {
    report(globalReport(globalError));
    hw.clearGlobalError(word(globalError, ESR.name));
  }
  return faults.length > 0 || globalError !== undefined;
}

/** The status goes first, so that a fault of the retried access is recorded afresh (drivers of the vendor's kernel). */
function serviceBank(
  hw: HardwareVerbs,
  map: BankMap,
  bank: number,
  registers: RegisterDump,
  report: (report: FaultReport) => FaultVerdict,
): void {
  const state = map.at(bank);
  const context = contextOf(map, state, registers);
  const isStalled = isSet(word(registers, FSR.name), FSR.fields.SS);
  // Else the bank has been given to other contexts since, and what stalls is an access of theirs (R45).
  const isTheirs = context !== undefined && state?.contexts.includes(context) === true;
  const fault = contextReport(context?.context, isStalled && isTheirs, registers);
  const verdict = report(fault);
  hw.clearFault(bank, word(registers, FSR.name));
  // A switch in the meantime has ended the stall.
  if (!isStalled || state?.bank !== bank) return;
  // Tried again, that access has its own fault recorded.
  if (!isTheirs) hw.resume(bank, 'retry');
  else if (verdict === 'hold') state.heldIova = fault.iova;
  else endStall(hw, state, verdict, fault.iova);
}

/** Whose stream it was; of a stream that no context claims, whom the bank serves. */
function contextOf(
  map: BankMap,
  state: BankState | undefined,
  registers: RegisterDump,
): MsmIommuContext | undefined {
  const streamId = extract(word(registers, FSYNR0.name), FSYNR0.fields.AMID);
  return map.contextOfStream(streamId) ?? state?.contexts[0];
}

function contextReport(
  context: string | undefined,
  isStalled: boolean,
  registers: RegisterDump,
): FaultReport {
  const fsr = word(registers, FSR.name);
  return {
    context,
    streamId: extract(word(registers, FSYNR0.name), FSYNR0.fields.AMID),
    iova: word(registers, FAR.name),
    direction: isSet(word(registers, FSYNR1.name), FSYNR1.fields.AWRITE) ? 'write' : 'read',
    cause: causeOf(fsr),
    isStalled,
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

/** `other` are TLBMF and MHF: misses always walk here, and tables do not overlap. */
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
