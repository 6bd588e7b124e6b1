/** The ways to bind a domain to an IOMMU, as thin front ends over one core. */
export * from './all-styles.ts';
export * from './attach-binding.ts';
export * from './binding-style.ts';
export * from './bus-binding.ts';
export * from './device-binding.ts';
export * from './late-binding.ts';
export * from './named-binding.ts';
