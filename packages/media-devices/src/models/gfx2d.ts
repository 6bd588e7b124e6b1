/** The 2D engine: fills, copies and blends rectangles, line by line. */
import {
  BusMaster,
  type BusPort,
  extract,
  type InterruptLine,
  type RegisterFile,
  type Transfer,
  type World,
} from '@iommu-lab/machine';
import {
  GFX2D_ALPHA,
  GFX2D_COLOUR,
  GFX2D_DESTINATION_BASE,
  GFX2D_DESTINATION_STRIDE,
  GFX2D_OPERATION,
  GFX2D_OPERATIONS,
  GFX2D_REGISTERS,
  GFX2D_SIZE,
  GFX2D_SOURCE_BASE,
  GFX2D_SOURCE_STRIDE,
} from '../registers/gfx2d.ts';
import { type Job, JobEngine, type JobRun } from './job-engine.ts';
import { isAddressable, PIXEL_BYTES, pixelAddress, readSize } from './picture.ts';
import { inSequence } from './transfers.ts';

export interface Gfx2dWiring {
  /** `gfx2d` unless given. */
  readonly name?: string;
  readonly port: BusPort;
  readonly streamIds: { readonly source: number; readonly destination: number };
  readonly line: InterruptLine;
}

const NS_PER_PIXEL = 2;

/**
 * Makes a 2D engine. A line takes `width * 2` ns; it is read whole before it is written. A copy or blend upwards in
 * memory goes from the last line to the first, so that overlapping rectangles of equal stride come out right. A failed
 * access ends the job; lines written before it stay.
 */
export function createGfx2d(world: World, wiring: Gfx2dWiring): JobEngine {
  const { port, streamIds, line, name = 'gfx2d' } = wiring;
  const reader = new BusMaster(world, { name: `${name} source`, streamId: streamIds.source, port });
  const writer = new BusMaster(world, { name: `${name} destination`, streamId: streamIds.destination, port });

  function prepare(file: RegisterFile, run: JobRun): Job | undefined {
    const kind = file.get(GFX2D_OPERATION) & 3;
    const size = readSize(file, GFX2D_SIZE);
    const { width, height } = size;
    const destination = {
      base: file.get(GFX2D_DESTINATION_BASE),
      strideBytes: file.get(GFX2D_DESTINATION_STRIDE),
      ...size,
    };
    const source = { base: file.get(GFX2D_SOURCE_BASE), strideBytes: file.get(GFX2D_SOURCE_STRIDE), ...size };
    const isFill = kind === GFX2D_OPERATIONS.fill;
    const isBlend = kind === GFX2D_OPERATIONS.blend;
    if (kind === 0 || !isAddressable(destination) || (!isFill && !isAddressable(source))) return undefined;

    const alpha = extract(file.get(GFX2D_ALPHA), GFX2D_ALPHA.fields.ALPHA);
    const filled = filledLine(file.get(GFX2D_COLOUR), width);
    const isUpwards = !isFill && destination.base > source.base;
    let index = 0;
    return {
      stepNs: width * NS_PER_PIXEL,
      step(ended) {
        const y = isUpwards ? height - 1 - index : index;
        const pixels = isFill ? filled : new Uint8Array(width * PIXEL_BYTES);
        const below = new Uint8Array(isBlend ? pixels.length : 0);
        const from = pixelAddress(source, 0, y);
        const to = pixelAddress(destination, 0, y);
        const accesses: (() => Transfer)[] = [];
        if (!isFill) accesses.push(() => reader.read(from, pixels));
        if (isBlend) accesses.push(() => writer.read(to, below));
        accesses.push(() => {
          if (isBlend) blend(pixels, below, alpha);
          return writer.write(to, pixels);
        });
        inSequence(
          run,
          accesses.length,
          (i) => (accesses[i] as () => Transfer)(),
          (fault) => {
            if (fault !== undefined) ended({ cause: 'bus', address: fault });
            else ended(++index < height ? 'more' : 'done');
          },
        );
      },
    };
  }

  return new JobEngine(world, { name, line, registers: GFX2D_REGISTERS, prepare });
}

function filledLine(colour: number, width: number): Uint8Array {
  const bytes = new Uint8Array(width * PIXEL_BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = colour >>> (8 * (i % PIXEL_BYTES));
  return bytes;
}

/** Each byte of `pixels` becomes (pixels * alpha + below * (255 - alpha)) / 255, rounded to the nearest. */
function blend(pixels: Uint8Array, below: Uint8Array, alpha: number): void {
  for (let i = 0; i < pixels.length; i++) {
    const sum = (pixels[i] as number) * alpha + (below[i] as number) * (255 - alpha);
    pixels[i] = Math.floor((sum + 127) / 255);
  }
}
