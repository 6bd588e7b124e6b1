import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createMsmFixture, STOP_AT_FIRST } from './compliance-fixture.ts';

describeIommuBackend({
  name: 'msm',
  create: () => createMsmFixture(),
  random: { runs: 20 },
  stopAtFirst: STOP_AT_FIRST,
});
