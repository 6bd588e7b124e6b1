/** The camera front end: writes one frame of the sensor for each START, line by line. */
import {
  BusMaster,
  type BusPort,
  encode,
  type InterruptLine,
  LabError,
  type RegisterFile,
  type World,
} from '@iommu-lab/machine';
import {
  VFE_FRAME_COUNT,
  VFE_IMAGE_BASE,
  VFE_IMAGE_STRIDE,
  VFE_REGISTERS,
  VFE_SENSOR_SIZE,
} from '../registers/vfe.ts';
import { type Job, JobEngine, type JobRun } from './job-engine.ts';
import { isAddressable, PIXEL_BYTES, pixelAddress } from './picture.ts';
import { inSequence } from './transfers.ts';

/** What the camera looks at. */
export interface Sensor {
  /** Pixels, 1..65535. */
  readonly width: number;
  /** Lines, 1..65535. */
  readonly height: number;
  /** Frame `index` (from 0): width * height * 4 bytes R,G,B,X, line after line. */
  frame(index: number): Uint8Array;
}

export interface VfeWiring {
  /** `vfe` unless given. */
  readonly name?: string;
  readonly port: BusPort;
  readonly streamIds: { readonly imageWrite: number };
  readonly line: InterruptLine;
  readonly sensor: Sensor;
}

const NS_PER_PIXEL = 4;

/**
 * Makes a camera front end. A line is written each `width * 4` ns. A failed write ends the frame.
 * @throws LabError EINVAL when the sensor's size does not fit its register; a clock task throws it when the sensor
 * gives a frame of another size.
 */
export function createVfe(world: World, wiring: VfeWiring): JobEngine {
  const { port, streamIds, line, sensor, name = 'vfe' } = wiring;
  const { width, height } = sensor;
  if (![width, height].every((n) => Number.isInteger(n) && n > 0 && n <= 0xffff)) {
    throw new LabError('EINVAL', `${name}: a sensor has 1..65535 pixels each way`, { width, height });
  }
  const master = new BusMaster(world, { name, streamId: streamIds.imageWrite, port });

  function prepare(file: RegisterFile, run: JobRun): Job | undefined {
    const image = { base: file.get(VFE_IMAGE_BASE), strideBytes: file.get(VFE_IMAGE_STRIDE), width, height };
    if (!isAddressable(image)) return undefined;
    const index = file.get(VFE_FRAME_COUNT);
    file.set(VFE_FRAME_COUNT, (index + 1) >>> 0);
    let frame: Uint8Array | undefined;
    let y = 0;
    return {
      stepNs: width * NS_PER_PIXEL,
      step(ended) {
        frame ??= checkedFrame(name, sensor, index);
        const lineBytes = width * PIXEL_BYTES;
        const pixels = frame.slice(y * lineBytes, (y + 1) * lineBytes);
        inSequence(
          run,
          1,
          () => master.write(pixelAddress(image, 0, y), pixels),
          (fault) => {
            if (fault !== undefined) ended({ cause: 'bus', address: fault });
            else ended(++y < height ? 'more' : 'done');
          },
        );
      },
    };
  }

  return new JobEngine(world, {
    name,
    line,
    registers: VFE_REGISTERS,
    prepare,
    onReset: (file) => file.set(VFE_SENSOR_SIZE, encode(VFE_SENSOR_SIZE, { WIDTH: width, HEIGHT: height })),
  });
}

function checkedFrame(name: string, sensor: Sensor, index: number): Uint8Array {
  const frame = sensor.frame(index);
  if (frame.length !== sensor.width * sensor.height * PIXEL_BYTES) {
    throw new LabError('EINVAL', `${name}: the sensor's frame ${index} has ${frame.length} bytes`, { index });
  }
  return frame;
}
