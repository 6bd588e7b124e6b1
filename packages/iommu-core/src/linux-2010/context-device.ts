/** The context-bank device: what the MSM driver of October 2010 wanted as the `dev` of attach. */
import type { Device } from '@iommu-lab/driver-core';
import type { Iommu } from '../iommu.ts';

/**
 * One context of one IOMMU, as a device of its own. It is not the bus master but a piece of the IOMMU in front of it, and so
 * it answers which IOMMU is meant (arch/arm/mach-msm/iommu_dev.c, struct msm_iommu_ctx_dev).
 */
export class ContextDevice {
  /** The context's name: `mdp_vg1`, `rot_src`. */
  readonly name: string;
  /** Key of the IOMMU that it is a part of. */
  readonly provider: string;
  /** The bus master that is wired to it. */
  readonly master: Device;

  constructor(name: string, provider: string, master: Device) {
    this.name = name;
    this.provider = provider;
    this.master = master;
  }

  /** The endpoint of the master, as the core names it. */
  get endpoint(): string {
    return `${this.provider}:${this.name}`;
  }
}

/** The context `name` in front of a configured device; null when there is none. The first in the groups' order wins. */
export function findContext(iommu: Iommu, name: string): ContextDevice | null {
  for (const master of iommu.groups.flatMap((g) => g.devices)) {
    const found = master.endpoints.find((e) => e.context === name);
    if (found !== undefined) return new ContextDevice(name, found.provider, master);
  }
  return null;
}
