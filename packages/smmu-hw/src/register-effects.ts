/** What a write to a register causes besides being stored. */
import { extract, insert, maskOf, type World } from '@iommu-lab/machine';
import { PROBES, probeAddress } from './address-probe.ts';
import { PRIVILEGED_READ, PRIVILEGED_WRITE, USER_WRITE } from './attributes.ts';
import type { ResolvedConfig } from './config.ts';
import type { ContextBank } from './context-bank.ts';
import type { FaultLines } from './fault-lines.ts';
import { announceContextFault, recordContextFault } from './fault.ts';
import type { GlobalPage } from './global-page.ts';
import { implementedBits } from './implemented.ts';
import type { Maintenance } from './maintenance.ts';
import {
  ACTLR,
  CR,
  CTX_TLBIALL,
  ESR,
  ESRRESTORE,
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
} from './regs/index.ts';
import type { Tlb } from './tlb.ts';
import type { Translator } from './translate.ts';
import { NO_FAULT } from './walk.ts';

/** The parts of an instance that registers act on. */
export interface InstanceParts {
  readonly world: World;
  readonly config: ResolvedConfig;
  readonly banks: readonly ContextBank[];
  readonly global: GlobalPage;
  readonly lines: FaultLines;
  readonly tlb: Tlb;
  readonly translator: Translator;
  readonly maintenance: Maintenance;
}

const STALLED = maskOf(FSR.fields.SS);

/** Hangs the effects on the registers of an instance. Decoding of plain bank registers is the bank's own. */
export function wireRegisters(parts: InstanceParts): void {
  for (const bank of parts.banks) wireBank(parts, bank);
  wireGlobal(parts);
}

function wireBank(parts: InstanceParts, bank: ContextBank): void {
  const { config, global, lines, maintenance } = parts;
  bank.on(SCTLR, () => {
    bank.decodeSctlr();
    // A bank that stops translating lets go of what it holds, as terminated: nothing it holds may bypass (R52).
    if (!bank.isEnabled && config.readings.disabledBank === 'terminates') endStall(parts, bank);
  });
  bank.on(ACTLR, () => {
    bank.decodeActlr();
    lines.drive();
  });
  bank.on(FSR, () => statusChanged(parts, bank));
  bank.on(FSRRESTORE, (value) => {
    bank.registers.set(FSR, restored(config, value, implementedBits(FSR)));
    statusChanged(parts, bank);
  });
  bank.registers.on(TLBLCKR, {
    beforeWrite: (value) => {
      const isOpen = config.readings.lockRegisterGate === 'open' || global.isSet(CR.fields.TLBLKCRWE);
      return isOpen ? value & implementedBits(TLBLCKR) : bank.registers.get(TLBLCKR);
    },
    afterWrite: () => bank.decodeLock(),
  });
  bank.on(CTX_TLBIALL, () => maintenance.contextAll(bank));
  bank.on(TLBIASID, (value) => maintenance.asid(bank, value));
  bank.on(TLBIVA, (value) => maintenance.address(bank, value));
  bank.on(TLBIVAA, (value) => maintenance.addressAllAsids(bank, value));
  for (const { register, right } of PROBES) bank.on(register, (value) => probe(parts, bank, right, value));
  bank.on(RESUME, (value) => resume(parts, bank, extract(value, RESUME.fields.TNR)));
}

function wireGlobal({ banks, config, global, lines, maintenance }: InstanceParts): void {
  const isSpared = (field: typeof CR.fields.TLBIALLCFG): boolean =>
    config.readings.globalInvalidateLocked === 'by-cr' && global.isSet(field);
  global.onRouting = () => lines.drive();
  global.on(CR, () => {
    for (const bank of banks) bank.holdUp(global.isClientPortOff);
  });
  global.on(ESR, () => lines.drive());
  global.on(ESRRESTORE, (value) => {
    global.registers.set(ESR, restored(config, value, implementedBits(ESR)));
    lines.drive();
  });
  global.on(GLOBAL_TLBIALL, () => maintenance.globalAll(isSpared(CR.fields.TLBIALLCFG)));
  global.on(TLBIVMID, (value) => maintenance.vmid(value, isSpared(CR.fields.TLBIVMIDCFG)));
}

/** What a status register holds after its restore register was written (R47). */
function restored(config: ResolvedConfig, value: number, implemented: number): number {
  return config.readings.statusRestore === 'loads' ? (value & implemented) >>> 0 : 0;
}

function probe(parts: InstanceParts, bank: ContextBank, right: number, request: number): void {
  const { config, lines, tlb, translator, world } = parts;
  const fault = probeAddress(tlb, translator, bank, right, request, config.readings);
  if (fault === NO_FAULT || config.readings.probeFaults === 'par-only') return;
  const access = {
    masterName: 'V2P',
    streamId: 0,
    address: (request & 0xfffff000) >>> 0,
    isWrite: right === PRIVILEGED_WRITE || right === USER_WRITE,
    isInstruction: false,
    isPrivileged: right === PRIVILEGED_READ || right === PRIVILEGED_WRITE,
    isNonSecure: false,
  };
  recordContextFault(bank, access, fault, config.readings.furtherFault);
  announceContextFault(world, config.name, bank, access, fault);
  lines.drive();
}

function resume(parts: InstanceParts, bank: ContextBank, tnr: number): void {
  const terminates = tnr === parts.config.readings.resumeTerminates;
  const outcome = terminates ? bank.terminatedOutcome : 'retry';
  if (!bank.stall.resume(outcome)) return;
  bank.registers.set(FSR, insert(bank.registers.get(FSR), FSR.fields.SS, 0));
  parts.world.emit('smmu:resume', {
    iommu: parts.config.name,
    bank: bank.index,
    outcome,
  });
  parts.lines.drive();
}

function statusChanged(parts: InstanceParts, bank: ContextBank): void {
  const isCleared = (bank.registers.get(FSR) & STALLED) === 0;
  // After RESUME the stall is over and its access on its way: a status cleared then decides nothing any more.
  const ends = parts.config.readings.clearingStallStatus === 'terminates' && bank.stall.hasFaulting;
  if (isCleared && ends) endStall(parts, bank);
  parts.lines.drive();
}

function endStall({ config, lines, world }: InstanceParts, bank: ContextBank): void {
  const count = bank.stall.endAll(bank.terminatedOutcome);
  if (count === 0) return;
  bank.registers.set(FSR, insert(bank.registers.get(FSR), FSR.fields.SS, 0));
  world.emit('smmu:stall_released', { iommu: config.name, bank: bank.index, count });
  lines.drive();
}
