/** What an instance notes about an access that failed: context faults (R44, R45) and global errors. */
import { encode, hex, maskOf, type BusAccess, type RegisterFile, type World } from '@iommu-lab/machine';
import type { ContextBank } from './context-bank.ts';
import type { Readings } from './readings.ts';
import { EAR, ESR, ESYNR0, ESYNR1, FAR, FSR, FSYNR0, FSYNR1 } from './regs/index.ts';
import { isNonSecure } from './stream-map.ts';

const MULTI = maskOf(FSR.fields.MULTI);

/** The access that failed, as it went out: after the overrides of its stream and bank. */
export interface FailedAccess {
  readonly masterName: string;
  readonly streamId: number;
  readonly address: number;
  readonly isWrite: boolean;
  readonly isInstruction: boolean;
  readonly isPrivileged: boolean;
  readonly isNonSecure: boolean;
}

/** @param route M2VCBR word of its stream */
export function failedAccess(access: BusAccess, route: number, isPrivileged: boolean): FailedAccess {
  const { masterName, streamId, address, isWrite, attributes } = access;
  return {
    masterName,
    streamId,
    address,
    isWrite,
    isInstruction: attributes.isInstruction,
    isPrivileged,
    isNonSecure: isNonSecure(route, attributes.isSecure),
  };
}

/** Records a context fault; a further one while FSR is not 0 leaves a mark, and more if so read (R45). */
export function recordContextFault(
  bank: ContextBank,
  access: FailedAccess,
  cause: number,
  furtherFault: Readings['furtherFault'],
): void {
  const { registers } = bank;
  const status = registers.get(FSR);
  if (status === 0 || furtherFault === 'last-kept') {
    registers.set(FSR, (cause | (status === 0 ? 0 : status | MULTI)) >>> 0);
    registers.set(FAR, access.address);
    registers.set(FSYNR0, encode(FSYNR0, { AMID: access.streamId }));
    registers.set(FSYNR1, encode(FSYNR1, syndrome(access)));
  } else {
    registers.set(FSR, (status | MULTI) >>> 0);
  }
}

/** Tells observers of a context fault, as it has been recorded. */
export function announceContextFault(
  world: World,
  name: string,
  bank: ContextBank,
  access: FailedAccess,
  cause: number,
): void {
  if (!world.events.isObserved) return;
  world.emit('smmu:context_fault', {
    iommu: name,
    bank: bank.index,
    sid: access.streamId,
    master: access.masterName,
    iova: hex(access.address),
    access: access.isWrite ? 'write' : 'read',
    cause: hex(cause),
    fsr: hex(bank.registers.get(FSR)),
  });
}

/** Records a global error (`CFG` or `BYPASS`). */
export function recordGlobalError(
  world: World,
  name: string,
  registers: RegisterFile,
  access: FailedAccess,
  cause: 'CFG' | 'BYPASS',
  vmid: number,
): void {
  const status = registers.get(ESR);
  if (status === 0) {
    registers.set(ESR, maskOf(ESR.fields[cause]));
    registers.set(EAR, access.address);
    registers.set(ESYNR0, encode(ESYNR0, { AMID: access.streamId, AVMID: vmid }));
    registers.set(ESYNR1, encode(ESYNR1, syndrome(access)));
  } else {
    registers.set(ESR, (status | maskOf(ESR.fields.MULTI)) >>> 0);
  }
  if (!world.events.isObserved) return;
  world.emit('smmu:global_error', {
    iommu: name,
    sid: access.streamId,
    master: access.masterName,
    iova: hex(access.address),
    access: access.isWrite ? 'write' : 'read',
    cause,
  });
}

function syndrome(access: FailedAccess): {
  APRIV: number;
  APROTNS: number;
  AINST: number;
  AWRITE: number;
} {
  return {
    APRIV: access.isPrivileged ? 1 : 0,
    APROTNS: access.isNonSecure ? 1 : 0,
    AINST: access.isInstruction ? 1 : 0,
    AWRITE: access.isWrite ? 1 : 0,
  };
}
