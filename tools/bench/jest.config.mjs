export { default } from '@iommu-lab/jest-preset';
