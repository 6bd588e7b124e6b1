/** The contract of the IOMMU API as a program. */
export type { Aspect, Check } from './check.ts';
export { COMPLIANCE_CHECKS } from './checks.ts';
export { ComplianceFailure } from './demand.ts';
export * from './describe-differences.ts';
export * from './describe-iommu-backend.ts';
export * from './fixture.ts';
export * from './run-checks.ts';
