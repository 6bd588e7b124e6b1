/**
 * One MSM SMMU instance: its pins, and the ways an access can end. What a register write causes is in
 * register-effects.ts.
 */
import {
  hex,
  maskOf,
  moveBytes,
  type AccessStatus,
  type BusAccess,
  type BusPort,
  type Iova,
  type MemoryPort,
  type MmioDevice,
  type ResumeOutcome,
  type World,
} from '@iommu-lab/machine';
import { resolveConfig, type MsmSmmuConfig, type ResolvedConfig } from './config.ts';
import { ContextBank } from './context-bank.ts';
import { DueAnswers } from './due-answers.ts';
import { FaultLines, type InterruptInput } from './fault-lines.ts';
import { announceContextFault, failedAccess, recordContextFault, recordGlobalError } from './fault.ts';
import { FetchBuffer } from './fetch-buffer.ts';
import { GlobalPage } from './global-page.ts';
import { viewEntry, type TlbEntryView } from './inspection.ts';
import { Maintenance } from './maintenance.ts';
import { allowsAll, isAllowed, rightNeeded } from './permission.ts';
import { wireRegisters } from './register-effects.ts';
import { BANK_BYTES, FSR, WINDOW_BYTES } from './regs/index.ts';
import { SNAPSHOT_FORMAT, checkShape, liveAccesses, shapeOf, type SmmuSnapshot } from './snapshot.ts';
import type { ParkedAccess } from './stall.ts';
import { SmmuStatistics } from './statistics.ts';
import { StreamMap, bypassAttributes, isBypassDisabled, vmidOf, type Stream } from './stream-map.ts';
import { Tlb } from './tlb.ts';
import { Translator, refusalOf } from './translate.ts';
import { TranslationOutput, type Translated } from './translated.ts';
import { FAULT_TRANSLATION, NO_FAULT, Walker } from './walk.ts';

/** What the instance is soldered to. */
export interface MsmSmmuWiring {
  /** Memory past the CPU's cache. */
  readonly memory: MemoryPort;
  /** Memory as a coherent observer sees it: through the CPU's cache. */
  readonly snooped: MemoryPort;
  /** Interrupt of the banks whose CBACR.IRPTNDX is 0. */
  readonly secureLine: InterruptInput;
  /** Interrupt of the banks whose CBACR.IRPTNDX is 1. */
  readonly nonSecureLine: InterruptInput;
}

/** Addresses above have no translation. */
const LAST_ADDRESS = 0xffffffff;
const OK = NO_FAULT; // as constants of this module: see tlb.ts
const STALLED = maskOf(FSR.fields.SS);

/**
 * The device. Registers by `read32` and `write32` (offsets inside its 1 MiB window), bus accesses of masters by
 * `access`, or by `translate` for a bus that moves the bytes itself (streamId = machine id); interrupts on the two
 * lines. Nothing at these pins throws.
 */
export class MsmSmmu implements MmioDevice, BusPort {
  readonly name: string;
  readonly config: ResolvedConfig;
  /** Counters, live; read them, do not write them. */
  readonly statistics: SmmuStatistics = new SmmuStatistics();
  readonly #world: World;
  readonly #memory: MemoryPort;
  readonly #snooped: MemoryPort;
  readonly #output: TranslationOutput;
  readonly #due: DueAnswers;
  readonly #banks: readonly ContextBank[];
  readonly #streams: StreamMap;
  /** Those of the map: one step less for each access. */
  readonly #streamList: readonly Stream[];
  readonly #tlb: Tlb;
  readonly #fetchBuffer: FetchBuffer;
  readonly #translator: Translator;
  readonly #global: GlobalPage;
  readonly #lines: FaultLines;
  /** What the master gets to see of the last access that faulted. */
  #refusal: ResumeOutcome = 'terminate';

