/**
 * A driver with buffers of its own in the kernel, which the user never sees: the kernel copies in before the job and out
 * after it (copy_from_user, copy_to_user). Nothing of the process is pinned.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type DmaDirection, type DmaSegment, getDmaOps, type SgEntry } from '@iommu-lab/dma-mapping';
import type { Process } from '@iommu-lab/kernel-mm';
import { isLabError, LabError } from '@iommu-lab/machine';
import { GFX2D, type JobResult } from '@iommu-lab/media-devices/drivers';
import { allocatePages, type FrameMemory, freePages, readPages, writePages } from '../../../frame-buffer.ts';
import { copyJob, LINE_BYTES, type UserEngine } from './user-engine.ts';

/** Never fails; `copy`: LabError EFAULT on the user's memory, ENOMEM, as mapping, EIO as `openInBusSpace` */
export function openWithCopies(memory: FrameMemory, device: Device, process: Process): UserEngine {
  const dma = getDmaOps(device);

  function allocate(sizeBytes: number, undo: (() => void)[]): readonly SgEntry[] {
    const pages = allocatePages(memory, sizeBytes);
    undo.push(() => freePages(memory, pages));
    return pages;
  }

  function map(
    pages: readonly SgEntry[],
    direction: DmaDirection,
    site: string,
    undo: (() => void)[],
  ): DmaSegment {
    const segments = dma.mapSg(pages, direction, { site });
    undo.push(() => dma.unmapSg(segments, direction, { site }));
    const [segment] = segments;
    if (segment !== undefined && segments.length === 1) return segment;
    throw new LabError('EIO', `${device.name} takes one range, and its bus space cannot gather ${site}`);
  }

  return {
    copy(from, to, lines, done) {
      const sizeBytes = lines * LINE_BYTES;
      const undo: (() => void)[] = [];
      const giveBack = (): void => {
        for (const step of undo.splice(0).reverse()) step();
      };
      try {
        const bytes = new Uint8Array(sizeBytes);
        const source = allocate(sizeBytes, undo);
        const destination = allocate(sizeBytes, undo);
        process.read(from.address, bytes);
        writePages(memory, source, bytes);
        const read = map(source, 'to-device', `${process.name}: source`, undo);
        const written = map(destination, 'from-device', `${process.name}: destination`, undo);
        device.require(GFX2D).run(copyJob(read.address, written.address, lines), (result) => {
          dma.syncSgForCpu([written], 'from-device');
          const made = readPages(memory, destination);
          giveBack();
          done(result.ok ? copyOut(process, to.address, made) : result);
        });
      } catch (error) {
        giveBack();
        throw error;
      }
    },
    close: () => undefined,
  };
}

/** The process may have unmapped its buffer meanwhile, or there is no memory for it. */
function copyOut(process: Process, address: Parameters<Process['write']>[0], bytes: Uint8Array): JobResult {
  try {
    process.write(address, bytes);
    return { ok: true };
  } catch (error) {
    if (!isLabError(error)) throw error;
    return { ok: false, address, message: error.message };
  }
}
