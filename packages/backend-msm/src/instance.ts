/** The driver port for one SMMU: which bank serves an endpoint, and what that bank translates by. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type {
  AttachTarget,
  FaultReport,
  FaultVerdict,
  IommuCapabilities,
  IommuInstance,
  PagingTable,
} from '@iommu-lab/iommu-core';
import { assert, isLabError, LabError, type MemoryPort, type World } from '@iommu-lab/machine';
import type { MsmSmmuPlatformData } from '@iommu-lab/msm-bus';
import { ShortDescriptorTable, type TableMemory } from '@iommu-lab/page-table';
import { AsidAllocator } from './asids.ts';
import { type BankState, bankStates, BLOCKED, type Current, isCurrent } from './bank-state.ts';
import { capabilitiesOf, tableKeyOf } from './capabilities.ts';
import type { MsmHardware } from './clock-bracket.ts';
import { BLOCKED_ASID, type ResolvedMsmIommuConfig, TRANSIT_ASID } from './config.ts';
import { serviceFaults } from './fault-handler.ts';
import { type HardwareVerbs, ttbr0Of } from './hw.ts';
import { MsmPagingTable } from './msm-paging-table.ts';

/** What an instance is made from. */
export interface InstanceInit {
  readonly platform: MsmSmmuPlatformData;
  readonly hardware: MsmHardware;
  readonly config: ResolvedMsmIommuConfig;
  readonly tables: TableMemory;
  readonly walkerMemory: MemoryPort | undefined;
  /** Where faults go. */
  readonly reportFault: (instance: IommuInstance, report: FaultReport) => FaultVerdict;
}

/** The MSM8x60 instances route 32 machine ids; what IDR.NM2VCBMT counts is not known. */
const LAST_MACHINE_ID = 31;

/** One SMMU behind the driver port. */
export class MsmIommuInstance implements IommuInstance {
  readonly name: string;
  readonly provider: string;
  readonly capabilities: IommuCapabilities;
  readonly tableKey: string;
  readonly #world: World;
  readonly #init: InstanceInit;
  readonly #banks: Map<number, BankState>;
  readonly #asids: AsidAllocator<MsmPagingTable>;
  /** What blocked banks walk: nothing is ever mapped in it. */
  readonly #empty: ShortDescriptorTable;

  /** Touches no register. @throws LabError ENOMEM, ERANGE without memory for the empty table */
  constructor(world: World, init: InstanceInit) {
    const { platform, config } = init;
    this.#world = world;
    this.#init = init;
    this.name = `msm-smmu ${platform.provider}`;
    this.provider = platform.provider;
    this.capabilities = capabilitiesOf(config);
    this.tableKey = tableKeyOf(config);
    this.#banks = bankStates(platform.contexts);
    this.#asids = new AsidAllocator(world, config.lastAsid);
    this.#empty = new ShortDescriptorTable(world, init.tables, config.format);
  }

  /**
   * Brings the hardware up with every context blocked. Streams are routed last, so none of them gets through a bank
   * that is being reset. @throws LabError ENODEV when the sanity check fails; EIO when a clock does not start
   */
  start(): void {
    const { platform, config, hardware } = this.#init;
    const { format, stallFaults } = config;
    hardware.powered((hw) => {
      if (config.fenceStreams) for (let mid = 0; mid <= LAST_MACHINE_ID; mid++) hw.fenceStream(mid);
      hw.resetInstance(platform.contextBanks);
      if (!hw.sanityCheck()) throw new LabError('ENODEV', `${this.name}: invalid PAR: no SMMU answers`);
      for (const { bank, contexts } of this.#banks.values()) {
        hw.configureBank(bank, config.interruptLine === 'secure' ? 0 : 1);
        hw.programBank(bank, this.#emptyTtbr0, BLOCKED_ASID, { ...format, stallFaults });
        for (const { machineIds } of contexts) for (const mid of machineIds) hw.configureStream(mid, bank);
      }
    });
  }

  /** Ends all translation: every context stays blocked, with nothing left to walk. Must not fail. */
  stop(): void {
    for (const state of this.#banks.values()) this.#block(state);
    const isDone = this.#attempt('stop', () =>
      this.#init.hardware.powered((hw) => {
        for (const { bank } of this.#banks.values()) hw.shutBank(bank);
      }),
    );
    // A bank that could not be shut may still walk the empty table: it is kept.
    if (isDone) this.discard();
  }

  /** Gives back what the constructor took, when the hardware was not started or has been shut. */
  discard(): void {
    this.#empty.destroy();
  }

  probeEndpoint(device: Device, endpoint: Endpoint): string {
    const state = this.#stateOf(endpoint.context);
    const context = state.contexts.find((c) => c.context === endpoint.context);
    const strange = endpoint.streamIds.find((id) => context?.machineIds.includes(id) !== true);
    if (strange !== undefined) {
      throw new LabError('ENODEV', `${device.name}: stream ${strange} is not wired to ${endpoint.context}`, {
        device: device.name,
        streamId: strange,
      });
    }
    return `bank ${state.bank}`;
  }

