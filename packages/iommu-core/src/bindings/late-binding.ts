/** Option 2 of July 2010: allocate as ever, then tell the driver, by a call of its own, which IOMMU is meant. */
import type { Device } from '@iommu-lab/driver-core';
import { LabError, type PhysAddr } from '@iommu-lab/machine';
import type { IommuDomain } from '../domain.ts';
import type { Iommu } from '../iommu.ts';
import type { Protection } from '../protection.ts';
import type { BindableDomain, BindingStyle, Wish } from './binding-style.ts';
import { NamedBinding } from './named-binding.ts';

/** A domain that is of no hardware until it is bound, and can do nothing until then. */
export class LateDomain implements BindableDomain {
  readonly name: string;
  #inner: IommuDomain | undefined;
  #isFreed = false;

  constructor(name: string) {
    this.name = name;
  }

  get isBound(): boolean {
    return this.#inner !== undefined;
  }

  /** The domain of the hardware. @throws LabError EINVAL before `bind` */
  get bound(): IommuDomain {
    if (this.#inner !== undefined) return this.#inner;
    throw new LabError('EINVAL', `${this.name} is not bound: nobody knows its page sizes`, {
      domain: this.name,
    });
  }

  /** Gives it the domain that `make` makes, once. @throws LabError EBUSY when it has one; EINVAL when freed; as `make` */
  bind(make: () => IommuDomain): void {
    if (this.#inner !== undefined) {
      throw new LabError('EBUSY', `${this.name} is bound already`, {
        domain: this.name,
      });
    }
    if (this.#isFreed)
      throw new LabError('EINVAL', `${this.name} has been freed`, {
        domain: this.name,
      });
    this.#inner = make();
  }

  /** @throws LabError EINVAL before `bind`; as `IommuDomain.map` */
  map(iova: number, address: number, sizeBytes: number, protection: Protection, by?: string): void {
    this.bound.map(iova, address, sizeBytes, protection, by);
  }

  /** @throws LabError EINVAL before `bind`; as `IommuDomain.unmap` */
  unmap(iova: number, sizeBytes: number, by?: string): number {
    return this.bound.unmap(iova, sizeBytes, by);
  }

  iovaToPhys(iova: number): PhysAddr | undefined {
    return this.#inner?.iovaToPhys(iova);
  }

  free(): void {
    this.#inner?.free();
    this.#isFreed = true;
  }
}

/**
 * The generic calls stay as they are, and a private call of the IOMMU's driver comes between. What a domain can do is
 * unknown until then, so mapping and attaching are `EINVAL`, as in VFIO a map before SET_IOMMU
 * (drivers/vfio/container.c). From `bind` on it is a named domain.
 *
 * Wrong choice for everybody but the author of one driver: a caller must know whose private call to make, a generic user
 * (KVM, the DMA API) cannot make it at all, and the order of calls becomes a rule that no type holds.
 */
export class LateBinding implements BindingStyle<LateDomain> {
  readonly name = 'bound-later';
  readonly years = 'proposed in 2010';
  readonly whoSays = "the caller, by the driver's private call";
  readonly #named: NamedBinding;

  constructor(iommu: Iommu) {
    this.#named = new NamedBinding(iommu);
  }

  /** A domain without hardware. Never fails. */
  alloc(_wish: Partial<Wish>, name: string): LateDomain {
    return new LateDomain(name);
  }

  /**
   * Says, once, which IOMMU the domain is for.
   * @throws LabError EBUSY when it is bound; ENODEV when there is no such IOMMU, or not yet; EINVAL when freed; ENOMEM
   */
  bind(domain: LateDomain, { provider }: Pick<Wish, 'provider'>): void {
    domain.bind(() => this.#named.alloc({ provider }, domain.name));
  }

  /** @throws LabError EINVAL before `bind`; as `NamedBinding.attach` */
  attach(domain: LateDomain, device: Device, context?: string): void {
    this.#named.attach(domain.bound, device, context);
  }

  detach(domain: LateDomain, device: Device): void {
    if (domain.isBound) this.#named.detach(domain.bound, device);
  }
}
