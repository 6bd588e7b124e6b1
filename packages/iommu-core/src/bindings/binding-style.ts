/**
 * The common shape of the ways to bind a domain to an IOMMU. They differ in who says which IOMMU is meant, and when; so
 * they differ in when they fail. The core under them is one, and so are the rules of mapping and attaching.
 */
import type { Device } from '@iommu-lab/driver-core';
import type { PhysAddr } from '@iommu-lab/machine';
import type { Protection } from '../protection.ts';

/** All that a caller could say when it wants a domain. Each style looks at one of these, or at none. */
export interface Wish {
  /** Key of the IOMMU, as endpoints name it. */
  readonly provider: string;
  /** Name of the bus that the device is on. */
  readonly bus: string;
  /** The device that the domain is for; configured. */
  readonly device: Device;
}

/** What can be done with a domain of every style. `IommuDomain` and `IoAddressSpace` are such. */
export interface BindableDomain {
  readonly name: string;
  /** @throws LabError as `IommuDomain.map`; what the style adds stands with it */
  map(iova: number, address: number, sizeBytes: number, protection: Protection, by?: string): void;
  /** @returns bytes removed @throws LabError as `IommuDomain.unmap` */
  unmap(iova: number, sizeBytes: number, by?: string): number;
  /** Where `iova` leads by the tables; undefined: nowhere. */
  iovaToPhys(iova: number): PhysAddr | undefined;
  /** @throws LabError EBUSY while a device is attached */
  free(): void;
}

/** One answer to "which IOMMU does the API talk to?". */
export interface BindingStyle<D extends BindableDomain = BindableDomain> {
  readonly name: string;
  /** When kernels had it. */
  readonly years: string;
  /** Who says which IOMMU is meant. */
  readonly whoSays: string;

  /** A domain with nothing mapped. @throws LabError as the style says; ENOMEM */
  alloc(wish: Wish, name: string): D;

  /** Present where saying which IOMMU is a step of its own, between `alloc` and the first `map`. */
  bind?(domain: D, wish: Wish): void;

  /** Puts the whole device on the domain, or nothing of it. @throws LabError as the style says, and as `Iommu.attach` */
  attach(domain: D, device: Device): void;

  /** Takes the device from the domain back to where its group belongs. Never fails. */
  detach(domain: D, device: Device): void;
}
