/**
 * A driver whose device works in the address space of its user (shared virtual addressing). It maps nothing, pins nothing
 * and copies nothing: the user's addresses are the device's, and what is not there comes in when it is touched.
 */
import type { Device } from '@iommu-lab/driver-core';
import type { Iommu } from '@iommu-lab/iommu-core';
import type { Process } from '@iommu-lab/kernel-mm';
import { GFX2D } from '@iommu-lab/media-devices/drivers';
import { copyJob, type UserEngine } from './user-engine.ts';

/** @throws LabError as `Iommu.bindProcess`: EOPNOTSUPP where the IOMMU cannot, ENOSPC while it works for somebody else */
export function openInProcessSpace(iommu: Iommu, device: Device, process: Process): UserEngine {
  const bond = iommu.bindProcess(device, process);
  return {
    copy(from, to, lines, done) {
      device.require(GFX2D).run(copyJob(from.address, to.address, lines), done);
    },
    close: () => bond.unbind(),
  };
}
