/**
 * Every end of a stall (R51, R52): by a verdict or whoever decides later, by a switch in the bank, and by one that leaves it.
 * A switch ends it whether its fault was served or not.
 */
import type { BankState } from './bank-state.ts';
import { BLOCKED_ASID } from './config.ts';
import type { HardwareVerbs } from './hw.ts';

/** What becomes of an access that is held. */
export type HeldOutcome = 'retry' | 'terminate';

const PAGE_BYTES = 0x1000;

/**
 * Ends the stall of the access to `iova` in the bank that serves `state`; nothing happens when none is held.
 *
 * A process brings pages in and widens rights without telling the TLB, as for a CPU, which forgets an entry that faulted.
 * Here the TLB keeps one whose rights do not suffice (R26), so it is dropped before the access is made again. A domain's
 * mappings change by unmapping, which invalidates.
 */
export function endStall(hw: HardwareVerbs, state: BankState, outcome: HeldOutcome, iova: number): void {
  const { bank, current } = state;
  if (outcome === 'retry' && current.kind === 'sva') {
    hw.invalidateRange(bank, current.attachment.asid, iova - (iova % PAGE_BYTES), PAGE_BYTES, 1);
  }
  hw.resume(bank, outcome);
  state.heldIova = undefined;
}

/**
 * Ends all that waits in a blocked bank. Whoever comes next must not have it: RESUME ends the faulted access alone, and
 * what waits behind it would be tried by whatever the bank translates by then. What ends all of it lets accesses pass
 * untranslated (R32), so the streams are routed to no bank meanwhile, where an access ends as a configuration error.
 * @param canFence see `fenceStreams`; without, what waits behind the faulted access, or is being tried again, stays
 */
export function endAllHeld(hw: HardwareVerbs, state: BankState, canFence: boolean): void {
  const { bank, contexts } = state;
  state.heldIova = undefined;
  if (!canFence) return hw.resume(bank, 'terminate');
  const streams = contexts.flatMap(({ machineIds }) => machineIds);
  for (const mid of streams) hw.fenceStream(mid);
  hw.terminateHeld(bank);
  for (const mid of streams) hw.routeStream(mid, bank);
}

/**
 * Leaves a bank that no stream is routed to any more. What it holds is tried again, elsewhere (R51), or all of it ends.
 * What it has recorded stays, with its interrupt, until the handler has served it.
 */
export function leaveBank(hw: HardwareVerbs, bank: number, outcome: HeldOutcome): void {
  if (outcome === 'terminate') hw.terminateHeld(bank);
  hw.parkBank(bank, BLOCKED_ASID);
  hw.resume(bank, outcome);
}
