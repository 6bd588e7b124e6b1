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
  let isAny = false;
  for (const bank of map.banks) {
    // Not before: whoever heard of the one before may have ended this stall.
    const registers = hw.readFault(bank);
    if (registers === undefined) continue;
    isAny = true;
    serviceBank(hw, map, bank, registers, report);
  }
  const globalError = hw.readGlobalError();
  if (globalError !== undefined) {
    report(globalReport(globalError));
    hw.clearGlobalError(word(globalError, ESR.name));
  }
  return isAny || globalError !== undefined;
}

/**
 * The status goes first, so that a fault of the retried access is recorded afresh (drivers of the vendor's kernel).
 *
 * What stalls is the access that was recorded, unless more came after it (R45), or the bank has been given to other
 * contexts since: an access that nothing is known of. It is tried again, and has its own fault recorded then.
 */
function serviceBank(
  hw: HardwareVerbs,
  map: BankMap,
  bank: number,
  registers: RegisterDump,
  report: (report: FaultReport) => FaultVerdict,
): void {
  const state = map.at(bank);
  const context = contextOf(map, state, registers);
  const fsr = word(registers, FSR.name);
  const { SS, MULTI } = FSR.fields;
  const isTheirs = state !== undefined && context !== undefined && state.contexts.includes(context);
  const isStalled = isTheirs && isSet(fsr, SS) && !isSet(fsr, MULTI);
  const fault = contextReport(context?.context, isStalled, registers);
  if (isStalled) state.heldIova = fault.iova;
  const verdict = report(fault);
  const since = hw.faultStatus(bank);
  hw.clearFault(bank, isSet(since, SS) ? since : fsr);
  if (!isSet(since, SS)) return; // a switch or a decision in the meantime has ended the stall
  if (!isStalled || state.heldIova === undefined) hw.resume(bank, 'retry');
  else if (verdict !== 'hold') endStall(hw, state, verdict, fault.iova);
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
  const syndrome = word(registers, FSYNR1.name);
  return {
    context,
    streamId: extract(word(registers, FSYNR0.name), FSYNR0.fields.AMID),
    iova: word(registers, FAR.name),
    direction: isSet(syndrome, FSYNR1.fields.AWRITE) ? 'write' : 'read',
    isInstruction: isSet(syndrome, FSYNR1.fields.AINST),
    cause: causeOf(fsr),
    isStalled,
    isMultiple: isSet(fsr, FSR.fields.MULTI),
    registers,
  };
}

function globalReport(registers: RegisterDump): FaultReport {
  const syndrome = word(registers, ESYNR1.name);
  return {
    context: undefined,
    streamId: extract(word(registers, ESYNR0.name), ESYNR0.fields.AMID),
    iova: word(registers, EAR.name),
    direction: isSet(syndrome, ESYNR1.fields.AWRITE) ? 'write' : 'read',
    isInstruction: isSet(syndrome, ESYNR1.fields.AINST),
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
