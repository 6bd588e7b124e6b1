/** Where the bytes of a process are in memory: its page table, walked page by page. */
import { assert, hex, LabError, type PhysAddr, type VirtAddr } from '@iommu-lab/machine';
import type { ShortDescriptorTable } from '@iommu-lab/page-table';
import { FRAME_BYTES } from './frame-allocator.ts';
import type { PhysicalPiece } from './physical-piece.ts';

/** Whether every page from `start` on is mapped. */
export function isMapped(table: ShortDescriptorTable, start: VirtAddr, sizeBytes: number): boolean {
  for (let done = 0; done < sizeBytes; done += FRAME_BYTES) {
    if (table.lookup(start + done) === undefined) return false;
  }
  return true;
}

/** The bytes of a range in order, one piece a page. @throws LabError EFAULT unless all of it is mapped */
export function piecesAt(
  table: ShortDescriptorTable,
  process: string,
  address: VirtAddr,
  sizeBytes: number,
): readonly PhysicalPiece[] {
  const pieces: PhysicalPiece[] = [];
  for (let done = 0; done < sizeBytes;) {
    const at = address + done;
    const length = Math.min(sizeBytes - done, FRAME_BYTES - (at % FRAME_BYTES));
    const translation = table.lookup(at);
    if (translation === undefined) {
      throw new LabError('EFAULT', `${process}: nothing is mapped at ${hex(at)}`, { address, sizeBytes });
    }
    pieces.push({ address: translation.address, length });
    done += length;
  }
  return pieces;
}

/** The frame behind a page that is mapped. */
export function frameAt(table: ShortDescriptorTable, page: VirtAddr): PhysAddr {
  const translation = table.lookup(page);
  assert(translation !== undefined, 'a mapped page has a frame');
  return translation.address;
}
