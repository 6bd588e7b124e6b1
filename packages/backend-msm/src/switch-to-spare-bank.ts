/** A switch through a bank that serves nobody: prepared completely, then each stream is moved by one write. */
import type { BankProgram } from './bank-program.ts';
import type { BankState } from './bank-state.ts';
import { type HeldOutcome, leaveBank } from './held-access.ts';
import type { HardwareVerbs } from './hw.ts';

/**
 * Moves the streams of `state` to `spare`. Atomic for each stream: routing counts from the next access on (R29), so none
 * that comes later sees the old table, and table, ASID and remap registers of the two never stand in one bank. Streams of
 * one context move one after the other.
 *
 * An access that is tried again is issued again, and so routed afresh (R51): it meets the new bank. The sources do not say
 * so; were it tried in the bank it was held in, it would end there as a fault: that one is closed and holds nothing any
 * more. What it has recorded stays for the interrupt handler, with the table it stood on.
 */
export function switchToSpareBank(
  hw: HardwareVerbs,
  state: BankState,
  spare: number,
  program: BankProgram,
  interruptIndex: 0 | 1,
  heldAccess: HeldOutcome,
): void {
  hw.configureBank(spare, interruptIndex);
  hw.programBank(spare, program);
  for (const { machineIds } of state.contexts) for (const mid of machineIds) hw.routeStream(mid, spare);
  leaveBank(hw, state.bank, heldAccess);
}
