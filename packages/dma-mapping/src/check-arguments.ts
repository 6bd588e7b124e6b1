/** What a driver may hand to the DMA calls. Each check throws before anything has changed. */
import type { Device } from '@iommu-lab/driver-core';
import { hex, isPowerOfTwo, LabError } from '@iommu-lab/machine';
import type { SgEntry } from './dma-ops.ts';

/** @throws LabError EINVAL on a piece that is empty or leaves the numbers that addresses are made of */
export function checkPiece(device: Device, { address, length }: SgEntry): void {
  checkSize(device, length);
  if (Number.isSafeInteger(address) && address >= 0 && Number.isSafeInteger(address + length)) return;
  throw new LabError('EINVAL', `${device.name}: ${address} is no physical address`, {
    device: device.name,
    address,
    length,
  });
}

/** @throws LabError EINVAL unless a positive number of bytes */
export function checkSize(device: Device, sizeBytes: number): void {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0) return;
  throw new LabError('EINVAL', `${device.name}: ${sizeBytes} is no size of a buffer`, {
    device: device.name,
    sizeBytes,
  });
}

/** @throws LabError EINVAL unless a mask is 2^n - 1, EIO below `smallestMask` */
export function checkMask(device: Device, mask: number, smallestMask: number): void {
  if (!Number.isSafeInteger(mask) || !isPowerOfTwo(mask + 1)) {
    throw new LabError('EINVAL', `${device.name}: a mask is 2^n - 1`, { mask });
  }
  if (mask >= smallestMask) return;
  throw new LabError('EIO', `${device.name} reaches no memory with mask ${hex(mask)}`, {
    device: device.name,
    mask,
    smallestMask,
  });
}
