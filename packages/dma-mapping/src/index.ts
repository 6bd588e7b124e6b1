/** The DMA API, by device: direct or through the device's IOMMU. */
export * from './dma-layer.ts';
export * from './dma-ops.ts';
export * from './get-dma-ops.ts';
export * from './iova-allocator.ts';
export * from './ports.ts';
