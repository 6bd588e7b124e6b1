/** Memory management of the kernel: page frames, memory for tables, processes. */
export type { KernelMap, ProcessOptions } from './address-space.ts';
export type { MmapFramesOptions, MmapOptions } from './areas.ts';
export * from './frame-allocator.ts';
export * from './kernel-table-memory.ts';
export type { AccessDirection } from './page-faults.ts';
export type { PhysicalPiece } from './physical-piece.ts';
export * from './process.ts';
