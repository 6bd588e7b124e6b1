/** A switch in the bank that serves the streams, where no other is free: each access sees the old or the new. */
import type { BankProgram } from './bank-program.ts';
import type { Current } from './bank-state.ts';
import { BLOCKED_ASID, TRANSIT_ASID } from './config.ts';
import type { HardwareVerbs } from './hw.ts';

/**
 * Moves a bank from one kind of translation to another. What it holds stays held, but for identity: a bank that stops
 * translating terminates it (R52).
 */
export function switchInPlace(
  hw: HardwareVerbs,
  bank: number,
  from: Current['kind'],
  to: Current['kind'],
  program: BankProgram,
): void {
  if (from === 'sva' || to === 'sva') reopenBank(hw, bank, program);
  else if (to === 'identity') hw.enterBypass(bank, program.ttbr0, program.asid);
  else if (from === 'identity') hw.leaveBypass(bank, program.ttbr0, program.asid);
  else hw.switchTable(bank, program.ttbr0, program.asid, TRANSIT_ASID);
}

/**
 * The tables of a process mean what the CPU's registers say, so remap registers, access flag and split change along with
 * the table: one by one, and a walk in between would take one table by the attributes of another. So nothing is translated
 * in between. An access that comes meanwhile faults and waits, and is tried again afterwards; an instance that walks
 * processes' tables can stall. Nobody is told of it, unless a fault was recorded already: what comes then has to wait
 * for that one. To identity it is terminated, as everything that is held.
 */
function reopenBank(hw: HardwareVerbs, bank: number, program: BankProgram): void {
  const hadFault = hw.hasFault(bank);
  hw.closeBank(bank, BLOCKED_ASID);
  hw.programBank(bank, program);
  if (!hadFault) hw.retryUnreported(bank);
}
