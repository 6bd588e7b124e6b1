/** What the driver knows of one bank. */
import type { AttachTarget } from '@iommu-lab/iommu-core';
import type { MsmIommuContext } from '@iommu-lab/msm-bus';
import type { HeldClocks } from './clock-bracket.ts';
import type { Attachment, MsmPagingTable } from './msm-paging-table.ts';

/** What a bank translates by now. */
export type Current =
  | { readonly kind: 'paging'; readonly table: MsmPagingTable; readonly attachment: Attachment }
  | { readonly kind: 'identity' }
  | { readonly kind: 'blocked' };

/** One bank, as the driver left it. */
export interface BankState {
  readonly bank: number;
  /** Contexts wired to it; more than one is unusual and makes them one isolation group. */
  readonly contexts: MsmIommuContext[];
  /** Endpoints attached through it: several devices can share a context. */
  users: number;
  current: Current;
  /**
   * The instance's clocks, held while the bank is not blocked: what was reserved when it was attached lets unmap and
   * release do without anything that may fail.
   */
  clocks: HeldClocks | undefined;
  /** A stalled access waits for somebody's decision. */
  isHeld: boolean;
}

/** The state of rest. */
export const BLOCKED: { readonly kind: 'blocked' } = { kind: 'blocked' };

/** The banks that contexts are wired to, by number. */
export function bankStates(contexts: readonly MsmIommuContext[]): Map<number, BankState> {
  const states = new Map<number, BankState>();
  for (const context of contexts) {
    const state = states.get(context.bank);
    if (state !== undefined) state.contexts.push(context);
    else {
      const { bank } = context;
      states.set(bank, {
        bank,
        contexts: [context],
        users: 0,
        current: BLOCKED,
        clocks: undefined,
        isHeld: false,
      });
    }
  }
  return states;
}

/** Whether the bank is where `target` wants it. */
export function isCurrent(current: Current, target: AttachTarget): boolean {
  if (current.kind === 'paging') return target.kind === 'paging' && target.table === current.table;
  return current.kind === target.kind;
}
