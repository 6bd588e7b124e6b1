import { expect, test } from '@jest/globals';
import { failSites } from '@iommu-lab/iommu-compliance';
import { createMsmFixture } from './compliance-fixture.ts';

test('every step of this driver that can fail is made to fail by the kit', () => {
  const plain = failSites({ name: 'msm', create: () => createMsmFixture() });
  const spare = failSites({
    name: 'msm, spare bank',
    create: () => createMsmFixture({}, { contextBanks: 3, defaultDomain: 'dma' }),
  });
  expect([...new Set([...plain, ...spare])].sort()).toEqual([
    'backend-msm.asid',
    'iommu-core.attach',
    'iommu-core.domain',
    'iommu-core.group',
    'iommu-core.journal',
    'iommu-core.map',
    'iommu-core.space-map',
    'kernel-mm.contiguous',
    'kernel-mm.fault-in',
    'kernel-mm.frame',
    'kernel-mm.table',
    'msm-bus.clock-enable',
    'page-table.table',
  ]);
});
