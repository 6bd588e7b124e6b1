import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createFlatFixture } from './fixture.ts';

describeIommuBackend({ name: 'flat', create: () => createFlatFixture() });
describeIommuBackend({ name: 'two flat IOMMUs', create: () => createFlatFixture(2), random: { runs: 20 } });
