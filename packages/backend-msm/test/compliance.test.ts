import { type ComplianceFixture, describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { alignUp } from '@iommu-lab/machine';
import type { MsmIommuConfig } from '../src/index.ts';
import { RAM_BASE, System } from './fixture.ts';

/** Behind the frames of page tables. */
const FREE_RAM = RAM_BASE + 0x1000000;

describeIommuBackend({ name: 'msm', create: () => fixture({}), random: { runs: 20 } });
describeIommuBackend({
  name: 'msm, coherent walks, faults not held',
  create: () => fixture({ coherentWalk: true, stallFaults: false }),
  random: { runs: 5 },
});

function fixture(config: MsmIommuConfig): ComplianceFixture {
  const system = new System({ config });
  const { src, dst } = system.devices;
  for (const device of [src, dst]) system.bus.unbind(device);
  // The empty table that blocked banks walk belongs to an instance, not to a domain.
  const ownedByInstances = system.tables.allocatedBytes;
  let free = FREE_RAM;
  return {
    world: system.world,
    iommu: system.iommu,
    devices: [src, dst],
    createMaster: (device, attributes) => system.master(system.rot, device === src ? 0 : 1, attributes),
    memory: system.memory,
    allocate: (sizeBytes, alignBytes) => {
      const address = alignUp(free, alignBytes);
      free = address + sizeBytes;
      return address;
    },
    allocatedTableBytes: () => system.tables.allocatedBytes - ownedByInstances,
    settle: () => system.world.clock.run(),
  };
}
