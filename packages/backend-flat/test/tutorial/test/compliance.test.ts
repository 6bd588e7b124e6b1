import { describeIommuBackend } from '@iommu-lab/iommu-compliance';
import { createTinyFixture } from './fixture.ts';

describeIommuBackend({ name: 'tiny', create: () => createTinyFixture() });
