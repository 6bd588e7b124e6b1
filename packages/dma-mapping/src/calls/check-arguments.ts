/** What a driver may hand to the DMA calls. Each check throws before anything has changed. */
import type { Device, DmaParameters } from '@iommu-lab/driver-core';
import { hex, isPowerOfTwo, LabError } from '@iommu-lab/machine';
import type { DmaDirection, SgEntry } from '../dma-ops.ts';

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

/** @throws LabError EINVAL unless one of the three directions (the kernel's BUG on DMA_NONE) */
export function checkDirection(device: Device, direction: DmaDirection): void {
  if (direction === 'to-device' || direction === 'from-device' || direction === 'bidirectional') return;
  throw new LabError('EINVAL', `${device.name}: "${String(direction)}" is no direction of DMA`, {
    device: device.name,
    direction,
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

/** @throws LabError EINVAL unless a segment holds at least a byte and the masks are 2^n - 1 */
export function checkParameters(device: Device, parameters: DmaParameters): void {
  const { maxSegmentBytes, segmentBoundaryMask, minAlignMask } = parameters;
  const isSize = Number.isSafeInteger(maxSegmentBytes) && maxSegmentBytes > 0;
  const isMask = (mask: number): boolean => Number.isSafeInteger(mask) && mask >= 0 && isPowerOfTwo(mask + 1);
  if (isSize && isMask(segmentBoundaryMask) && isMask(minAlignMask)) return;
  throw new LabError('EINVAL', `${device.name}: no parameters of a DMA engine`, { ...parameters });
}
