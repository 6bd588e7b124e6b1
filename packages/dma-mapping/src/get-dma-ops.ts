/** How a driver finds its device's DMA operations, and how somebody else puts others there. */
import { type Device, slot, type Slot } from '@iommu-lab/driver-core';
import { LabError } from '@iommu-lab/machine';
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

/**
 * Replaces the device's operations (set_dma_ops), by some of one's own or a wrapper around those there are. Drivers that ask
 * from now on get the new ones.
 * @param make gets the present operations
 * @returns puts the present ones back, if the device still has the new ones; EBUSY as the call itself
 * @throws LabError ENODEV as `getDmaOps`; EBUSY while something is mapped or reserved, which the new ones would not know
 */
export function replaceDmaOps(device: Device, make: (present: DmaOps) => DmaOps): () => void {
  const present = getDmaOps(device);
  refuseBusy(device, present);
  const ops = make(present);
  device.set(DMA_OPS, ops);
  return () => {
    if (device.get(DMA_OPS) !== ops) return;
    refuseBusy(device, ops);
    device.set(DMA_OPS, present);
  };
}

function refuseBusy(device: Device, { mappedBytes, reservedBytes }: DmaOps): void {
  if (mappedBytes + reservedBytes === 0) return;
  throw new LabError('EBUSY', `${device.name}: ${mappedBytes} bytes are mapped, ${reservedBytes} reserved`, {
    device: device.name,
  });
}
