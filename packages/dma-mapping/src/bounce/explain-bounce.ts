/** Why a buffer was bounced, in words. */
import { hex, type PhysAddr } from '@iommu-lab/machine';
import type { DmaDirection } from '../dma-ops.ts';
import type { BounceRequest, BounceSlot } from './bounce-slot.ts';

/** A slot with what only its explanation needs. */
export interface ExplainedSlot extends BounceSlot {
  readonly direction: DmaDirection;
  readonly limit: number;
  readonly allocAlignMask: number;
}

/** What stands for the buffer of a request. Member by member: a spread of the request takes six times as long. */
export function slotFor(request: BounceRequest, address: PhysAddr): ExplainedSlot {
  return {
    address,
    original: request.original,
    sizeBytes: request.sizeBytes,
    reason: request.reason,
    site: request.site,
    deviceName: request.deviceName,
    direction: request.direction,
    limit: request.limit,
    allocAlignMask: request.allocAlignMask,
  };
}

/** Names the buffer, who mapped it, and what kept the device from it. */
export function explainBounce(slot: ExplainedSlot): string {
  const { address, original, sizeBytes, deviceName, site, direction } = slot;
  const buffer = `the buffer of ${sizeBytes} bytes at ${hex(original)}`;
  const mapped = `mapped ${direction} for ${deviceName} by "${site}"`;
  return `The slot at ${hex(address)} stands for ${buffer}, ${mapped}: ${reasonOf(slot)}.`;
}

function reasonOf({ reason, original, sizeBytes, deviceName, limit, allocAlignMask }: ExplainedSlot): string {
  switch (reason) {
    case 'out-of-reach': {
      if (limit < 0) return `${deviceName} reaches no memory at all`;
      const last = original + sizeBytes - 1;
      return last > limit
        ? `${deviceName} reaches up to ${hex(limit)}, and the buffer ends at ${hex(last)}`
        : `${deviceName} reaches up to ${hex(limit)}, but not all of the memory below it, and not this buffer`;
    }
    case 'forced':
      return `every mapping of ${deviceName} is bounced, also of what it reaches (up to ${hex(limit)})`;
    case 'untrusted-edge':
      return (
        `${deviceName} is not trusted and reaches whole granules of ${allocAlignMask + 1} bytes, ` +
        'and the rest of this granule belongs to others'
      );
  }
}
