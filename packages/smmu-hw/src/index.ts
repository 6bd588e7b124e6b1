/** The MSM System MMU as hardware: registers in, translated transactions out. The register rows are in `./regs`. */
export { resolveConfig, type MsmSmmuConfig, type ResolvedConfig } from './config.ts';
export type { TlbEntryView } from './inspection.ts';
export { MsmSmmu, type MsmSmmuWiring } from './smmu.ts';
export type { SmmuStatistics } from './statistics.ts';
