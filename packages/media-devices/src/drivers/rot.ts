/** Driver of the rotator. */
import { type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import type { DmaOps } from '@iommu-lab/dma-mapping';
import { encode, LabError } from '@iommu-lab/machine';
import {
  ROT_ANGLE,
  ROT_DESTINATION_BASE,
  ROT_DESTINATION_STRIDE,
  ROT_SOURCE_BASE,
  ROT_SOURCE_SIZE,
  ROT_SOURCE_STRIDE,
} from '../registers/rot.ts';
import type { Engine } from './engine.ts';
import { checkFrame, type FrameBuffer, type JobResult } from './job.ts';
import { startMapped } from './mappings.ts';
import { mediaDriver } from './media-driver.ts';

/** How far to turn, in degrees clockwise. */
export type RotationDegrees = 0 | 90 | 180 | 270;

export interface Rotator {
  /**
   * Writes `source`, turned, into `destination`. `done` is called once, when both belong to the CPU again.
   * @throws LabError EBUSY while a job runs; ENODEV once the driver was removed; EINVAL on a destination of the wrong size or a buffer too small; EIO when
   * a buffer is scattered and no IOMMU gathers it; what mapping throws. Nothing stays mapped then.
   */
  rotate(
    source: FrameBuffer,
    destination: FrameBuffer,
    degrees: RotationDegrees,
    done: (result: JobResult) => void,
  ): void;
}

/** Where a bound rotator's object is. */
export const ROTATOR: Slot<Rotator> = slot('rotator');

/** Serves `qcom,rot`. */
export const rotDriver: Driver = mediaDriver({
  name: 'msm-rot',
  compatible: 'qcom,rot',
  slot: ROTATOR,
  create: createRotator,
});

function createRotator(engine: Engine, dma: DmaOps): Rotator {
  return {
    rotate(source, destination, degrees, done) {
      engine.requireIdle();
      const turns = checkRotation(engine.name, source, destination, degrees);
      startMapped(
        engine,
        dma,
        (mappings) => {
          const from = mappings.mapRange(source.entries, 'to-device', `${engine.name}: source`);
          const to = mappings.mapRange(destination.entries, 'from-device', `${engine.name}: destination`);
          return [
            [ROT_SOURCE_BASE, from],
            [ROT_SOURCE_STRIDE, source.strideBytes],
            [ROT_SOURCE_SIZE, encode(ROT_SOURCE_SIZE, { WIDTH: source.width, HEIGHT: source.height })],
            [ROT_DESTINATION_BASE, to],
            [ROT_DESTINATION_STRIDE, destination.strideBytes],
            [ROT_ANGLE, encode(ROT_ANGLE, { QUARTER_TURNS: turns })],
          ];
        },
        done,
      );
    },
  };
}

/** @returns quarter turns */
function checkRotation(name: string, source: FrameBuffer, destination: FrameBuffer, degrees: number): number {
  checkFrame(source, `${name}: source`);
  checkFrame(destination, `${name}: destination`);
  const turns = degrees / 90;
  if (![0, 1, 2, 3].includes(turns)) throw new LabError('EINVAL', `${name}: quarter turns only`, { degrees });
  const [width, height] = turns % 2 === 0 ? [source.width, source.height] : [source.height, source.width];
  if (destination.width !== width || destination.height !== height) {
    throw new LabError('EINVAL', `${name}: the destination must be ${width}x${height}`, {
      width: destination.width,
      height: destination.height,
    });
  }
  return turns;
}
