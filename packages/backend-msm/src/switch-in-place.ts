/** A switch in the bank that serves the streams, where no other is free: each access sees the old or the new. */
import type { BankProgram } from './bank-program.ts';
import type { BankState, Current } from './bank-state.ts';
import { BLOCKED_ASID, TRANSIT_ASID } from './config.ts';
import { endAllHeld } from './held-access.ts';
import type { HardwareVerbs } from './hw.ts';

/**
 * Moves the bank of `state` from what it translates by to `next`. What it holds is tried again by a table; where the
 * streams are blocked all of it ends, and under identity too: a bank that stops translating terminates it (R52).
 */
export function switchInPlace(
  hw: HardwareVerbs,
  state: BankState,
  next: Current['kind'],
  program: BankProgram,
  canFence: boolean,
): void {
  const { bank } = state;
  const from = state.current.kind;
  if (from === 'sva' || next === 'sva') return reopenBank(hw, state, next, program, canFence);
  if (next === 'identity') hw.enterBypass(bank, program.ttbr0, program.asid);
  else if (from === 'identity') hw.leaveBypass(bank, program.ttbr0, program.asid);
  else hw.switchTable(bank, program.ttbr0, program.asid, TRANSIT_ASID);
  endHeld(hw, state, next, canFence);
}

/**
 * The tables of a process mean what the CPU's registers say, so remap registers, access flag and split change along with
 * the table: one by one, and a walk in between would take one table by the attributes of another. So nothing is translated
 * in between. An access that comes meanwhile faults and waits, and is tried again afterwards; an instance that walks
 * processes' tables can stall. Nobody is told of it, unless a fault was recorded already: what comes then has to wait
 * for that one. Where it is not tried again it is a fault as any other.
 */
function reopenBank(
  hw: HardwareVerbs,
  state: BankState,
  next: Current['kind'],
  program: BankProgram,
  canFence: boolean,
): void {
  const { bank } = state;
  const isRecorded = hw.faultStatus(bank) !== 0;
  hw.closeBank(bank, BLOCKED_ASID);
  hw.programBank(bank, program);
  if (!isRecorded && (next === 'paging' || next === 'sva')) hw.forgetFault(bank);
  endHeld(hw, state, next, canFence);
}

function endHeld(hw: HardwareVerbs, state: BankState, next: Current['kind'], canFence: boolean): void {
  if (next === 'blocked') endAllHeld(hw, state, canFence);
  else hw.resume(state.bank, next === 'identity' ? 'terminate' : 'retry');
}
