/** Driver of the camera front end. */
import { type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import type { DmaOps } from '@iommu-lab/dma-mapping';
import { decode, LabError } from '@iommu-lab/machine';
import { VFE_IMAGE_BASE, VFE_IMAGE_STRIDE, VFE_SENSOR_SIZE } from '../registers/vfe.ts';
import type { Engine } from './engine.ts';
import { checkFrame, type FrameBuffer, type JobResult } from './job.ts';
import { startMapped } from './mappings.ts';
import { mediaDriver } from './media-driver.ts';

export interface Camera {
  /** The sensor's size in pixels; a frame buffer must have it. */
  readonly width: number;
  readonly height: number;
  /**
   * Writes the next frame into `buffer`. `done` is called once, when the buffer belongs to the CPU again.
   * @throws LabError EBUSY while a job runs; ENODEV once the driver was removed; EINVAL on a frame of another size or a buffer too small for it; EIO when
   * the buffer is scattered and no IOMMU gathers it; what mapping throws. Nothing stays mapped then.
   */
  capture(buffer: FrameBuffer, done: (result: JobResult) => void): void;
}

/** Where a bound camera's object is. */
export const CAMERA: Slot<Camera> = slot('camera');

/** Serves `qcom,vfe`. */
export const vfeDriver: Driver = mediaDriver({
  name: 'msm-vfe',
  compatible: 'qcom,vfe',
  slot: CAMERA,
  create: createCamera,
});

function createCamera(engine: Engine, dma: DmaOps): Camera {
  const { WIDTH: width, HEIGHT: height } = decode(VFE_SENSOR_SIZE, engine.read(VFE_SENSOR_SIZE));
  return {
    width,
    height,
    capture(buffer, done) {
      engine.requireIdle();
      checkFrame(buffer, `${engine.name}: frame`);
      if (buffer.width !== width || buffer.height !== height) {
        throw new LabError('EINVAL', `${engine.name}: the sensor gives ${width}x${height}`, {
          width,
          height,
        });
      }
      startMapped(
        engine,
        dma,
        (mappings) => {
          const base = mappings.mapRange(buffer.entries, 'from-device', `${engine.name}: frame`);
          return [
            [VFE_IMAGE_BASE, base],
            [VFE_IMAGE_STRIDE, buffer.strideBytes],
          ];
        },
        done,
      );
    },
  };
}
