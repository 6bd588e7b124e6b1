/** The rotator: turns a picture by quarter turns, tile by tile, so that reads and writes interleave. */
import {
  BusMaster,
  type BusPort,
  type InterruptLine,
  type RegisterFile,
  type World,
} from '@iommu-lab/machine';
import {
  ROT_ANGLE,
  ROT_DESTINATION_BASE,
  ROT_DESTINATION_STRIDE,
  ROT_REGISTERS,
  ROT_SOURCE_BASE,
  ROT_SOURCE_SIZE,
  ROT_SOURCE_STRIDE,
} from '../registers/rot.ts';
import { type Job, JobEngine, type JobRun } from './job-engine.ts';
import { isAddressable, PIXEL_BYTES, type Picture, pixelAddress, readSize } from './picture.ts';
import { inSequence } from './transfers.ts';

export interface RotWiring {
  /** `rot` unless given. */
  readonly name?: string;
  readonly port: BusPort;
  readonly streamIds: { readonly source: number; readonly destination: number };
  readonly line: InterruptLine;
}

/** Pixels along a tile's side; tiles at the right and lower edge are smaller. */
const TILE = 16;
const NS_PER_TILE = 400;

interface Tile {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Makes a rotator. A tile is moved each 400 ns. A failed access ends the job. */
export function createRot(world: World, wiring: RotWiring): JobEngine {
  const { port, streamIds, line, name = 'rot' } = wiring;
  const reader = new BusMaster(world, { name: `${name} source`, streamId: streamIds.source, port });
  const writer = new BusMaster(world, { name: `${name} destination`, streamId: streamIds.destination, port });

  function prepare(file: RegisterFile, run: JobRun): Job | undefined {
    const turns = file.get(ROT_ANGLE) & 3;
    const size = readSize(file, ROT_SOURCE_SIZE);
    const source: Picture = {
      base: file.get(ROT_SOURCE_BASE),
      strideBytes: file.get(ROT_SOURCE_STRIDE),
      ...size,
    };
    const destination: Picture = {
      base: file.get(ROT_DESTINATION_BASE),
      strideBytes: file.get(ROT_DESTINATION_STRIDE),
      width: turns % 2 === 0 ? size.width : size.height,
      height: turns % 2 === 0 ? size.height : size.width,
    };
    if (!isAddressable(source) || !isAddressable(destination)) return undefined;

    const columns = Math.ceil(size.width / TILE);
    const tileCount = columns * Math.ceil(size.height / TILE);
    let index = 0;
    return {
      stepNs: NS_PER_TILE,
      step(ended) {
        const from = tileAt(source, index % columns, Math.floor(index / columns));
        const to = turnedTile(source, from, turns);
        const pixels = new Uint32Array(from.width * from.height);
        const readLine = (y: number) =>
          reader.read(pixelAddress(source, from.x, from.y + y), lineOf(pixels, from, y));
        inSequence(run, from.height, readLine, (readFault) => {
          if (readFault !== undefined) return ended({ cause: 'bus', address: readFault });
          const turned = turn(pixels, from, turns);
          const writeLine = (y: number) =>
            writer.write(pixelAddress(destination, to.x, to.y + y), lineOf(turned, to, y));
          inSequence(run, to.height, writeLine, (writeFault) => {
            if (writeFault !== undefined) ended({ cause: 'bus', address: writeFault });
            else ended(++index < tileCount ? 'more' : 'done');
          });
        });
      },
    };
  }

  return new JobEngine(world, { name, line, registers: ROT_REGISTERS, prepare });
}

function tileAt(picture: Picture, column: number, row: number): Tile {
  const x = column * TILE;
  const y = row * TILE;
  return { x, y, width: Math.min(TILE, picture.width - x), height: Math.min(TILE, picture.height - y) };
}

/** Where a tile of `picture` lies after `turns` quarter turns clockwise. */
function turnedTile(picture: Picture, tile: Tile, turns: number): Tile {
  const right = picture.width - tile.x - tile.width;
  const below = picture.height - tile.y - tile.height;
  switch (turns) {
    case 1:
      return { x: below, y: tile.x, width: tile.height, height: tile.width };
    case 2:
      return { x: right, y: below, width: tile.width, height: tile.height };
    case 3:
      return { x: tile.y, y: right, width: tile.height, height: tile.width };
    default:
      return tile;
  }
}

/** The tile's pixels after `turns` quarter turns clockwise. */
function turn(pixels: Uint32Array, tile: Tile, turns: number): Uint32Array {
  const { width, height } = tile;
  const result = new Uint32Array(pixels.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let at = y * width + x;
      if (turns === 1) at = x * height + (height - 1 - y);
      else if (turns === 2) at = pixels.length - 1 - at;
      else if (turns === 3) at = (width - 1 - x) * height + y;
      result[at] = pixels[y * width + x] as number;
    }
  }
  return result;
}

function lineOf(pixels: Uint32Array, tile: Tile, y: number): Uint8Array {
  return new Uint8Array(pixels.buffer, y * tile.width * PIXEL_BYTES, tile.width * PIXEL_BYTES);
}
