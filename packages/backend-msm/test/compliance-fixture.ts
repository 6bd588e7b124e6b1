/** The system around the driver as the compliance kit takes it, with processes of the kernel's. */
import type { ComplianceFixture, ComplianceProcess } from '@iommu-lab/iommu-compliance';
import { KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import { alignUp, physAddr, virtAddr } from '@iommu-lab/machine';
import type { MsmIommuConfig } from '../src/index.ts';
import { RAM_BASE, System, type SystemOptions } from './fixture.ts';

/** Mutation tests ask only whether a mutant is noticed. */
export const STOP_AT_FIRST: boolean = process.env['COMPLIANCE_STOP_AT_FIRST'] === '1';

/** Behind the frames of page tables. */
const FREE_RAM = RAM_BASE + 0x1000000;

/** The rotator's two devices, each behind a context of its own. */
export function createMsmFixture(
  config: MsmIommuConfig = {},
  hardware: SystemOptions = {},
): ComplianceFixture {
  const system = new System({ ...hardware, config });
  const { world, iommu, frames, cache, tables } = system;
  const { src, dst } = system.devices;
  for (const device of [src, dst]) system.bus.unbind(device);
  const coherent = config.coherentWalk === true;
  const processTables = new KernelTableMemory(world, frames, cache.cached, cache, { coherent });
  // The empty table that blocked banks walk belongs to an instance, and the devices behind the other one are not judged.
  const others = tables.allocatedBytes - tableBytesOf(system);
  let free = FREE_RAM;
  return {
    world,
    iommu,
    devices: [src, dst],
    createMaster: (device, attributes) => system.master(system.rot, device === src ? 0 : 1, attributes),
    memory: system.memory,
    allocate: (sizeBytes, alignBytes) => {
      const address = alignUp(free, alignBytes);
      free = address + sizeBytes;
      return address;
    },
    allocatedTableBytes: () => tables.allocatedBytes - others,
    createProcess: (name): ComplianceProcess =>
      new Process(world, name, frames, cache.cached, processTables, {
        kernelMap: {
          virtual: virtAddr(0x80000000),
          physical: physAddr(RAM_BASE),
          sizeBytes: 0x100000,
        },
      }),
    settle: () => world.clock.run(),
  };
}

/** Tables of what the two devices are on by themselves. */
function tableBytesOf({ iommu, devices }: System): number {
  const domains = [devices.src, devices.dst].map((device) => iommu.defaultDomainOf(device));
  return domains.reduce((sum, domain) => sum + (domain?.tableBytes ?? 0), 0);
}
