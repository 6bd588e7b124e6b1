/** A device that writes into a packet it has given back: what an IOMMU is there to stop, and how soon it does. */
import type { Device } from '@iommu-lab/driver-core';
import type { PhysAddr } from '@iommu-lab/machine';
import type { System } from '../system.ts';
import type { NicModel } from './nic-model.ts';

/** What becomes of the packet: it is `overwritten`; or the write is `stopped`, or done `elsewhere`: the packet is as it was. */
export type LateWrite = 'overwritten' | 'stopped' | 'elsewhere';

/** At once after the unmap, and after what was deferred has been flushed. */
export interface LateWrites {
  readonly atOnce: LateWrite;
  readonly later: LateWrite;
}

/** Has `nic` write twice into the packet that has just been unmapped and lies at `buffer`. @throws LabError ETIMEDOUT */
export function tryLateWrites(system: System, device: Device, nic: NicModel, buffer: PhysAddr): LateWrites {
  const atOnce = writeLate(system, nic, buffer, 0xa5);
  system.dma.flush(device);
  return { atOnce, later: writeLate(system, nic, buffer, 0x5a) };
}

function writeLate(system: System, nic: NicModel, buffer: PhysAddr, byte: number): LateWrite {
  const transfer = nic.writeAgain(byte);
  system.runUntil(() => transfer?.state !== 'pending', 'a late write does not end');
  const memory = new Uint8Array(16);
  // Memory itself: what the CPU has read is in its cache, where a device that does not snoop changes nothing.
  system.memory.read(buffer, memory);
  if (memory.every((got) => got === byte)) return 'overwritten';
  return transfer?.state === 'faulted' ? 'stopped' : 'elsewhere';
}
