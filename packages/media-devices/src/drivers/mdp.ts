/** Driver of the display. */
import { type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import type { DmaOps } from '@iommu-lab/dma-mapping';
import { encode } from '@iommu-lab/machine';
import { MDP_SCAN_BASE, MDP_SCAN_SIZE, MDP_SCAN_STRIDE } from '../registers/mdp.ts';
import type { Engine } from './engine.ts';
import { checkFrame, type FrameBuffer, type JobResult } from './job.ts';
import { startMapped } from './mappings.ts';
import { mediaDriver } from './media-driver.ts';

export interface Display {
  /**
   * Scans `buffer` out once. `done` is called once, after the last line; not `ok` when lines were shown black.
   * @throws LabError EBUSY while a scan runs; ENODEV once the driver was removed; EINVAL on a buffer too small for its frame; EIO when it is scattered and
   * no IOMMU gathers it; what mapping throws. Nothing stays mapped then.
   */
  show(buffer: FrameBuffer, done: (result: JobResult) => void): void;
}

/** Where a bound display's object is. */
export const DISPLAY: Slot<Display> = slot('display');

/** Serves `qcom,mdp`. */
export const mdpDriver: Driver = mediaDriver({
  name: 'msm-mdp',
  compatible: 'qcom,mdp',
  slot: DISPLAY,
  create: createDisplay,
});

function createDisplay(engine: Engine, dma: DmaOps): Display {
  return {
    show(buffer, done) {
      engine.requireIdle();
      checkFrame(buffer, `${engine.name}: frame`);
      startMapped(
        engine,
        dma,
        (mappings) => {
          const base = mappings.mapRange(buffer.entries, 'to-device', `${engine.name}: frame`);
          return [
            [MDP_SCAN_BASE, base],
            [MDP_SCAN_STRIDE, buffer.strideBytes],
            [MDP_SCAN_SIZE, encode(MDP_SCAN_SIZE, { WIDTH: buffer.width, HEIGHT: buffer.height })],
          ];
        },
        done,
      );
    },
  };
}
