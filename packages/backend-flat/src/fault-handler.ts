/** From the interrupt to a report for the core. */
import type { FaultCause, FaultReport } from '@iommu-lab/iommu-core';
import type { FaultRecord, FlatHw } from './hw.ts';
import { contextName } from './instance.ts';
import { FAULT_CAUSE } from './registers.ts';

/** Reads one fault and hands it on. @returns whether the interrupt was this hardware's */
export function handleFault(hw: FlatHw, report: (fault: FaultReport) => void): boolean {
  const record = hw.takeFault();
  if (record === undefined) return false;
  // No verdict is asked for: the access has ended long ago, this hardware cannot stall one.
  report(toReport(record));
  return true;
}

function toReport(record: FaultRecord): FaultReport {
  return {
    context: contextName(record.stream),
    streamId: record.stream,
    iova: record.iova,
    direction: record.isWrite ? 'write' : 'read',
    cause: toCause(record.cause),
    isStalled: false,
    isMultiple: record.isMultiple,
    registers: record.registers,
  };
}

function toCause(cause: number): FaultCause {
  switch (cause) {
    case FAULT_CAUSE.NO_ENTRY:
      return 'translation';
    case FAULT_CAUSE.REFUSED:
      return 'permission';
    case FAULT_CAUSE.WALK_ABORT:
      return 'walk-abort';
    case FAULT_CAUSE.NO_TABLE:
      return 'configuration';
    default:
      return 'other';
  }
}
