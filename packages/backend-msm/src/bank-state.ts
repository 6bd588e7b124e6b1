/** Which bank serves which contexts, and what each of them translates by. */
import type { AttachTarget } from '@iommu-lab/iommu-core';
import type { MsmIommuContext, MsmSmmuPlatformData } from '@iommu-lab/msm-bus';
import type { HeldClocks } from './clock-bracket.ts';
import type { MsmPagingTable } from './msm-paging-table.ts';
import type { MsmProcessTable } from './msm-process-table.ts';
import type { Attachment } from './table-users.ts';

/** What a bank translates by now. */
export type Current =
  | { readonly kind: 'paging'; readonly table: MsmPagingTable; readonly attachment: Attachment }
  | { readonly kind: 'sva'; readonly table: MsmProcessTable; readonly attachment: Attachment }
  | { readonly kind: 'identity' }
  | { readonly kind: 'blocked' };

/** The contexts that are wired to one bank, and the bank that serves them. */
export interface BankState {
  /** What the wiring says, and what makes contexts one isolation group, wherever they are served. */
  readonly wiredBank: number;
  /** What serves them now: a switch through a spare bank changes it. */
  bank: number;
  /** More than one is unusual and makes them one isolation group. */
  readonly contexts: MsmIommuContext[];
  /** Endpoints attached through it: several devices can share a context. */
  users: number;
  current: Current;
  /**
   * The instance's clocks, held while the contexts are not blocked: what was reserved when they were attached lets unmap
   * and release do without anything that may fail.
   */
  clocks: HeldClocks | undefined;
  /** IOVA of a stalled access that waits for somebody's decision; undefined when there is none. */
  heldIova: number | undefined;
}

/** The state of rest. */
export const BLOCKED: { readonly kind: 'blocked' } = { kind: 'blocked' };

/** All banks of one instance. */
export class BankMap {
  /** One for each bank that contexts are wired to. */
  readonly states: readonly BankState[];
  /** Banks that serve nobody, the one that was left longest ago first. Their number never changes. */
  readonly spares: number[];
  /** Every bank there is. */
  readonly banks: readonly number[];

  constructor({ contexts, contextBanks }: Pick<MsmSmmuPlatformData, 'contexts' | 'contextBanks'>) {
    const states = new Map<number, BankState>();
    for (const context of contexts) {
      const known = states.get(context.bank);
      if (known === undefined) states.set(context.bank, stateOf(context));
      else known.contexts.push(context);
    }
    this.states = [...states.values()];
    this.banks = Array.from({ length: contextBanks }, (_, bank) => bank);
    this.spares = this.banks.filter((bank) => !states.has(bank));
  }

  /** The state of a context, by its name. */
  ofContext(name: string): BankState | undefined {
    return this.states.find(({ contexts }) => contexts.some(({ context }) => context === name));
  }

  /** Whom a bank serves; undefined for a spare one. */
  at(bank: number): BankState | undefined {
    return this.states.find((state) => state.bank === bank);
  }

  /** The context that a machine id is wired to; of two in one bank the first, for the hardware does not tell them apart. */
  contextOfStream(mid: number): MsmIommuContext | undefined {
    return this.states.flatMap(({ contexts }) => contexts).find(({ machineIds }) => machineIds.includes(mid));
  }
}

/** Whether `current` is where `target` wants it. */
export function isCurrent(current: Current, target: AttachTarget): boolean {
  if (current.kind === 'paging' || current.kind === 'sva') {
    return target.kind === current.kind && target.table === current.table;
  }
  return current.kind === target.kind;
}

function stateOf(context: MsmIommuContext): BankState {
  const { bank } = context;
  return {
    wiredBank: bank,
    bank,
    contexts: [context],
    users: 0,
    current: BLOCKED,
    clocks: undefined,
    heldIova: undefined,
  };
}
