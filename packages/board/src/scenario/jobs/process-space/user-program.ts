/** A process with a picture and an empty buffer, as a program would have them: pages come when they are touched. */
import { Process } from '@iommu-lab/kernel-mm';
import { alignUp, type VirtAddr } from '@iommu-lab/machine';
import type { System } from '../../../system.ts';
import type { JobContext } from '../job.ts';
import { LINE_BYTES, type UserBuffer } from './user-engine.ts';

export const PAGE_BYTES = 4096;

/** How much memory a program has, and how much of it the job touches. */
export interface BufferSizes {
  /** Of each of the two buffers. */
  readonly pages: number;
  readonly usedPages: number;
}

/** Lines of a job that touches so many pages of each buffer. */
export function linesOf({ usedPages }: BufferSizes): number {
  return (usedPages * PAGE_BYTES) / LINE_BYTES;
}

/** Counts what the kernel copies for the process. */
class CountedProcess extends Process {
  copiedBytes = 0;

  override read(address: VirtAddr, into: Uint8Array): void {
    super.read(address, into);
    this.copiedBytes += into.length;
  }

  override write(address: VirtAddr, from: Uint8Array): void {
    super.write(address, from);
    this.copiedBytes += from.length;
  }
}

/** A program that has drawn its picture; the kernel has taken half of what the job needs of it back since. */
export class UserProgram {
  readonly process: Process;
  readonly source: UserBuffer;
  readonly destination: UserBuffer;
  /** What the destination must hold after the job. */
  readonly expected: Uint8Array;
  readonly #process: CountedProcess;

  /** It is given back by `atEnd`. @throws LabError ENOMEM */
  constructor(system: System, name: string, sizes: BufferSizes, atEnd: JobContext['atEnd']) {
    const { world, frames, cache, tables } = system;
    const process = new CountedProcess(world, name, frames, cache.cached, tables, {
      uncached: cache.uncached,
    });
    atEnd(() => process.exit());
    this.#process = process;
    this.process = process;
    const sizeBytes = sizes.pages * PAGE_BYTES;
    this.source = { address: process.mmap(sizeBytes, { lazy: true }), sizeBytes };
    this.destination = { address: process.mmap(sizeBytes, { lazy: true }), sizeBytes };
    const picture = Uint8Array.from({ length: sizeBytes }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    process.write(this.source.address, picture);
    this.expected = picture.map((byte, i) => (i < sizes.usedPages * PAGE_BYTES ? byte : 0));
  }

  /** Bytes that went between the process's memory and the kernel's. */
  get copiedBytes(): number {
    return this.#process.copiedBytes;
  }

  /** The kernel takes pages back, as it does when memory is short. @throws LabError ENOMEM, EBUSY */
  loseSourcePages(pages: number): void {
    if (pages > 0) this.process.evict(this.source.address, alignUp(pages * PAGE_BYTES, PAGE_BYTES));
  }

  /** What the process sees in its destination. @throws LabError ENOMEM */
  result(): Uint8Array {
    const bytes = new Uint8Array(this.destination.sizeBytes);
    this.process.read(this.destination.address, bytes);
    return bytes;
  }
}
