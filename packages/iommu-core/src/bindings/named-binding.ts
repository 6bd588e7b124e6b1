/** Option 1 of July 2010: the caller names the IOMMU when it allocates. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
import type { IommuDomain } from '../domain.ts';
import type { Iommu } from '../iommu.ts';
import type { BindingStyle, Wish } from './binding-style.ts';

/**
 * A domain belongs to one IOMMU from birth to death, whose name its maker knows. FreeBSD has it so: the method that
 * allocates a domain takes the unit (sys/arm64/iommu/iommu.c, iommu_domain_alloc).
 *
 * Fails early: page sizes and aperture are known before the first map, and a wrong name shows at the first attach.
 * Wrong choice when the caller does not know the wiring, which is every portable driver; when several IOMMUs of one kind
 * could share a table, because each gets a domain of its own; and when an IOMMU may come later than its user.
 */
export class NamedBinding implements BindingStyle<IommuDomain> {
  readonly name = 'named';
  readonly years = 'proposed in 2010; FreeBSD';
  readonly whoSays = 'the caller, when it allocates';
  readonly #iommu: Iommu;
  readonly #homes = new WeakMap<IommuDomain, string>();

  constructor(iommu: Iommu) {
    this.#iommu = iommu;
  }

  /** A domain of the IOMMU `provider`. @throws LabError ENODEV when there is none, or not yet; ENOMEM */
  alloc({ provider }: Pick<Wish, 'provider'>, name: string): IommuDomain {
    const named = this.#iommu.instances.filter((i) => i.provider === provider);
    const domain = this.#iommu.allocPagingDomainFor(named, name);
    this.#homes.set(domain, provider);
    return domain;
  }

  /**
   * Puts the device on the domain, or its endpoint at `context` only: a device behind two IOMMUs takes two domains and two
   * attachments.
   * @throws LabError EINVAL when the device (or that endpoint) is behind another IOMMU than the domain's, be it of the
   * same kind, and for a domain of another style; as `Iommu.attach` and `Iommu.attachEndpoint`
   */
  attach(domain: IommuDomain, device: Device, context?: string): void {
    const home = this.#homes.get(domain);
    const meant = device.endpoints.filter((e) => context === undefined || e.context === context);
    const strangers = meant.filter((e) => e.provider !== home);
    const isElsewhere = context === undefined ? strangers.length > 0 : strangers.length === meant.length;
    if (isElsewhere && meant.length > 0) {
      throw new LabError(
        'EINVAL',
        `${domain.name} is of ${home ?? 'no named IOMMU'}; ${device.name} is behind ${strangers[0]?.provider}`,
        { domain: domain.name, device: device.name },
      );
    }
    if (context === undefined) this.#iommu.attach(domain, device);
    else this.#iommu.attachEndpoint(domain, device, `${home}:${context}`);
  }

  /** Takes all endpoints of the device that are on the domain off it. */
  detach(domain: IommuDomain, device: Device): void {
    this.#iommu.detach(domain, device);
  }
}
