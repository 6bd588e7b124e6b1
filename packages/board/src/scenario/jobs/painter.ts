/**
 * A process that draws on a canvas of its own, and what the canvas must look like. The pages are the process's own,
 * pinned, and mapped in a domain of its own.
 */
import type { Device } from '@iommu-lab/driver-core';
import { READ_ONLY, READ_WRITE, type IommuDomain } from '@iommu-lab/iommu-core';
import { FRAME_BYTES, type PhysicalPiece, Process } from '@iommu-lab/kernel-mm';
import { alignUp, offsetBy, type VirtAddr } from '@iommu-lab/machine';
import { BYTES_PER_PIXEL, type Picture } from '../../picture.ts';
import type { System } from '../../system.ts';
import type { JobContext } from './job.ts';

/** Every process sees its canvas and its brush at these IOVAs. */
export const CANVAS_IOVA = 0x10000000;
export const BRUSH_IOVA = 0x20000000;
/** Pixels each way. */
export const CANVAS_SIDE = 96;
export const BRUSH_SIDE = 16;

/** A process, what it draws with and on, and where the engine finds both. */
export interface Painter {
  readonly process: Process;
  readonly domain: IommuDomain;
  readonly canvas: PinnedImage;
  readonly brush: PinnedImage;
  /** What the canvas must look like. */
  readonly expected: Picture;
  readonly colour: readonly [number, number, number];
}

interface PinnedImage {
  readonly address: VirtAddr;
  readonly sizeBytes: number;
  readonly pieces: readonly PhysicalPiece[];
}

/** A process with a canvas and a brush, and its domain, which the engine is not on yet. @throws LabError ENOMEM */
export function createPainter(
  system: System,
  device: Device,
  name: string,
  index: number,
  atEnd: JobContext['atEnd'],
): Painter {
  const { world, frames, cache, tables, iommu } = system;
  const process = new Process(world, name, frames, cache.cached, tables, { uncached: cache.uncached });
  atEnd(() => process.exit());
  const canvas = pinImage(process, CANVAS_SIDE, atEnd);
  const brush = pinImage(process, BRUSH_SIDE, atEnd);
  const domain = iommu.allocPagingDomain(device, `process ${name}`);
  atEnd(() => {
    iommu.detach(domain, device);
    for (const { iova, sizeBytes } of domain.mappings()) domain.unmap(iova, sizeBytes, `${name}: exit`);
    domain.free();
  });
  domain.mapSg(CANVAS_IOVA, wholePages(canvas.pieces), READ_WRITE, `${name}: canvas`);
  domain.mapSg(BRUSH_IOVA, wholePages(brush.pieces), READ_ONLY, `${name}: brush`);
  const hue = (index * 360) / 8;
  return {
    process,
    domain,
    canvas,
    brush,
    expected: { width: CANVAS_SIDE, height: CANVAS_SIDE, pixels: new Uint8Array(canvas.sizeBytes) },
    colour: [channel(hue), channel(hue + 240), channel(hue + 120)],
  };
}

function pinImage(process: Process, side: number, atEnd: JobContext['atEnd']): PinnedImage {
  const sizeBytes = side * side * BYTES_PER_PIXEL;
  const address = process.mmap(sizeBytes);
  const pieces = process.pin(address, sizeBytes);
  atEnd(() => process.unpin(address, sizeBytes));
  return { address, sizeBytes, pieces };
}

/** Images start at a page and own all of their last one, so that whole pages can be mapped. */
function wholePages(pieces: readonly PhysicalPiece[]): readonly PhysicalPiece[] {
  return pieces.map(({ address, length }) => ({ address, length: alignUp(length, FRAME_BYTES) }));
}

/** The process fills its brush with the paint of that round. */
export function dipBrush({ process, brush, colour }: Painter, round: number): void {
  process.write(brush.address, brushPixels(colour, round));
}

/** The process itself draws too: a stroke for each turn along the lower edge, through the CPU's cache. */
export function countTurn({ process, canvas, expected }: Painter, round: number): void {
  const at = (CANVAS_SIDE * (CANVAS_SIDE - 1) + ((2 * round) % CANVAS_SIDE)) * BYTES_PER_PIXEL;
  const stroke = Uint8Array.of(255, 255, 255, 255);
  process.write(offsetBy(canvas.address, at), stroke);
  expected.pixels.set(stroke, at);
}

/** While the engine draws, the process goes on: its CPU may fill lines of the canvas again, unasked. */
export function workMeanwhile({ process, brush }: Painter): void {
  const line = new Uint8Array(BRUSH_SIDE * BYTES_PER_PIXEL);
  for (let y = 0; y < BRUSH_SIDE; y++) process.read(offsetBy(brush.address, y * line.length), line);
}

/** The colour gets lighter from round to round, so that a brush of an earlier turn would show. */
function brushPixels([r, g, b]: readonly [number, number, number], round: number): Uint8Array {
  const pixels = new Uint8Array(BRUSH_SIDE * BRUSH_SIDE * BYTES_PER_PIXEL);
  const lift = (value: number): number => Math.min(255, value + 12 * (round % 8));
  for (let i = 0; i < pixels.length; i += BYTES_PER_PIXEL) pixels.set([lift(r), lift(g), lift(b), 255], i);
  return pixels;
}

/** What the engine's copy of the brush to (`at`, `at`) does to a canvas. */
export function paintExpected({ expected, colour }: Painter, at: number, round: number): void {
  const brush = brushPixels(colour, round);
  const rowBytes = BRUSH_SIDE * BYTES_PER_PIXEL;
  for (let y = 0; y < BRUSH_SIDE; y++) {
    const row = brush.subarray(y * rowBytes, (y + 1) * rowBytes);
    expected.pixels.set(row, ((at + y) * CANVAS_SIDE + at) * BYTES_PER_PIXEL);
  }
}

/** What the process sees of its canvas. */
export function readCanvas({ process, canvas, expected }: Painter): Picture {
  const pixels = new Uint8Array(canvas.sizeBytes);
  process.read(canvas.address, pixels);
  return { width: expected.width, height: expected.height, pixels };
}

function channel(hue: number): number {
  return Math.round(90 + 80 * Math.cos((hue * Math.PI) / 180));
}
