/**
 * Camera -> rotator -> display, each behind an IOMMU of its own. One set of scattered pages is mapped through two of
 * them at a time, and each device sees one contiguous range.
 *
 * The CPU takes part, as it does in a phone: the kernel zeroes the buffers (and leaves dirty lines in its cache), and
 * the camera application looks at each captured frame. So a cache maintenance step left out spoils a picture.
 */
import { CAMERA, DISPLAY, type FrameBuffer, type JobResult, ROTATOR } from '@iommu-lab/media-devices/drivers';
import { allocateFrameBuffer, freePages, readPicture } from '../../frame-buffer.ts';
import { differingPixels, type Picture, rotate } from '../../picture.ts';
import type { PipelineStep } from '../schema.ts';
import { type Artifact, finish, type Job, type JobContext } from './job.ts';

/** `context.frames` pictures, one after the other. @throws LabError ENOMEM, ETIMEDOUT */
export function* pipeline(context: JobContext, step: PipelineStep): Job {
  const { system, stage, frames } = context;
  const { bus, kernelMemory } = system;
  const { scene } = stage;
  const camera = bus.device(step.camera).require(CAMERA);
  const rotator = bus.device(step.rotator).require(ROTATOR);
  const display = bus.device(step.display).require(DISPLAY);
  const expected = rotate(scene, step.degrees);
  const artifacts: Artifact[] = [];
  const problems: string[] = [];
  const compare = (what: string, seen: Picture, wanted: Picture): void => {
    const count = differingPixels(seen, wanted);
    if (count > 0) problems.push(`${what} differs in ${count} of ${wanted.width * wanted.height} pixels`);
  };

  stage.takeShown(); // what a step that failed has left there
  for (let index = 0; index < frames; index++) {
    yield `frame ${index + 1} of ${frames}`;
    const work = (name: string, start: (done: (result: JobResult) => void) => void): void => {
      const result = finish(system, bus.device(name), `frame ${index}: ${name}`, start);
      if (!result.ok) problems.push(`frame ${index}: ${name}: ${result.message}`);
    };
    const buffers: FrameBuffer[] = [];
    try {
      const captured = allocateFrameBuffer(kernelMemory, scene.width, scene.height);
      buffers.push(captured);
      const turned = allocateFrameBuffer(kernelMemory, expected.width, expected.height);
      buffers.push(turned);
      work(step.camera, (done) => camera.capture(captured, done));
      compare(`frame ${index}: what the CPU sees of the capture`, readPicture(kernelMemory, captured), scene);
      work(step.rotator, (done) => rotator.rotate(captured, turned, step.degrees, done));
      work(step.display, (done) => display.show(turned, done));
    } finally {
      for (const buffer of buffers) freePages(kernelMemory, buffer.entries);
    }
    for (const shown of stage.takeShown()) {
      artifacts.push({
        name: `frame-${String(context.countFrame()).padStart(4, '0')}.png`,
        kind: 'picture',
        picture: shown,
      });
      compare(`frame ${index}: what ${step.display} showed`, shown, expected);
    }
  }
  if (artifacts.length !== frames)
    problems.push(`${step.display} showed ${artifacts.length} of ${frames} frames`);
  return {
    title: `${step.camera} -> ${step.rotator} (${step.degrees} degrees) -> ${step.display}, ${frames} frame(s)`,
    results: [`${artifacts.length} frame(s) of ${expected.width}x${expected.height} shown`],
    problems,
    artifacts,
  };
}
