/** Moves contexts from what translates them to something else, while their masters run. */
import type { AttachTarget } from '@iommu-lab/iommu-core';
import { LabError, type World } from '@iommu-lab/machine';
import { AsidAllocator } from './asids.ts';
import { programOf } from './bank-program.ts';
import type { BankMap, BankState, Current } from './bank-state.ts';
import type { MsmHardware } from './clock-bracket.ts';
import { interruptIndexOf, type ResolvedMsmIommuConfig } from './config.ts';
import type { HardwareVerbs } from './hw.ts';
import { MsmPagingTable } from './msm-paging-table.ts';
import { MsmProcessTable } from './msm-process-table.ts';
import { switchInPlace } from './switch-in-place.ts';
import { switchToSpareBank } from './switch-to-spare-bank.ts';

/** What moving needs of an instance. */
export interface BankMoverInit {
  /** The instance's, for messages. */
  readonly name: string;
  /** Tables of this key can be walked here. */
  readonly tableKey: string;
  readonly hardware: MsmHardware;
  readonly config: ResolvedMsmIommuConfig;
  readonly map: BankMap;
  /** TTBR0 of a blocked bank. */
  readonly emptyTtbr0: number;
}

/** The switches of one instance. */
export class BankMover {
  readonly #init: BankMoverInit;
  readonly #asids: AsidAllocator<MsmPagingTable | MsmProcessTable>;

  constructor(world: World, init: BankMoverInit) {
    this.#init = init;
    this.#asids = new AsidAllocator(world, init.config.lastAsid);
  }

  /**
   * Puts the contexts of `state` on `target`: through a spare bank where there is one, else in the bank that serves them.
   * What is held is tried again where a table may let it through now, for nobody of the old one decides any more. Where the
   * contexts are blocked all of it is terminated, and under identity, too: it was not meant to pass untranslated.
   * @throws LabError EINVAL on a table of other hardware or one that is gone, EIO when a clock does not start, ENOSPC
   * without an ASID: all before the first write
   */
  move(state: BankState, target: AttachTarget): void {
    const { hardware, map } = this.#init;
    const spare = map.spares[0];
    const clocks = state.clocks ?? hardware.hold();
    const { hw } = clocks;
    let next: Current;
    try {
      next = this.#prepare(hw, spare ?? state.bank, target);
    } catch (error) {
      if (state.clocks === undefined) clocks.release();
      throw error;
    }
    this.#program(hw, state, spare, next);
    this.#leave(hw, state.current);
    state.heldIova = undefined;
    state.current = next;
    state.clocks = next.kind === 'blocked' ? undefined : clocks;
    if (state.clocks === undefined) clocks.release();
  }

  #prepare(hw: HardwareVerbs, bank: number, target: AttachTarget): Current {
    if (target.kind === 'identity' || target.kind === 'blocked') return target;
    const { table } = target;
    const { name, tableKey } = this.#init;
    const isOurs = table instanceof MsmPagingTable || table instanceof MsmProcessTable;
    if (!isOurs || table.tableKey !== tableKey) {
      throw new LabError('EINVAL', `${name} cannot walk tables of other hardware`);
    }
    const attachment = { hw, bank, asid: this.#asids.acquire(table) };
    try {
      // Before the bank walks it: an unmap from now on must reach the bank.
      table.join(attachment);
    } catch (error) {
      this.#asids.release(table);
      throw error;
    }
    return table instanceof MsmPagingTable
      ? { kind: 'paging', table, attachment }
      : { kind: 'sva', table, attachment };
  }

  #program(hw: HardwareVerbs, state: BankState, spare: number | undefined, next: Current): void {
    const { config, emptyTtbr0, map } = this.#init;
    const program = programOf(next, emptyTtbr0, config);
    if (spare === undefined) {
      return switchInPlace(hw, state, next.kind, program, config.fenceStreams);
    }
    const heldAccess = next.kind === 'paging' || next.kind === 'sva' ? 'retry' : 'terminate';
    switchToSpareBank(hw, state, spare, program, interruptIndexOf(config), heldAccess);
    map.spares.shift();
    map.spares.push(state.bank);
    state.bank = spare;
  }

  #leave(hw: HardwareVerbs, left: Current): void {
    if (left.kind === 'identity' || left.kind === 'blocked') return;
    const { table, attachment } = left;
    if (this.#asids.isLastUser(table)) hw.invalidateAsid(attachment.bank, attachment.asid);
    this.#asids.release(table);
    table.leave(attachment);
  }
}
