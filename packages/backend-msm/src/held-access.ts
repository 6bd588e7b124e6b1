/** The end of a stall, by a verdict or by whoever decides later (R51). */
import type { BankState } from './bank-state.ts';
import type { HardwareVerbs } from './hw.ts';

const PAGE_BYTES = 0x1000;

/**
 * Ends the stall of the access to `iova` in the bank that serves `state`; nothing happens when none is held.
 *
 * A process brings pages in and widens rights without telling the TLB, as for a CPU, which forgets an entry that faulted.
 * Here the TLB keeps one whose rights do not suffice (R26), so it is dropped before the access is made again. A domain's
 * mappings change by unmapping, which invalidates.
 */
export function endStall(
  hw: HardwareVerbs,
  state: BankState,
  outcome: 'retry' | 'terminate',
  iova: number,
): void {
  const { bank, current } = state;
  if (outcome === 'retry' && current.kind === 'sva') {
    hw.invalidateRange(bank, current.attachment.asid, iova - (iova % PAGE_BYTES), PAGE_BYTES, 1);
  }
  hw.resume(bank, outcome);
  state.heldIova = undefined;
}
