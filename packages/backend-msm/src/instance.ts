/** The driver port for one SMMU. */
import type { Device, Endpoint } from '@iommu-lab/driver-core';
import type {
  AttachTarget,
  FaultReport,
  FaultVerdict,
  IommuCapabilities,
  IommuInstance,
  PagingTable,
  ProcessSpace,
  ProcessTable,
} from '@iommu-lab/iommu-core';
import { assert, isLabError, LabError, type MemoryPort, type World } from '@iommu-lab/machine';
import type { MsmSmmuPlatformData } from '@iommu-lab/msm-bus';
import { ShortDescriptorTable, type TableMemory } from '@iommu-lab/page-table';
import { programOf, ttbr0Of } from './bank-program.ts';
import { BankMap, type BankState, BLOCKED, isCurrent } from './bank-state.ts';
import { BankMover } from './bank-mover.ts';
import { capabilitiesOf, tableKeyOf } from './capabilities.ts';
import type { MsmHardware } from './clock-bracket.ts';
import { BLOCKED_ASID, interruptIndexOf, type ResolvedMsmIommuConfig } from './config.ts';
import { serviceFaults } from './fault-handler.ts';
import { endAllHeld, endStall } from './held-access.ts';
import { MsmPagingTable } from './msm-paging-table.ts';
import { MsmProcessTable } from './msm-process-table.ts';

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
  /** Absent where faults do not stall. @throws LabError EOPNOTSUPP, see `MsmProcessTable` */
  readonly createProcessTable?: (space: ProcessSpace) => ProcessTable;
  /**
   * Decides about an access that a verdict `hold` left stalled. Absent where faults do not stall.
   * @throws LabError ENODEV on an unknown context, EINVAL when nothing is held there, EIO when a clock does not start
   */
  readonly resume?: (context: string, outcome: 'retry' | 'terminate') => void;
  readonly #world: World;
  readonly #init: InstanceInit;
  readonly #map: BankMap;
  readonly #mover: BankMover;
  /** What blocked banks walk: nothing is ever mapped in it. */
  readonly #empty: ShortDescriptorTable;

  /** Touches no register. @throws LabError ENOMEM, ERANGE without memory for the empty table */
  constructor(world: World, init: InstanceInit) {
    const { platform, config } = init;
    this.#world = world;
    this.#init = init;
    this.name = `msm-smmu ${platform.provider}`;
    this.provider = platform.provider;
    this.tableKey = tableKeyOf(config);
    this.#map = new BankMap(platform);
    this.capabilities = capabilitiesOf(config, this.#map.spares.length > 0);
    this.#empty = new ShortDescriptorTable(world, init.tables, config.format);
    this.#mover = new BankMover(world, {
      name: this.name,
      tableKey: this.tableKey,
      hardware: init.hardware,
      config,
      map: this.#map,
      emptyTtbr0: this.#emptyTtbr0,
    });
    if (!config.stallFaults) return;
    this.createProcessTable = (space) => new MsmProcessTable(space, config, this.tableKey);
    this.resume = (context, outcome) => this.#resume(context, outcome);
  }

  /**
   * Brings the hardware up with every context blocked, in the bank it is wired to; the others are spare. Streams are
   * routed last, so none of them gets through a bank that is being reset.
   * @throws LabError ENODEV when the sanity check fails; EIO when a clock does not start
   */
  start(): void {
    const { platform, config, hardware } = this.#init;
    const blocked = programOf(BLOCKED, this.#emptyTtbr0, config);
    hardware.powered((hw) => {
      if (config.fenceStreams) for (let mid = 0; mid <= LAST_MACHINE_ID; mid++) hw.fenceStream(mid);
      hw.resetInstance(platform.contextBanks);
      if (!hw.sanityCheck()) throw new LabError('ENODEV', `${this.name}: invalid PAR: no SMMU answers`);
      for (const bank of this.#map.banks) hw.parkBank(bank, BLOCKED_ASID);
      for (const { bank, contexts } of this.#map.states) {
        hw.configureBank(bank, interruptIndexOf(config));
        hw.programBank(bank, blocked);
        for (const { machineIds } of contexts) for (const mid of machineIds) hw.routeStream(mid, bank);
      }
    });
  }

  /** Ends all translation: every context stays blocked, with nothing left to walk. Must not fail. */
  stop(): void {
    for (const state of this.#map.states) this.#block(state);
    const isDone = this.#attempt('stop', () =>
      this.#init.hardware.powered((hw) => {
        for (const bank of this.#map.banks) hw.shutBank(bank, BLOCKED_ASID);
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
    return `bank ${state.wiredBank}`;
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
    if (!isCurrent(state.current, target)) this.#mover.move(state, target);
    if (previous === undefined) state.users++;
  }

  /**
   * Blocks the context with its last endpoint; its clocks run, so it cannot fail. Until then the streams of one that has
   * left go on being translated: contexts are told apart, not the devices that share one.
   */
  release(endpoint: Endpoint, _previous: AttachTarget): void {
    const state = this.#stateOf(endpoint.context);
    state.users--;
    assert(state.users >= 0, `${endpoint.context} is released by who was attached`);
    if (state.users === 0) this.#block(state);
  }

  /**
   * The interrupt handler: serves every fault that is recorded. Global errors have no line of their own; they are
   * found on the way, or by calling this.
   *
   * Where a clock does not start nothing can be read: it says there was none, as drivers/iommu/msm_iommu.c does
   * (msm_iommu_fault_handler), and is called again while the line is high. A clock that fails for long makes that an
   * interrupt nobody cared for: it is switched off, and faults wait until this is called.
   * @returns whether there was one
   */
  serviceFaults(): boolean {
    let isHandled = false;
    this.#attempt('interrupt', () => {
      isHandled = this.#init.hardware.powered((hw) =>
        serviceFaults(hw, this.#map, (report) => this.#init.reportFault(this, report)),
      );
    });
    return isHandled;
  }

  get #emptyTtbr0(): number {
    return ttbr0Of(this.#empty.root, this.#init.config.coherentWalk);
  }

  #resume(context: string, outcome: 'retry' | 'terminate'): void {
    const state = this.#stateOf(context);
    const { heldIova } = state;
    if (heldIova === undefined) throw new LabError('EINVAL', `nothing is held in ${context}`, { context });
    this.#init.hardware.powered((hw) => endStall(hw, state, outcome, heldIova));
  }

  #stateOf(context: string): BankState {
    const state = this.#map.ofContext(context);
    if (state === undefined) {
      throw new LabError('ENODEV', `${this.name} has no context "${context}"`, { context });
    }
    return state;
  }

  #block(state: BankState): void {
    if (!isCurrent(state.current, BLOCKED)) return this.#mover.move(state, BLOCKED);
    const { hardware, config } = this.#init;
    this.#attempt('end what is held', () =>
      hardware.powered((hw) => endAllHeld(hw, state, config.fenceStreams)),
    );
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
