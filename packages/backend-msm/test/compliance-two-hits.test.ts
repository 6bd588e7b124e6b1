import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createMsmFixture, STOP_AT_FIRST } from './compliance-fixture.ts';

describeIommuBackend({
  name: 'msm with a spare bank, faults not held, two hits are a fault',
  create: () =>
    createMsmFixture({ stallFaults: false }, { contextBanks: 3, readings: { multiHit: 'fault' } }),
  random: { runs: 5 },
  stopAtFirst: STOP_AT_FIRST,
});
