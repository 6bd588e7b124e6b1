/** What a bank's registers must say for each thing it can translate by. */
import type { BankProgram } from './bank-program.ts';
import type { Current } from './bank-state.ts';
import { BLOCKED_ASID, type ResolvedMsmIommuConfig } from './config.ts';

/** @param emptyTtbr0 the table of a blocked bank; it stands by under identity, too */
export function programOf(current: Current, emptyTtbr0: number, config: ResolvedMsmIommuConfig): BankProgram {
  const { format, stallFaults, invalidateOnMap } = config;
  const { afe, prrr, nmrr } = format;
  const atRest: BankProgram = {
    isTranslating: current.kind !== 'identity',
    ttbr0: emptyTtbr0,
    ttbcr: 0,
    asid: BLOCKED_ASID,
    afe,
    prrr,
    nmrr,
    stallFaults,
    prefetches: invalidateOnMap,
  };
  switch (current.kind) {
    case 'paging':
      return { ...atRest, ttbr0: current.table.ttbr0, asid: current.attachment.asid };
    case 'sva':
      return { ...atRest, ...current.table.registers, asid: current.attachment.asid };
    case 'identity':
    case 'blocked':
      return atRest;
  }
}
