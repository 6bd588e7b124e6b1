/** Frame buffers in the kernel's memory: pages as the allocator gives them, scattered, seen as one run of pixels. */
import { assert, type MemoryPort } from '@iommu-lab/machine';
import { FRAME_BYTES, type FrameAllocator } from '@iommu-lab/kernel-mm';
import type { FrameBuffer } from '@iommu-lab/media-devices/drivers';
import { BYTES_PER_PIXEL, type Picture } from './picture.ts';

/** What frame buffers are made of: page frames and the CPU's view of them. */
export interface FrameMemory {
  readonly frames: FrameAllocator;
  /** The CPU's view through its cache. */
  readonly cpu: MemoryPort;
}

/** A frame buffer of `width` x `height` pixels, zeroed by the CPU. @throws LabError ENOMEM, with nothing kept */
export function allocateFrameBuffer(memory: FrameMemory, width: number, height: number): FrameBuffer {
  const strideBytes = width * BYTES_PER_PIXEL;
  const entries = allocatePages(memory, strideBytes * height);
  return { width, height, strideBytes, entries };
}

/** Page frames for `sizeBytes`, zeroed by the CPU; the last entry ends with them. @throws LabError ENOMEM */
export function allocatePages(memory: FrameMemory, sizeBytes: number): FrameBuffer['entries'] {
  const entries: FrameBuffer['entries'][number][] = [];
  const zeros = new Uint8Array(FRAME_BYTES);
  try {
    for (let done = 0; done < sizeBytes; done += FRAME_BYTES) {
      const address = memory.frames.allocate();
      entries.push({ address, length: Math.min(FRAME_BYTES, sizeBytes - done) });
      assert(memory.cpu.write(address, zeros), 'a page frame is memory');
    }
  } catch (error) {
    freePages(memory, entries);
    throw error;
  }
  return entries;
}

/** Gives the page frames back. */
export function freePages(memory: FrameMemory, entries: FrameBuffer['entries']): void {
  for (const entry of entries) memory.frames.free(entry.address);
}

/** What the CPU reads in the pieces, one behind the other. */
export function readPages(memory: FrameMemory, entries: FrameBuffer['entries']): Uint8Array {
  const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + entry.length, 0));
  let done = 0;
  for (const { address, length } of entries) {
    assert(memory.cpu.read(address, bytes.subarray(done, done + length)), 'a page frame is memory');
    done += length;
  }
  return bytes;
}

/** The CPU writes `bytes` into the pieces, one behind the other. */
export function writePages(memory: FrameMemory, entries: FrameBuffer['entries'], bytes: Uint8Array): void {
  let done = 0;
  for (const { address, length } of entries) {
    if (done >= bytes.length) return;
    assert(memory.cpu.write(address, bytes.subarray(done, done + length)), 'a page frame is memory');
    done += length;
  }
}

/** The picture the CPU sees in the buffer. */
export function readPicture(memory: FrameMemory, buffer: FrameBuffer): Picture {
  return { width: buffer.width, height: buffer.height, pixels: readPages(memory, buffer.entries) };
}
