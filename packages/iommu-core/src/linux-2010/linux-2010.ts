/**
 * The IOMMU API of Linux 2.6.35 to 2.6.37 over this core: the calls of drivers/base/iommu.c by name, argument and result, so
 * that code written against it can be carried over line by line. Hence the snake case, the numbers for errors and null,
 * here and nowhere else in the project.
 *
 * It is the API, not a driver of the time: that the MSM driver overwrote mappings, ignored `prot` and asked its hardware
 * for `iova_to_phys` is not repeated. What the core refuses today is refused here, as a number.
 */
import type { Device } from '@iommu-lab/driver-core';
import { isLabError } from '@iommu-lab/machine';
import { BusBinding } from '../bindings/bus-binding.ts';
import type { IommuDomain } from '../domain.ts';
import type { IommuInstance } from '../driver-port.ts';
import type { Iommu } from '../iommu.ts';
import type { Protection } from '../protection.ts';
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE, PAGE_SIZE } from './constants.ts';
import { ContextDevice, findContext } from './context-device.ts';
import { ERRNO, errnoOf } from './errno.ts';
import { BUG_ON } from './kernel-bug.ts';

/** The calls. `d` is a domain of the core's: both APIs can be used on it. */
export interface Linux2010 {
  /** Makes IOMMUs of the kind of `ops` the only ones there are. @throws KernelBug the second time, be it the same kind */
  readonly register_iommu: (ops: Pick<IommuInstance, 'tableKey'>) => void;
  /** Whether a kind is registered; its hardware may still come. */
  readonly iommu_found: () => boolean;
  /**
   * A domain for every IOMMU of the registered kind.
   * @returns null on any failure: nothing registered (the kernel crashed), no such IOMMU yet, no memory
   */
  readonly iommu_domain_alloc: () => IommuDomain | null;
  /** @throws KernelBug while a device is attached: the kernel freed it under the device */
  readonly iommu_domain_free: (d: IommuDomain) => void;
  /**
   * Puts a device on the domain; a context's device (`msm_iommu_get_ctx`): that context alone.
   * @returns 0, or the error of `Iommu.attach`: -EBUSY attached, -EINVAL behind another kind or in a group with others
   * (groups hold here, too, though they came in 2012), -ENODEV behind none
   */
  readonly iommu_attach_device: (d: IommuDomain, dev: Device | ContextDevice) => number;
  /** Takes it back. Harmless for a device that is not attached there. */
  readonly iommu_detach_device: (d: IommuDomain, dev: Device | ContextDevice) => void;
  /**
   * Maps 4096 << gfp_order bytes.
   * @returns 0, or the error of `IommuDomain.map`: -EEXIST over a mapping
   * @throws KernelBug when `iova` or `paddr` is not aligned to the size
   */
  readonly iommu_map: (
    d: IommuDomain,
    iova: number,
    paddr: number,
    gfp_order: number,
    prot: number,
  ) => number;
  /**
   * Removes what is mapped in 4096 << gfp_order bytes, and waits for the hardware. Holes are skipped.
   * @returns the order removed: larger than asked when a larger page began at `iova`, which goes whole; -ENODEV when nothing
   * was mapped (msm_iommu_unmap), -EINVAL when `iova` lies inside a larger page
   * @throws KernelBug when `iova` is not aligned to the size
   */
  readonly iommu_unmap: (d: IommuDomain, iova: number, gfp_order: number) => number;
  /** Where `iova` leads; 0: nowhere, or to address 0. */
  readonly iommu_iova_to_phys: (d: IommuDomain, iova: number) => number;
  /** 1 or 0. */
  readonly iommu_domain_has_cap: (d: IommuDomain, cap: number) => number;
  /** The context `name` in front of a configured device, to attach it alone; null when there is none. */
  readonly msm_iommu_get_ctx: (name: string) => ContextDevice | null;
}

export interface Linux2010Options {
  /** What `iommu_domain_has_cap` says; a domain has no capability unless given, as with the MSM driver. */
  readonly hasCap?: (d: IommuDomain, cap: number) => boolean;
}

/** The whole machine was one bus to this API. */
const MACHINE = 'machine';

/** The API over `iommu`, with nothing registered. The functions need no `this`. */
export function createLinux2010(iommu: Iommu, options: Linux2010Options = {}): Linux2010 {
  const machine = new BusBinding(iommu);
  let domainCount = 0;

  return {
    register_iommu: (ops) => {
      BUG_ON(machine.hasKind(MACHINE), 'register_iommu: there is an IOMMU already');
      machine.setKind(MACHINE, ops.tableKey);
    },
    iommu_found: () => machine.hasKind(MACHINE),
    iommu_domain_alloc: () => {
      try {
        return machine.alloc({ bus: MACHINE }, `linux-2010-${domainCount++}`);
      } catch (error) {
        if (isLabError(error)) return null;
        throw error;
      }
    },
    iommu_domain_free: (d) => {
      BUG_ON(
        errnoOf(() => d.free()) !== 0,
        `iommu_domain_free: ${d.name} is attached, its tables would be used on`,
      );
    },
    iommu_attach_device: (d, dev) =>
      errnoOf(() => {
        if (dev instanceof ContextDevice) iommu.attachEndpoint(d, dev.master, dev.endpoint);
        else machine.attach(d, dev);
      }),
    iommu_detach_device: (d, dev) => {
      // A context that its master is not wired to any more has been left already: the number is dropped.
      errnoOf(() => {
        if (dev instanceof ContextDevice) iommu.detach(d, dev.master, dev.endpoint);
        else machine.detach(d, dev);
      });
    },
    iommu_map: (d, iova, paddr, gfp_order, prot) => {
      const sizeBytes = PAGE_SIZE * 2 ** gfp_order;
      BUG_ON(iova % sizeBytes !== 0 || paddr % sizeBytes !== 0, `iommu_map: not aligned to ${sizeBytes}`);
      return errnoOf(() => d.map(iova, paddr, sizeBytes, protectionOf(prot), 'iommu_map'));
    },
    iommu_unmap: (d, iova, gfp_order) => {
      const sizeBytes = PAGE_SIZE * 2 ** gfp_order;
      BUG_ON(iova % sizeBytes !== 0, `iommu_unmap: not aligned to ${sizeBytes}`);
      return errnoOf(() => unmapOrder(d, iova, sizeBytes));
    },
    iommu_iova_to_phys: (d, iova) => d.iovaToPhys(iova) ?? 0,
    iommu_domain_has_cap: (d, cap) => (options.hasCap?.(d, cap) === true ? 1 : 0),
    msm_iommu_get_ctx: (name) => findContext(iommu, name),
  };
}

function protectionOf(prot: number): Protection {
  return {
    read: (prot & IOMMU_READ) !== 0,
    write: (prot & IOMMU_WRITE) !== 0,
    ...((prot & IOMMU_CACHE) === 0 ? {} : { cacheable: true }),
  };
}

/** @returns the order of the range in which nothing is mapped any more, or -ENODEV when nothing was */
function unmapOrder(d: IommuDomain, iova: number, sizeBytes: number): number {
  const granule = d.capabilities.pageSizes[0] ?? PAGE_SIZE;
  const end = iova + sizeBytes;
  let isEmpty = true;
  let at = iova;
  while (at < end) {
    const removed = d.unmap(at, end - at, 'iommu_unmap');
    if (removed > 0) isEmpty = false;
    at += removed > 0 ? removed : granule;
  }
  // Only a page that begins at `iova` can reach beyond the range, by its alignment: a power of two remains.
  return isEmpty ? -ERRNO.ENODEV : Math.log2((at - iova) / PAGE_SIZE);
}
