import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createMsmFixture, STOP_AT_FIRST } from './compliance-fixture.ts';

describeIommuBackend({
  name: 'msm with a spare bank, a paging domain by default',
  create: () => createMsmFixture({}, { contextBanks: 3, defaultDomain: 'dma' }),
  random: { runs: 10 },
  stopAtFirst: STOP_AT_FIRST,
});
