/** Option 3 of July 2010: nobody names an IOMMU; the device that is attached brings it. */
import type { Device } from '@iommu-lab/driver-core';
import type { IoAddressSpace } from '../io-address-space.ts';
import type { Iommu } from '../iommu.ts';
import type { BindingStyle, Wish } from './binding-style.ts';

/**
 * A domain is a set of mappings; tables for it appear where a device joins. The MSM driver was merged so in October 2010
 * (drivers/iommu/msm_iommu.c, msm_iommu_attach_dev), with one kind of table; iommufd's address spaces are the same idea
 * for many (drivers/iommu/iommufd/ioas.c). It is the only style in which one domain serves a device behind IOMMUs of
 * different kinds.
 *
 * Fails late: before the first attach anything can be mapped, and what the hardware cannot do shows when a device
 * joins. Wrong choice for who must know page sizes and aperture before it maps, who wants several tables for one IOMMU
 * and switches between them, or who cannot pay for a replay of all mappings when a device comes.
 */
export class AttachBinding implements BindingStyle<IoAddressSpace> {
  readonly name = 'at-attach';
  readonly years = 'the MSM driver of 2010; iommufd';
  readonly whoSays = 'the device, when it is attached';
  readonly #iommu: Iommu;

  constructor(iommu: Iommu) {
    this.#iommu = iommu;
  }

  /** An address space of no hardware. Never fails. */
  alloc(_wish: Partial<Wish>, name: string): IoAddressSpace {
    return this.#iommu.createAddressSpace(name);
  }

  /** @throws LabError as `IoAddressSpace.attach`: what its IOMMU refuses to map shows here (ERANGE, EINVAL, EOPNOTSUPP) */
  attach(space: IoAddressSpace, device: Device): void {
    space.attach(device);
  }

  detach(space: IoAddressSpace, device: Device): void {
    space.detach(device);
  }
}