  /** @throws LabError EINVAL on a configuration the register window or the TLB cannot hold, or no reading. */
  constructor(world: World, config: MsmSmmuConfig, wiring: MsmSmmuWiring) {
    const resolved = resolveConfig(config);
    const { readings } = resolved;
    this.config = resolved;
    this.name = config.name;
    this.#world = world;
    this.#memory = wiring.memory;
    this.#snooped = wiring.snooped;
    const random = resolved.tlbReplacement === 'random' ? world.random.fork(`${this.name}/tlb`) : undefined;
    this.#tlb = new Tlb(resolved.tlbEntries, resolved.tlbWays, readings.multiHit === 'fault', random);
    this.#fetchBuffer = new FetchBuffer(resolved.fetchBlocks);
    this.#due = new DueAnswers(world);
    this.#banks = Array.from(
      { length: resolved.contextBanks },
      (_, index) => new ContextBank(this.#due, index, resolved),
    );
    this.#streams = new StreamMap(resolved.streams, this.#banks);
    this.#streamList = this.#streams.streams;
    this.#output = new TranslationOutput(this.#streams);
    this.#translator = new Translator(
      this.#output,
      this.#tlb,
      new Walker(wiring, this.#fetchBuffer, readings.supersections === '40-bit'),
      this.statistics,
      readings.failedWalks === 'kept',
    );
    this.#global = new GlobalPage(resolved, this.#streams, this.#banks, this.#tlb);
    this.#lines = new FaultLines(wiring, this.#banks, this.#global, readings);
    wireRegisters({
      world,
      config: resolved,
      banks: this.#banks,
      global: this.#global,
      lines: this.#lines,
      tlb: this.#tlb,
      translator: this.#translator,
      maintenance: new Maintenance(world, resolved, this.#tlb, this.#fetchBuffer, this.statistics),
    });
  }

  read32(offset: number): number {
    const bank = this.#bankAt(offset);
    if (bank !== undefined) return bank.registers.read(offset % BANK_BYTES);
    return this.#global.read(offset);
  }

  write32(offset: number, value: number): void {
    const bank = this.#bankAt(offset);
    if (bank !== undefined) bank.registers.write(offset % BANK_BYTES, value);
    else this.#global.write(offset, value);
  }

  access(access: BusAccess): AccessStatus {
    const status = this.translate(access);
    if (status === 'done') {
      const output = this.#output;
      const port = output.isSnooped ? this.#snooped : this.#memory;
      return moveBytes(port, output.address, access) ? 'done' : 'faulted';
    }
    if (status === 'parked' || this.#refusal === 'terminate') return status;
    if (!access.isWrite) access.data.fill(0, access.offset, access.offset + access.length);
    return 'done';
  }

  /**
   * The address phase of an access alone: routing, translation, rights. After `done`, `translated` says where the
   * bytes are; moving them is the caller's. After `parked`, the instance holds the access and will call its `resume`.
   * A context fault is always `faulted` here; that `access` may hide it from the master (CFERE) is its own doing.
   */
  translate(access: BusAccess): AccessStatus {
    this.statistics.accesses++;
    const stream = this.#streamList[access.streamId];
    if (stream === undefined || !stream.isReady) return this.#notReady(access, stream);
    return this.#throughBank(access, stream);
  }

  /** What `translate` or `access` let through: valid after `done`, until the next of them or a V2P operation. */
  get translated(): Translated {
    return this.#output;
  }

  /** Power-on state: registers at their reset values, TLB empty, parked accesses terminated, lines low. */
  reset(): void {
    for (const bank of this.#banks) {
      bank.stall.endAll('terminate');
      bank.registers.reset();
      bank.holdUp(false);
      bank.decode();
    }
    this.#global.reset();
    this.#tlb.reset();
    this.#fetchBuffer.reset();
    this.statistics.reset();
    this.#lines.drive();
  }

  /** The whole state as plain data, at any moment, stalled accesses included. */
  snapshot(): SmmuSnapshot {
    return {
      format: SNAPSHOT_FORMAT,
      shape: shapeOf(this.config),
      global: this.#global.snapshot(),
      banks: this.#banks.map((bank) => ({
        registers: bank.registers.dump(),
        stall: bank.stall.snapshot(),
      })),
      due: this.#due.keys,
      tlb: this.#tlb.snapshot(),
      fetchBuffer: this.#fetchBuffer.snapshot(),
      statistics: this.statistics.snapshot(),
    };
  }

  /**
   * Takes over a snapshot; accesses that this instance held are forgotten, not answered. Answers that were on their way
   * when the snapshot was made are on their way again, as clock tasks of this instance's world.
   * @param reissue gives the live access of its owner for one that was parked; a snapshot without one does not need it
   * @throws LabError EINVAL, with nothing changed, on a snapshot of another shape, or if `reissue` is missing
   */
  restore(snapshot: SmmuSnapshot, reissue?: (parked: ParkedAccess) => BusAccess): void {
    checkShape(this.config, snapshot);
    const owners = liveAccesses(this.name, snapshot, reissue);
    this.#due.cancelAll();
    snapshot.banks.forEach((saved, index) => {
      const bank = this.#banks[index] as ContextBank;
      bank.registers.restore(saved.registers);
      bank.stall.restore(saved.stall, (parked) => owners.get(parked) as BusAccess);
    });
    this.#global.restore(snapshot.global);
    for (const bank of this.#banks) {
      bank.holdUp(this.#global.isClientPortOff);
      bank.decode();
    }
    for (const key of snapshot.due) for (const bank of this.#banks) bank.stall.reschedule(key);
    this.#tlb.restore(snapshot.tlb);
    this.#fetchBuffer.restore(snapshot.fetchBuffer);
    Object.assign(this.statistics, snapshot.statistics);
    this.#lines.drive();
  }

  /** Every valid TLB entry, by index. For observers: changes nothing. */
  tlbEntries(): readonly TlbEntryView[] {
    return Array.from({ length: this.#tlb.entries }, (_, index) => viewEntry(this.#tlb, index)).filter(
      (view) => view !== undefined,
    );
  }

  /**
   * The TLB entry that would translate `iova` for machine id `mid`; undefined if there is none, or two and that is a
   * fault, or the stream is not routed or not translated. For observers: changes nothing.
   */
  probeTlb(mid: number, iova: Iova): TlbEntryView | undefined {
    const stream = this.#streams.streams[mid];
    if (stream?.bank?.isEnabled !== true || iova > LAST_ADDRESS) return undefined;
    if (this.#global.isClientPortOff) return undefined;
    const entry = this.#tlb.lookup(stream.tag, iova);
    return entry < 0 ? undefined : viewEntry(this.#tlb, entry);
  }

  #bankAt(offset: number): ContextBank | undefined {
    if (offset < 0 || offset >= WINDOW_BYTES) return undefined;
    return this.#banks[Math.floor(offset / BANK_BYTES)];
  }

  /** A hot path: an access to a mapping that is open to all needs no look at what it is. */
  #throughBank(access: BusAccess, stream: Stream): AccessStatus {
    const output = this.#output;
    if (access.address > LAST_ADDRESS) return this.#beyond(access, stream);
    const va = access.address | 0; // signed, as inside a walk: the upper half would be an object at each call
    const entry = this.#tlb.lookup(stream.tag, va);
    if (entry >= 0) {
      this.#tlb.read(entry, va, output);
    } else {
      const bank = stream.bank as ContextBank;
      const fault = this.#translator.miss(bank, stream.tag, va, entry);
      if (fault !== OK) return this.#contextFault(access, stream, bank, fault);
    }
    if (!allowsAll(output.attributes)) return this.#byRights(access, stream);
    // A comparison costs less than a store.
    if (output.access !== access) output.access = access;
    return 'done';
  }

  /** An IOVA has 32 bits; what lies above is not mapped by any table (fixed choice). */
  #beyond(access: BusAccess, stream: Stream): AccessStatus {
    this.statistics.misses++;
    this.statistics.unwalked++;
    return this.#contextFault(access, stream, stream.bank as ContextBank, FAULT_TRANSLATION);
  }

  #byRights(access: BusAccess, stream: Stream): AccessStatus {
    const output = this.#output;
    const bank = stream.bank as ContextBank;
    const { isInstruction } = access.attributes;
    const refusal = refusalOf(output.attributes, rightOf(access, bank), isInstruction);
    if (refusal !== OK) return this.#contextFault(access, stream, bank, refusal);
    output.access = access;
    return 'done';
  }

  /** Whatever keeps an access from going straight through its bank. */
  #notReady(access: BusAccess, stream: Stream | undefined): AccessStatus {
    const { readings } = this.config;
    const bank = stream?.bank;
    const route = stream?.word ?? 0;
    if (this.#global.isClientPortOff) return this.#bypass(access, route);
    if (stream === undefined || bank === undefined) {
      if (readings.unroutedAccess === 'bypass') return this.#bypass(access, route);
      return this.#globalError(access, 'CFG', route);
    }
    if (!bank.isEnabled) return this.#bypass(access, route);
    if (readings.vmidMismatch === 'global-error' && vmidOf(route) !== bank.vmid) {
      return this.#globalError(access, 'CFG', route);
    }
    const isAdmitted = bank.stall.admits(access);
    if (!isAdmitted && !(readings.stalledBank === 'hits-pass' && this.#wouldHit(access, stream, bank))) {
      this.statistics.waits++;
      bank.stall.join(access);
      return 'parked';
    }
    const { misses } = this.statistics;
    const status = this.#throughBank(access, stream);
    if (this.config.traceAccesses && status === 'done') {
      this.#trace(access, bank, this.statistics.misses === misses);
    }
    return status;
  }

  #bypass(access: BusAccess, route: number): AccessStatus {
    const { readings } = this.config;
    if (isBypassDisabled(route) && readings.bypassDisable === 'global-error') {
      return this.#globalError(access, 'BYPASS', route);
    }
    this.statistics.bypasses++;
    const output = this.#output;
    output.physical[0] = access.address;
    output.attributes = bypassAttributes(route, readings.bypassMemory);
    output.access = access;
    return 'done';
  }

  #contextFault(access: BusAccess, stream: Stream, bank: ContextBank, cause: number): AccessStatus {
    this.statistics.faults++;
    const isPrivileged = isPrivilegedAt(bank, access);
    const failed = failedAccess(access, stream.word, isPrivileged);
    recordContextFault(bank, failed, cause, this.config.readings.furtherFault);
    const stalls = bank.stallsOnFault && !this.#global.isStallOff;
    if (stalls) {
      bank.registers.set(FSR, (bank.registers.get(FSR) | STALLED) >>> 0);
      bank.stall.hold(access);
    }
    // Whoever hears of it finds the access where it is.
    announceContextFault(this.#world, this.name, bank, failed, cause);
    this.#lines.drive();
    this.#refusal = bank.terminatedOutcome;
    return stalls ? 'parked' : 'faulted';
  }

  #globalError(access: BusAccess, cause: 'CFG' | 'BYPASS', route: number): AccessStatus {
    this.statistics.globalErrors++;
    const failed = failedAccess(access, route, access.attributes.isPrivileged);
    recordGlobalError(this.#world, this.name, this.#global.registers, failed, cause, vmidOf(route));
    this.#lines.drive();
    this.#refusal = 'terminate';
    return 'faulted';
  }

  /** Whether the TLB alone lets the access through. */
  #wouldHit(access: BusAccess, stream: Stream, bank: ContextBank): boolean {
    if (access.address > LAST_ADDRESS) return false;
    const entry = this.#tlb.lookup(stream.tag, access.address);
    if (entry < 0) return false;
    const { isInstruction } = access.attributes;
    return isAllowed(this.#tlb.attributes(entry), rightOf(access, bank), isInstruction);
  }

  #trace(access: BusAccess, bank: ContextBank, isHit: boolean): void {
    this.#world.emit('smmu:translate', {
      iommu: this.name,
      bank: bank.index,
      sid: access.streamId,
      iova: hex(access.address),
      paddr: hex(this.#output.address),
      hit: isHit,
    });
  }
}

function isPrivilegedAt(bank: ContextBank, access: BusAccess): boolean {
  return bank.privilegeOverride ?? access.attributes.isPrivileged;
}

function rightOf(access: BusAccess, bank: ContextBank): number {
  return rightNeeded(isPrivilegedAt(bank, access), access.isWrite);
}
