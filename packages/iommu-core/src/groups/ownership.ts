/**
 * Two uses of a group exclude each other: drivers through its default domain, or one opaque owner
 * (drivers/iommu/iommu.c, iommu_device_claim_dma_owner, iommu_device_use_default_domain).
 */
import type { Device } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from '../domain.ts';
import { type GroupState, isIdle } from './group.ts';

/**
 * Claims the group through `device`; `block` moves it to the blocked domain and may throw.
 * @returns whether this is the first claim @throws LabError EINVAL, EPERM, EBUSY, and what `block` throws
 */
export function claim(group: GroupState, device: Device, owner: unknown, block: () => void): boolean {
  if (owner === undefined || owner === null || owner === '') {
    throw new LabError('EINVAL', 'a claim names its owner', { group: group.id });
  }
  if (group.owner !== undefined) {
    if (group.owner !== owner) refuse(group, `group ${group.id} is owned by another`);
    group.claims.add(device);
    return false;
  }
  const used = group.devices.find((d) => isUsedByOther(d, owner));
  if (used !== undefined) refuse(group, `${used.name} is used by the driver ${used.driver?.name}`);
  if (group.live.some((b) => b.domain !== undefined && b.domain !== b.home)) {
    throw new LabError('EBUSY', `group ${group.id} is not on its default domain`, { group: group.id });
  }
  block();
  group.owner = owner;
  group.claims.add(device);
  return true;
}

/** Takes the claim through `device` back. @returns whether it was the last @throws LabError EPERM for another's claim */
export function unclaim(group: GroupState, device: Device, owner: unknown): boolean {
  if (owner !== undefined && group.owner !== undefined && owner !== group.owner) {
    refuse(group, `group ${group.id} is owned by another`);
  }
  return group.claims.delete(device) && group.claims.size === 0;
}

/**
 * Checks that the device's driver, if it has one, may use the group now, and that a device that is new to the group finds it
 * idle: what somebody has attached was not checked against it.
 * @throws LabError EBUSY
 */
export function checkMayUse(group: GroupState, device: Device, blocked: IommuDomain): void {
  const isTaken = group.owner !== undefined && isUsedByOther(device, group.owner);
  const isNew = !group.devices.includes(device);
  const away = isNew ? group.live.find((b) => !isIdle(b, blocked)) : undefined;
  if (!isTaken && away === undefined) return;
  throw new LabError(
    'EBUSY',
    `${device.name} is in group ${group.id}, which ${isTaken ? 'is owned' : `is on ${away?.domain?.name}`}`,
    { device: device.name, group: group.id },
  );
}

function isUsedByOther(device: Device, owner: unknown): boolean {
  const { driver } = device;
  return driver !== undefined && driver !== owner && driver.name !== owner;
}

function refuse(group: GroupState, message: string): never {
  throw new LabError('EPERM', message, { group: group.id });
}