  createPagingTable(): PagingTable {
    const { tables, config, walkerMemory } = this.#init;
    return new MsmPagingTable(this.#world, tables, config, this.tableKey, walkerMemory);
  }

  /**
   * @throws LabError ENODEV on an unknown context, EINVAL on a table of other hardware or one destroyed, ENOSPC without
   * an ASID, EIO when a clock does not start; nothing has changed then
   */
  attach(endpoint: Endpoint, target: AttachTarget, previous: AttachTarget | undefined): void {
    const state = this.#stateOf(endpoint.context);
    if (!isCurrent(state.current, target)) this.#move(state, target, 'retry');
    if (previous === undefined) state.users++;
  }

  /** Blocks the bank with its last endpoint; its clocks run, so it cannot fail. */
  release(endpoint: Endpoint, _previous: AttachTarget): void {
    const state = this.#stateOf(endpoint.context);
    state.users = Math.max(0, state.users - 1);
    if (state.users === 0) this.#block(state);
  }

  /**
   * Decides about an access that a verdict `hold` left stalled.
   * @throws LabError ENODEV on an unknown context, EINVAL when nothing is held there, EIO when a clock does not start
   */
  resume(context: string, outcome: 'retry' | 'terminate'): void {
    const state = this.#stateOf(context);
    if (!state.isHeld) throw new LabError('EINVAL', `nothing is held in ${context}`, { context });
    this.#init.hardware.powered((hw) => hw.resume(state.bank, outcome));
    state.isHeld = false;
  }

  /**
   * The interrupt handler: serves every fault that is recorded. Global errors have no line of their own; they are
   * found on the way, or by calling this.
   * @returns whether there was one
   */
  serviceFaults(): boolean {
    let isHandled = false;
    this.#attempt('interrupt', () => {
      isHandled = this.#init.hardware.powered((hw) =>
        serviceFaults(hw, this.#banks.values(), (report) => this.#init.reportFault(this, report)),
      );
    });
    return isHandled;
  }

  get #emptyTtbr0(): number {
    return ttbr0Of(this.#empty.root, this.#init.config.coherentWalk);
  }

  #stateOf(context: string): BankState {
    for (const state of this.#banks.values()) {
      if (state.contexts.some((c) => c.context === context)) return state;
    }
    throw new LabError('ENODEV', `${this.name} has no context "${context}"`, { context });
  }

  /** Everything that can fail comes first: clocks, then ASID. */
  #move(state: BankState, target: AttachTarget, heldAccess: 'retry' | 'terminate'): void {
    const clocks = state.clocks ?? this.#init.hardware.hold();
    const { hw } = clocks;
    let next: Current;
    try {
      next = this.#prepare(hw, state, target);
    } catch (error) {
      if (state.clocks === undefined) clocks.release();
      throw error;
    }
    this.#program(hw, state, next);
    this.#leave(hw, state.current);
    // What stalled under the old table may succeed under the new one; nobody of the old one decides any more.
    if (state.isHeld) hw.resume(state.bank, heldAccess);
    state.isHeld = false;
    state.current = next;
    state.clocks = next.kind === 'blocked' ? undefined : clocks;
    if (state.clocks === undefined) clocks.release();
  }

  #prepare(hw: HardwareVerbs, state: BankState, target: AttachTarget): Current {
    if (target.kind !== 'paging') return target;
    const { table } = target;
    if (!(table instanceof MsmPagingTable) || table.tableKey !== this.tableKey) {
      throw new LabError('EINVAL', `${this.name} cannot walk tables of other hardware`);
    }
    const attachment = { hw, bank: state.bank, asid: this.#asids.acquire(table) };
    try {
      // Before the bank walks it: an unmap from now on must reach the bank.
      table.join(attachment);
    } catch (error) {
      this.#asids.release(table);
      throw error;
    }
    return { kind: 'paging', table, attachment };
  }

  #program(hw: HardwareVerbs, state: BankState, next: Current): void {
    const { bank } = state;
    if (next.kind === 'identity') return hw.enterBypass(bank, this.#emptyTtbr0, BLOCKED_ASID);
    const ttbr0 = next.kind === 'paging' ? next.table.ttbr0 : this.#emptyTtbr0;
    const asid = next.kind === 'paging' ? next.attachment.asid : BLOCKED_ASID;
    if (state.current.kind === 'identity') hw.leaveBypass(bank, ttbr0, asid);
    else hw.switchTable(bank, ttbr0, asid, TRANSIT_ASID);
  }

  #leave(hw: HardwareVerbs, left: Current): void {
    if (left.kind !== 'paging') return;
    const { table, attachment } = left;
    if (this.#asids.isLastUser(table)) hw.invalidateAsid(attachment.bank, attachment.asid);
    this.#asids.release(table);
    table.leave(attachment);
  }

  #block(state: BankState): void {
    if (!isCurrent(state.current, BLOCKED)) return this.#move(state, BLOCKED, 'terminate');
    if (!state.isHeld) return;
    this.#attempt('end a stall', () => {
      this.#init.hardware.powered((hw) => hw.resume(state.bank, 'terminate'));
      state.isHeld = false;
    });
  }

  /** For what must not fail: a clock that does not start is reported instead. @returns whether it was done */
  #attempt(step: string, work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      assert(isLabError(error, 'EIO'), `${this.name}: ${step}: ${String(error)}`);
      this.#world.emit('msm_iommu:hardware_unreachable', {
        provider: this.provider,
        step,
        error: error.message,
      });
      return false;
    }
  }
}
