/** Memory management of the kernel: page frames, memory for tables, processes. */
export * from './frame-allocator.ts';
export * from './kernel-table-memory.ts';
export type { PhysicalPiece } from './physical-piece.ts';
export * from './process.ts';
