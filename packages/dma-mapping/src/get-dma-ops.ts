/** How a driver finds its device's DMA operations. */
import { type Device, slot, type Slot } from '@iommu-lab/driver-core';
import type { DmaOps } from './dma-ops.ts';

/** Where the DMA layer leaves a device's operations while the device is configured. */
export const DMA_OPS: Slot<DmaOps> = slot<DmaOps>('DMA operations');

/**
 * The device's DMA operations (the kernel's get_dma_ops, include/linux/dma-map-ops.h).
 * @throws LabError ENODEV when the device has none: it is not on a bus with a DMA layer, or no driver is being bound to it.
 */
export function getDmaOps(device: Device): DmaOps {
  return device.require(DMA_OPS);
}
