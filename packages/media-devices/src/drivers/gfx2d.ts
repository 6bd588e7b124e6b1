/**
 * Driver of the 2D engine. Its clients share the engine through domains of their own: they attach a domain, map what
 * they use in it, and hand over addresses of that domain. So the driver maps nothing.
 */
import { type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import { encode, LabError } from '@iommu-lab/machine';
import {
  GFX2D_ALPHA,
  GFX2D_COLOUR,
  GFX2D_DESTINATION_BASE,
  GFX2D_DESTINATION_STRIDE,
  GFX2D_OPERATION,
  GFX2D_OPERATIONS,
  GFX2D_SIZE,
  GFX2D_SOURCE_BASE,
  GFX2D_SOURCE_STRIDE,
} from '../registers/gfx2d.ts';
import type { Engine } from './engine.ts';
import { checkShape, frameBytes, type JobResult } from './job.ts';
import { unmappedMediaDriver } from './media-driver.ts';

/** Where a rectangle's first pixel is, as the device addresses it. */
export interface Gfx2dSurface {
  /** A multiple of 4 below 4 GiB. */
  readonly address: number;
  /** From one line to the next; a multiple of 4, at least a line. */
  readonly strideBytes: number;
}

interface Rectangle {
  readonly destination: Gfx2dSurface;
  /** Pixels, 1..65535. */
  readonly width: number;
  /** Lines, 1..65535. */
  readonly height: number;
}

/** Sets every pixel to `colour`: [R, G, B, X], each 0..255. */
export interface FillJob extends Rectangle {
  readonly kind: 'fill';
  readonly colour: readonly [number, number, number, number];
}

/** Copies a rectangle of the same size; the two may overlap when their strides are equal. */
export interface CopyJob extends Rectangle {
  readonly kind: 'copy';
  readonly source: Gfx2dSurface;
}

/** Mixes a rectangle over the destination; `alpha` 0..255 is the source's weight. */
export interface BlendJob extends Rectangle {
  readonly kind: 'blend';
  readonly source: Gfx2dSurface;
  readonly alpha: number;
}

export type Gfx2dJob = FillJob | CopyJob | BlendJob;

export interface Gfx2d {
  /**
   * Runs a job on addresses that the caller has mapped. `done` is called once.
   * @throws LabError EBUSY while a job runs; ENODEV once the driver was removed; EINVAL on a rectangle, colour or alpha out of range
   */
  run(job: Gfx2dJob, done: (result: JobResult) => void): void;
}

/** Where a bound 2D engine's object is. */
export const GFX2D: Slot<Gfx2d> = slot('2D engine');

/** Serves `qcom,gfx2d`. */
export const gfx2dDriver: Driver = unmappedMediaDriver({
  name: 'msm-gfx2d',
  compatible: 'qcom,gfx2d',
  slot: GFX2D,
  create: createGfx2d,
});

function createGfx2d(engine: Engine): Gfx2d {
  return {
    run(job, done) {
      engine.requireIdle();
      const { width, height, destination } = job;
      checkSurface(destination, job, `${engine.name}: destination`);
      const program: (readonly [Parameters<Engine['write']>[0], number])[] = [
        [GFX2D_OPERATION, encode(GFX2D_OPERATION, { KIND: GFX2D_OPERATIONS[job.kind] })],
        [GFX2D_SIZE, encode(GFX2D_SIZE, { WIDTH: width, HEIGHT: height })],
        [GFX2D_DESTINATION_BASE, destination.address],
        [GFX2D_DESTINATION_STRIDE, destination.strideBytes],
      ];
      if (job.kind === 'fill') {
        const [R, G, B, X] = job.colour.map((value) => checkByte(value, `${engine.name}: colour`));
        program.push([GFX2D_COLOUR, encode(GFX2D_COLOUR, { R: R ?? 0, G: G ?? 0, B: B ?? 0, X: X ?? 0 })]);
      } else {
        checkSurface(job.source, job, `${engine.name}: source`);
        program.push([GFX2D_SOURCE_BASE, job.source.address], [GFX2D_SOURCE_STRIDE, job.source.strideBytes]);
      }
      if (job.kind === 'blend') {
        const ALPHA = checkByte(job.alpha, `${engine.name}: alpha`);
        program.push([GFX2D_ALPHA, encode(GFX2D_ALPHA, { ALPHA })]);
      }
      engine.start(program, done);
    },
  };
}

function checkSurface(surface: Gfx2dSurface, size: Rectangle, what: string): void {
  const shape = { width: size.width, height: size.height, strideBytes: surface.strideBytes };
  checkShape(shape, what);
  const { address } = surface;
  if (!Number.isSafeInteger(address) || address < 0 || address % 4 !== 0) {
    throw new LabError('EINVAL', `${what}: not an address of a pixel`, { address });
  }
  if (address + frameBytes(shape) > 0x1_0000_0000) {
    throw new LabError('EINVAL', `${what}: reaches beyond 4 GiB`, { address });
  }
}

function checkByte(value: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 255) {
    throw new LabError('EINVAL', `${what}: 0..255 only`, { value });
  }
  return value;
}
