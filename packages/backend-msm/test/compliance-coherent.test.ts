import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createMsmFixture, STOP_AT_FIRST } from './compliance-fixture.ts';

describeIommuBackend({
  name: 'msm, coherent walks, faults not held',
  create: () => createMsmFixture({ coherentWalk: true, stallFaults: false }),
  random: { runs: 5 },
  stopAtFirst: STOP_AT_FIRST,
});
