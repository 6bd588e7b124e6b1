/** 2024 to today: everything hangs off the device, allocation too (its operations since Linux 6.8, 2023). */
import type { Device } from '@iommu-lab/driver-core';
import type { IommuDomain } from '../domain.ts';
import type { Iommu } from '../iommu.ts';
import type { BindingStyle, Wish } from './binding-style.ts';

/**
 * A domain is allocated for a device (iommu_paging_domain_alloc, drivers/iommu/iommu.c since 6.11) and fits what that
 * device sits behind; IOMMUs with the same tables and no lesser capabilities accept it, too. It is how this core works
 * without any front end.
 *
 * Fails at allocation: page sizes and aperture are known from the start. Wrong choice for who has mappings before it has a
 * device (a guest whose memory comes first), and for a device behind IOMMUs of different kinds: both want an address
 * space.
 */
export class DeviceBinding implements BindingStyle<IommuDomain> {
  readonly name = 'per-device';
  readonly years = 'Linux since 6.11';
  readonly whoSays = 'the device, when a domain is allocated for it';
  readonly #iommu: Iommu;

  constructor(iommu: Iommu) {
    this.#iommu = iommu;
  }

  /** @throws LabError as `Iommu.allocPagingDomain`: ENODEV, EOPNOTSUPP, ENOMEM */
  alloc({ device }: Pick<Wish, 'device'>, name: string): IommuDomain {
    return this.#iommu.allocPagingDomain(device, name);
  }

  /** @throws LabError as `Iommu.attach`: EINVAL when the device is behind hardware with other tables */
  attach(domain: IommuDomain, device: Device): void {
    this.#iommu.attach(domain, device);
  }

  detach(domain: IommuDomain, device: Device): void {
    this.#iommu.detach(domain, device);
  }
}
