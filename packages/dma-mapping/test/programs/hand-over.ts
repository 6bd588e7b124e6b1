/** A driver's syncs, and who owns what after them. */
import type { Iova } from '@iommu-lab/machine';
import type { DmaOps } from '../../src/index.ts';
import type { Buffer } from './buffer.ts';

export type Owner = 'cpu' | 'device';

/** All of a buffer goes to the other side; what is mixed goes to the CPU. */
export function syncAll(dma: DmaOps, buffer: Buffer): void {
  const to = buffer.owned.includes(1) ? 'cpu' : 'device';
  if (buffer.isMixed()) syncRuns(dma, buffer, to);
  else {
    buffer.handle.sync(to);
    own(buffer, to, 0, buffer.size);
  }
}

/** Hands over what the other side owns. Where the CPU has stored, a sync of the whole for the CPU would lose it. */
export function syncRuns(dma: DmaOps, buffer: Buffer, to: Owner): void {
  for (let from = 0; from < buffer.size;) {
    const end = buffer.runEnd(from, buffer.size);
    if ((buffer.owned[from] === 1) === (to === 'cpu')) syncRange(dma, buffer, from, end, to);
    from = end;
  }
  own(buffer, to, 0, buffer.size);
}

/** What lies around `at` goes to the other side, as far as it has one owner. */
export function syncPart(dma: DmaOps, buffer: Buffer, at: number, length: number): void {
  const part = buffer.partAround(at, length);
  const end = buffer.runEnd(part.from, part.end - part.from);
  const to = buffer.owned[part.from] === 1 ? 'cpu' : 'device';
  syncRange(dma, buffer, part.from, end, to);
  own(buffer, to, part.from, end);
}

function own(buffer: Buffer, to: Owner, from: number, end: number): void {
  buffer.owned.fill(to === 'cpu' ? 0 : 1, from, end);
  if (to === 'device' && end - from === buffer.size) buffer.isStoredTo = false;
}

function syncRange(dma: DmaOps, buffer: Buffer, from: number, end: number, to: Owner): void {
  for (const { address, length } of buffer.parts(from, end)) {
    if (to === 'cpu') dma.syncSingleForCpu(address as Iova, length, buffer.direction);
    else dma.syncSingleForDevice(address as Iova, length, buffer.direction);
  }
}
