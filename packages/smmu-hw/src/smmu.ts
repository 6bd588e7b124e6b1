/**
 * One MSM SMMU instance: its pins, and what happens at each of them. Long because it is where everything meets: what
 * each register write causes, and the ways an access can end.
 */
import {
  extract,
  hex,
  insert,
  maskOf,
  moveBytes,
  type AccessStatus,
  type BusAccess,
  type BusPort,
  type InterruptLine,
  type Iova,
  type MemoryPort,
  type MmioDevice,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import { PROBES, probeAddress } from './address-probe.ts';
import { resolveConfig, type MsmSmmuConfig, type ResolvedConfig } from './config.ts';
import { ContextBank } from './context-bank.ts';
import { recordContextFault, recordGlobalError } from './fault.ts';
import { GlobalPage } from './global-page.ts';
import { viewEntry, type TlbEntryView } from './inspection.ts';
import {
  invalidateAddress,
  invalidateAddressAllAsids,
  invalidateAll,
  invalidateAsid,
  invalidateContext,
  invalidateVmid,
} from './invalidate.ts';
import { isSnooped } from './memory-type.ts';
import { rightNeeded } from './permission.ts';
import {
  BANK_BYTES,
  CR,
  CTX_TLBIALL,
  FSR,
  FSRRESTORE,
  GLOBAL_TLBIALL,
  RESUME,
  SCTLR,
  TLBIASID,
  TLBIVA,
  TLBIVAA,
  TLBIVMID,
  TLBLCKR,
  WINDOW_BYTES,
  ACTLR,
} from './regs/index.ts';
import { StallQueue } from './stall.ts';
import { newStatistics, type SmmuStatistics } from './statistics.ts';
import { StreamMap, bankOf, isBypassDisabled, isBypassSnooped, isNonSecure, vmidOf } from './stream-map.ts';
import { NO_ENTRY, Tlb } from './tlb.ts';
import { Translator } from './translate.ts';
import { NO_FAULT, Walker } from './walk.ts';

/** What the instance is soldered to. */
export interface MsmSmmuWiring {
  /** Memory past the CPU's cache. */
  readonly memory: MemoryPort;
  /** Memory as a coherent observer sees it: through the CPU's cache. */
  readonly snooped: MemoryPort;
  /** Interrupt of the banks whose CBACR.IRPTNDX is 0. */
  readonly secureLine: InterruptLine;
  /** Interrupt of the banks whose CBACR.IRPTNDX is 1. */
  readonly nonSecureLine: InterruptLine;
}

const STALLED = maskOf(FSR.fields.SS);
const FSR_BITS: number = Object.values(FSR.fields).reduce((mask, field) => mask | maskOf(field), 0);

/**
 * The device. Registers by `read32` and `write32` (offsets inside its 1 MiB window), bus accesses of masters by
 * `access` (streamId = machine id); interrupts on the two lines. Nothing at these pins throws.
 */
export class MsmSmmu implements MmioDevice, BusPort {
  readonly name: string;
  readonly config: ResolvedConfig;
  /** Counters, live; read them, do not write them. */
  readonly statistics: SmmuStatistics = newStatistics();
  readonly #world: World;
  readonly #wiring: MsmSmmuWiring;
  readonly #streams: StreamMap;
  readonly #banks: readonly ContextBank[];
  readonly #tlb: Tlb;
  readonly #translator: Translator;
  readonly #global: GlobalPage;

  /** @throws LabError EINVAL on a configuration the register window or the TLB cannot hold. */
  constructor(world: World, config: MsmSmmuConfig, wiring: MsmSmmuWiring) {
    this.config = resolveConfig(config);
    this.name = config.name;
    this.#world = world;
    this.#wiring = wiring;
    this.#streams = new StreamMap(this.config.streams);
    const random =
      this.config.tlbReplacement === 'random' ? world.random.fork(`${this.name}/tlb`) : undefined;
    this.#tlb = new Tlb(this.config.tlbEntries, this.config.tlbWays, random);
    this.#translator = new Translator(this.#tlb, new Walker(wiring), this.statistics);
    this.#banks = Array.from({ length: this.config.contextBanks }, (_, index) => {
      return new ContextBank(index, this.config, new StallQueue(world, `${this.name} bank ${index}`));
    });
    this.#global = new GlobalPage(this.config, this.#streams, this.#banks, this.#tlb);
    this.#global.onRouting = () => this.#driveLines();
    for (const bank of this.#banks) this.#wireBank(bank);
    this.#wireGlobal();
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
    this.statistics.accesses++;
    const mid = access.streamId;
    if (mid >= this.#streams.streams) return this.#globalError(access, 'CFG', 0);
    const route = this.#streams.word(mid);
    const bank = this.#banks[bankOf(route)];
    if (bank === undefined) return this.#globalError(access, 'CFG', route);
    if (!bank.isEnabled) return this.#bypass(access, route);
    if (bank.stall.isBlocked) {
      bank.stall.join(access);
      return 'parked';
    }
    const vmid = vmidOf(route);
    if (vmid !== bank.vmid && this.config.vmidMismatch === 'global-error') {
      return this.#globalError(access, 'CFG', route);
    }
    const { attributes } = access;
    const isPrivileged = bank.privilegeOverride ?? attributes.isPrivileged;
    const right = rightNeeded(isPrivileged, access.isWrite);
    const translator = this.#translator;
    const fault = translator.translate(
      bank,
      vmid,
      access.address,
      right,
      attributes.isInstruction,
      bank.walksOnMiss,
    );
    if (fault !== NO_FAULT) return this.#contextFault(bank, access, fault, isPrivileged, route);
    this.statistics.translations++;
    if (this.config.traceAccesses) this.#trace(access, bank);
    const { memory, snooped } = this.#wiring;
    const port = isSnooped(translator.output[1] as number, bank.redirects) ? snooped : memory;
    return moveBytes(port, translator.output[0] as PhysAddr, access) ? 'done' : 'faulted';
  }

  /** Power-on state: registers at their reset values, TLB empty, parked accesses terminated, lines low. */
  reset(): void {
    for (const bank of this.#banks) {
      bank.stall.terminateAll();
      bank.registers.reset();
      bank.decode();
    }
    this.#global.reset();
    this.#tlb.reset();
    Object.assign(this.statistics, newStatistics());
    this.#driveLines();
  }

  /** Every valid TLB entry, by index. For observers: changes nothing. */
  tlbEntries(): readonly TlbEntryView[] {
    return Array.from({ length: this.#tlb.entries }, (_, index) => viewEntry(this.#tlb, index)).filter(
      (view) => view !== undefined,
    );
  }

  /**
   * The TLB entry that would translate `iova` for machine id `mid`; undefined if there is none, or the stream is not
   * routed or not translated. For observers: changes nothing.
   */
  probeTlb(mid: number, iova: Iova): TlbEntryView | undefined {
    if (mid >= this.#streams.streams || iova > 0xffffffff) return undefined;
    const route = this.#streams.word(mid);
    const bank = this.#banks[bankOf(route)];
    if (bank === undefined || !bank.isEnabled) return undefined;
    const entry = this.#tlb.lookup(vmidOf(route), bank.asid, iova);
    return entry === NO_ENTRY ? undefined : viewEntry(this.#tlb, entry);
  }

  #bankAt(offset: number): ContextBank | undefined {
    if (offset < 0 || offset >= WINDOW_BYTES) return undefined;
    return this.#banks[Math.floor(offset / BANK_BYTES)];
  }

  #wireBank(bank: ContextBank): void {
    const { config } = this;
    const tlb = this.#tlb;
    bank.on(SCTLR, () => {
      bank.decode();
      // A bank that stops translating lets go of what it holds, as terminated: nothing it holds may bypass (R52).
      if (!bank.isEnabled) this.#terminateStalled(bank);
    });
    bank.on(ACTLR, () => {
      bank.decode();
      this.#driveLines();
    });
    bank.on(FSR, () => this.#statusChanged(bank));
    bank.on(FSRRESTORE, (value) => {
      bank.registers.set(FSR, (value & FSR_BITS) >>> 0);
      this.#statusChanged(bank);
    });
    bank.registers.on(TLBLCKR, {
      beforeWrite: (value) =>
        this.#global.isSet(CR.fields.TLBLKCRWE) ? value & TLBLCKR_BITS : bank.registers.get(TLBLCKR),
    });
    bank.on(CTX_TLBIALL, () => {
      this.#dropped(
        'CTX_TLBIALL',
        bank,
        invalidateContext(tlb, config.contextInvalidateScope, bank.index, bank.vmid, bank.asid),
      );
    });
    bank.on(TLBIASID, (value) => {
      this.#dropped('TLBIASID', bank, invalidateAsid(tlb, bank.vmid, extract(value, TLBIASID.fields.ASID)));
    });
    bank.on(TLBIVA, (value) => {
      const asid = extract(value, TLBIVA.fields.ASID);
      this.#dropped('TLBIVA', bank, invalidateAddress(tlb, bank.vmid, asid, value), value);
    });
    bank.on(TLBIVAA, (value) => {
      this.#dropped('TLBIVAA', bank, invalidateAddressAllAsids(tlb, bank.vmid, value), value);
    });
    for (const { register, right } of PROBES) {
      bank.on(register, (value) => probeAddress(this.#translator, bank, right, value));
    }
    bank.on(RESUME, (value) => this.#resume(bank, extract(value, RESUME.fields.TNR)));
  }

  #wireGlobal(): void {
    this.#global.on(GLOBAL_TLBIALL, () => {
      this.#dropped('GLOBAL_TLBIALL', undefined, invalidateAll(this.#tlb));
    });
    this.#global.on(TLBIVMID, (value) => {
      const vmid = extract(value, TLBIVMID.fields.VMID);
      this.#dropped('TLBIVMID', undefined, invalidateVmid(this.#tlb, vmid));
    });
  }

  #bypass(access: BusAccess, route: number): AccessStatus {
    if (isBypassDisabled(route) && this.config.bypassDisable === 'global-error') {
      return this.#globalError(access, 'BYPASS', route);
    }
    this.statistics.bypasses++;
    const port = isBypassSnooped(route) ? this.#wiring.snooped : this.#wiring.memory;
    return moveBytes(port, access.address as PhysAddr, access) ? 'done' : 'faulted';
  }

  #contextFault(
    bank: ContextBank,
    access: BusAccess,
    cause: number,
    isPrivileged: boolean,
    route: number,
  ): AccessStatus {
    this.statistics.faults++;
    recordContextFault(this.#world, this.name, bank, access, cause, {
      isPrivileged,
      isNonSecure: isNonSecure(route, access.attributes.isSecure),
    });
    const stalls = bank.stallsOnFault && !this.#global.isSet(CR.fields.STALLD);
    if (stalls) {
      bank.registers.set(FSR, (bank.registers.get(FSR) | STALLED) >>> 0);
      bank.stall.hold(access);
    }
    this.#driveLines();
    return stalls ? 'parked' : 'faulted';
  }

  #globalError(access: BusAccess, cause: 'CFG' | 'BYPASS', route: number): AccessStatus {
    this.statistics.globalErrors++;
    const nonSecure = isNonSecure(route, access.attributes.isSecure);
    recordGlobalError(
      this.#world,
      this.name,
      this.#global.registers,
      access,
      cause,
      vmidOf(route),
      nonSecure,
    );
    return 'faulted';
  }

  #resume(bank: ContextBank, tnr: number): void {
    const outcome = tnr === this.config.resumeTerminates ? 'terminate' : 'retry';
    if (!bank.stall.resume(outcome)) return;
    bank.registers.set(FSR, insert(bank.registers.get(FSR), FSR.fields.SS, 0));
    this.#world.emit('smmu:resume', { iommu: this.name, bank: bank.index, outcome });
    this.#driveLines();
  }

  #statusChanged(bank: ContextBank): void {
    const isCleared = (bank.registers.get(FSR) & STALLED) === 0;
    // After RESUME the stall is over and its access on its way: a status cleared then decides nothing any more.
    const releases = this.config.clearingStallStatusReleases && bank.stall.hasFaulting;
    if (isCleared && releases) this.#terminateStalled(bank);
    this.#driveLines();
  }

  #terminateStalled(bank: ContextBank): void {
    const count = bank.stall.terminateAll();
    bank.registers.set(FSR, insert(bank.registers.get(FSR), FSR.fields.SS, 0));
    if (count > 0) this.#world.emit('smmu:stall_released', { iommu: this.name, bank: bank.index, count });
    this.#driveLines();
  }

  /** Line level: some bank routed to it has CFEIE and a status that is not 0 (R48). */
  #driveLines(): void {
    let secure = false;
    let nonSecure = false;
    for (const bank of this.#banks) {
      if (!bank.interruptEnabled || bank.registers.get(FSR) === 0) continue;
      if (bank.interruptIndex === 0) secure = true;
      else if (bank.interruptIndex === 1) nonSecure = true;
    }
    this.#wiring.secureLine.set(secure);
    this.#wiring.nonSecureLine.set(nonSecure);
  }

  #dropped(operation: string, bank: ContextBank | undefined, entries: number, data?: number): void {
    this.statistics.invalidations++;
    this.statistics.entriesDropped += entries;
    if (!this.#world.events.isObserved) return;
    this.#world.emit('smmu:invalidate', {
      iommu: this.name,
      operation,
      bank: bank?.index ?? null,
      entries,
      ...(data === undefined ? {} : { iova: hex((data & 0xfffff000) >>> 0) }),
    });
  }

  #trace(access: BusAccess, bank: ContextBank): void {
    this.#world.emit('smmu:translate', {
      iommu: this.name,
      bank: bank.index,
      sid: access.streamId,
      iova: hex(access.address),
      paddr: hex(this.#translator.output[0] as number),
      hit: this.#translator.isHit,
    });
  }
}

const TLBLCKR_BITS: number = Object.values(TLBLCKR.fields).reduce((mask, field) => mask | maskOf(field), 0);
