/**
 * A driver whose buffers stand in two spaces: in the user's, where the process has mapped them, and in the bus's, where the
 * DMA API maps them for the device. It holds every page in place from the start of a job to its end.
 */
import type { Device } from '@iommu-lab/driver-core';
import { type DmaDirection, type DmaSegment, getDmaOps } from '@iommu-lab/dma-mapping';
import type { Process } from '@iommu-lab/kernel-mm';
import { LabError } from '@iommu-lab/machine';
import { GFX2D } from '@iommu-lab/media-devices/drivers';
import { copyJob, type UserBuffer, type UserEngine } from './user-engine.ts';

/** Never fails; `copy`: LabError as `Process.pin`, as mapping, and EIO when the bus space cannot gather a buffer */
export function openInBusSpace(device: Device, process: Process): UserEngine {
  const dma = getDmaOps(device);

  function map(buffer: UserBuffer, direction: DmaDirection, site: string, undo: (() => void)[]): number {
    const { address, sizeBytes } = buffer;
    const pages = process.pin(address, sizeBytes);
    undo.push(() => process.unpin(address, sizeBytes));
    const segments: readonly DmaSegment[] = dma.mapSg(pages, direction, { site });
    undo.push(() => dma.unmapSg(segments, direction, { site }));
    const [segment] = segments;
    if (segment !== undefined && segments.length === 1) return segment.address;
    throw new LabError('EIO', `${device.name} takes one range, and its bus space cannot gather ${site}`);
  }

  return {
    copy(from, to, lines, done) {
      const undo: (() => void)[] = [];
      const giveBack = (): void => {
        for (const step of undo.splice(0).reverse()) step();
      };
      try {
        const source = map(from, 'to-device', `${process.name}: source`, undo);
        // Both ways: lines the job does not reach keep what the process wrote there.
        const destination = map(to, 'bidirectional', `${process.name}: destination`, undo);
        device.require(GFX2D).run(copyJob(source, destination, lines), (result) => {
          giveBack();
          done(result);
        });
      } catch (error) {
        giveBack();
        throw error;
      }
    },
    close: () => undefined,
  };
}
