/** What a device's DMA engine and the bus above it can do with addresses. */

/** What a device asks of its buffers (struct device_dma_parameters, include/linux/device.h). */
export interface DmaParameters {
  /** Most bytes of one segment of a scatter list; 65536 unless a driver says otherwise. */
  readonly maxSegmentBytes: number;
  /** No segment crosses a multiple of this mask plus one; 4 GiB - 1 unless a driver says otherwise. */
  readonly segmentBoundaryMask: number;
  /** Address bits that a bounce buffer must have in common with the buffer it stands for; 0 unless a driver says otherwise. */
  readonly minAlignMask: number;
}

/** The kernel's defaults (dma_get_max_seg_size, dma_get_seg_boundary, dma_get_min_align_mask). */
export const DEFAULT_DMA_PARAMETERS: DmaParameters = {
  maxSegmentBytes: 65536,
  segmentBoundaryMask: 0xffffffff,
  minAlignMask: 0,
};

/** A window through which a bus reaches the CPU's addresses (`dma-ranges` of a device tree). */
export interface DmaRange {
  /** First address of the window on the bus. */
  readonly busStart: number;
  /** Where that is for the CPU. */
  readonly cpuStart: number;
  readonly sizeBytes: number;
}
