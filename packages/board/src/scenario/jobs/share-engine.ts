/**
 * Processes take turns on one engine. Each has a domain of its own, in which its canvas and its brush stand at the same
 * IOVAs as everybody else's; between turns the page table of the one IOMMU is switched, with the engine's context live.
 *
 * The domain's owner is this job, not the DMA layer, so the cache maintenance around each turn is its work.
 */
import type { Device } from '@iommu-lab/driver-core';
import { GFX2D, type JobResult } from '@iommu-lab/media-devices/drivers';
import { BYTES_PER_PIXEL, differingPixels } from '../../picture.ts';
import type { System } from '../../system.ts';
import type { ShareEngineStep } from '../schema.ts';
import { finish, type Job, type JobContext } from './job.ts';
import {
  BRUSH_IOVA,
  BRUSH_SIDE,
  CANVAS_IOVA,
  CANVAS_SIDE,
  countTurn,
  createPainter,
  dipBrush,
  type Painter,
  paintExpected,
  readCanvas,
  workMeanwhile,
} from './painter.ts';

/** From one turn to the next, right and down, in pixels. */
const BRUSH_STEP = 26;

/** `step.rounds` turns of each process. @throws LabError ENOMEM, ETIMEDOUT */
export function* shareEngine({ system, atEnd }: JobContext, step: ShareEngineStep): Job {
  const device = system.bus.device(step.engine);
  const problems: string[] = [];
  const painters = step.processes.map((name, index) => createPainter(system, device, name, index, atEnd));

  for (let round = 0; round < step.rounds; round++) {
    for (const painter of painters) {
      yield `round ${round + 1} of ${step.rounds}: ${painter.process.name}`;
      const who = `round ${round}, ${painter.process.name}`;
      const result = takeTurn(system, device, painter, round);
      if (!result.ok) problems.push(`${who}: ${result.message}`);
      const wrong = differingPixels(readCanvas(painter), painter.expected);
      if (wrong > 0) problems.push(`${who} sees ${wrong} wrong pixels`);
    }
  }

  const turns = step.rounds * painters.length;
  return {
    title: `${step.processes.join(' and ')} share ${step.engine}, ${step.rounds} turn(s) each`,
    results: [
      `${turns} turns, the page table switched before each`,
      ...(problems.length === 0 ? ["every canvas holds its own process's paint"] : []),
    ],
    problems,
    artifacts: painters.map((painter) => ({
      name: `canvas-${painter.process.name}.png`,
      kind: 'picture',
      picture: readCanvas(painter),
    })),
  };
}

/** Before its turn a process draws on its canvas itself; the engine then copies its brush to where the round says. */
function takeTurn(system: System, device: Device, painter: Painter, round: number): JobResult {
  system.iommu.replace(painter.domain, device);
  const engine = device.require(GFX2D);
  const at = (round * BRUSH_STEP) % (CANVAS_SIDE - BRUSH_SIDE);
  dipBrush(painter, round);
  countTurn(painter, round);
  giveToDevice(system, painter);
  const what = `the turn of ${painter.process.name}`;
  const result = finish(system, device, what, (done: (result: JobResult) => void) => {
    engine.run(
      {
        kind: 'copy',
        source: { address: BRUSH_IOVA, strideBytes: BRUSH_SIDE * BYTES_PER_PIXEL },
        destination: {
          address: CANVAS_IOVA + (at * CANVAS_SIDE + at) * BYTES_PER_PIXEL,
          strideBytes: CANVAS_SIDE * BYTES_PER_PIXEL,
        },
        width: BRUSH_SIDE,
        height: BRUSH_SIDE,
      },
      done,
    );
    workMeanwhile(painter);
  });
  takeFromDevice(system, painter);
  paintExpected(painter, at, round);
  return result;
}

function giveToDevice({ cache }: System, { canvas, brush }: Painter): void {
  for (const piece of brush.pieces) cache.clean(piece.address, piece.length);
  for (const piece of canvas.pieces) cache.cleanInvalidate(piece.address, piece.length);
}

/** Lines may have been filled again while the engine drew. */
function takeFromDevice({ cache }: System, { canvas }: Painter): void {
  for (const piece of canvas.pieces) cache.invalidate(piece.address, piece.length);
}
