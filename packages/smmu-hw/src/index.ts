/** The MSM System MMU as hardware: registers in, translated transactions out. The register rows are in `./regs`. */
export { resolveConfig, type MsmSmmuConfig, type ResolvedConfig } from './config.ts';
export type { InterruptInput } from './fault-lines.ts';
export type { FetchBufferSnapshot } from './fetch-buffer.ts';
export type { GlobalPageSnapshot } from './global-page.ts';
export type { MemoryTypeName, ShareabilityName, TlbEntryView } from './inspection.ts';
export type { Leaf } from './leaf.ts';
export { OPEN_POINTS, resolveReadings, type OpenPoint, type ReadingName, type Readings } from './readings.ts';
export { MsmSmmu, type MsmSmmuWiring } from './smmu.ts';
export type { SmmuShape, SmmuSnapshot } from './snapshot.ts';
export type { Answer, ParkedAccess, StallSnapshot } from './stall.ts';
export type { SmmuCounters, SmmuStatistics } from './statistics.ts';
export type { TlbSnapshot } from './tlb.ts';
export type { Translated } from './translated.ts';
