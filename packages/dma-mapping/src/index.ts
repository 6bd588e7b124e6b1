/** The DMA API, by device: direct, bounced, through the device's IOMMU, or a bus's own way. */
export * from './bounce/bounce-pool.ts';
export * from './bounce/bounce-slot.ts';
export * from './debug/dma-debug.ts';
export * from './dma-layer.ts';
export * from './dma-ops.ts';
export {
  DEFAULT_FLUSH_QUEUE,
  type FlushQueueOptions,
  type FlushReason,
  type FlushStatistics,
} from './paths/flush-queue.ts';
export * from './get-dma-ops.ts';
export * from './iova/iova-allocator.ts';
export type { IovaReservations, DmaPath, MappedPiece, PathMapping, PathRequest } from './paths/path.ts';
export * from './pool/dma-pool.ts';
export * from './ports.ts';
