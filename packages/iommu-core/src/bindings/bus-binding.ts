/** 2011 to 2023: one kind of IOMMU per bus. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from '../domain.ts';
import type { Iommu } from '../iommu.ts';
import type { BindingStyle, Wish } from './binding-style.ts';

/**
 * A driver of IOMMUs takes a whole bus (bus_set_iommu), and a domain is allocated for a bus (iommu_domain_alloc(bus),
 * drivers/iommu/iommu.c of 3.2 to 6.0). The kind is decided by the bus, the instance by the driver at attach.
 *
 * Right for "all PCI devices behind VT-d". Wrong choice on a SoC: its platform bus has IOMMUs of several kinds, the
 * first driver wins it, and for devices behind the others there is no IOMMU API at all.
 */
export class BusBinding implements BindingStyle<IommuDomain> {
  readonly name = 'per-bus';
  readonly years = 'Linux 3.2 to 6.7';
  readonly whoSays = 'the bus says which kind';
  readonly #iommu: Iommu;
  readonly #kinds = new Map<string, string>();

  constructor(iommu: Iommu) {
    this.#iommu = iommu;
  }

  /**
   * IOMMUs of this kind (`IommuInstance.tableKey`) serve the bus from here on (bus_set_iommu).
   * @throws LabError EBUSY when the bus has a kind, be it the same
   */
  setKind(bus: string, kind: string): void {
    const taken = this.#kinds.get(bus);
    if (taken !== undefined) {
      throw new LabError('EBUSY', `bus ${bus} has IOMMUs of kind "${taken}"`, {
        bus,
        kind,
      });
    }
    this.#kinds.set(bus, kind);
  }

  /** Whether somebody has taken the bus (iommu_present). */
  hasKind(bus: string): boolean {
    return this.#kinds.has(bus);
  }

  /**
   * A domain for IOMMUs of the bus's kind, with the page sizes and aperture that all of them have now; one that comes
   * later and can do less refuses it.
   * @throws LabError ENODEV when the bus has no kind, or no IOMMU of the kind has come; EOPNOTSUPP when they have no page
   * size in common; ENOMEM
   */
  alloc({ bus }: Pick<Wish, 'bus'>, name: string): IommuDomain {
    const kind = this.#kinds.get(bus);
    const ofKind = this.#iommu.instances.filter((i) => i.tableKey === kind);
    return this.#iommu.allocPagingDomainFor(ofKind, name);
  }

  /** @throws LabError EINVAL when the device is behind an IOMMU of another kind, on whatever bus; as `Iommu.attach` */
  attach(domain: IommuDomain, device: Device): void {
    this.#iommu.attach(domain, device);
  }

  detach(domain: IommuDomain, device: Device): void {
    this.#iommu.detach(domain, device);
  }
}
