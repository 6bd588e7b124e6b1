/**
 * What must happen when memory goes while a device that works in a process uses it. The device is caught in the middle of a
 * page, whose translation its TLB holds: what saves the memory's next owner is that the TLB is told.
 */
import type { Device } from '@iommu-lab/driver-core';
import { assert, type PhysAddr } from '@iommu-lab/machine';
import type { JobResult } from '@iommu-lab/media-devices/drivers';
import type { System } from '../../../system.ts';
import { type JobContext, restart } from '../job.ts';
import { openInProcessSpace } from './process-space-driver.ts';
import { type BufferSizes, linesOf, PAGE_BYTES, UserProgram } from './user-program.ts';
import type { UserBuffer } from './user-engine.ts';

export interface Ending {
  readonly result: string;
  /** What is wrong. */
  readonly problems: readonly string[];
}

/** Lines that are copied before the memory goes: a page and a half. */
const LINES_BEFORE = 24;
/** What the memory's next owner writes there. */
const NEXT_OWNER = new Uint8Array(PAGE_BYTES).fill(0xc5);

/** The process unmaps the destination in the middle of a job. @throws LabError ENOMEM, ETIMEDOUT */
export function unmapWhileRunning(
  system: System,
  device: Device,
  sizes: BufferSizes,
  atEnd: JobContext['atEnd'],
): Ending {
  const what = 'the destination is unmapped while the device runs';
  return interrupted(system, device, sizes, atEnd, what, ({ process, destination }) => {
    const frames = framesOf(process, [destination]);
    process.munmap(destination.address, destination.sizeBytes);
    // Its source is still there: the line that it cannot write any more may be read.
    return { frames, mayStillTranslate: 1 };
  });
}

/** The process ends in the middle of a job. @throws LabError ENOMEM, ETIMEDOUT */
export function exitWhileRunning(
  system: System,
  device: Device,
  sizes: BufferSizes,
  atEnd: JobContext['atEnd'],
): Ending {
  const what = 'the process exits while the device runs';
  return interrupted(system, device, sizes, atEnd, what, ({ process, source, destination }) => {
    const frames = framesOf(process, [source, destination]);
    process.exit();
    return { frames, mayStillTranslate: 0 };
  });
}

/** What goes: the frames that had been the process's, and the accesses that may still pass. */
interface Gone {
  readonly frames: readonly PhysAddr[];
  readonly mayStillTranslate: number;
}

function interrupted(
  system: System,
  device: Device,
  sizes: BufferSizes,
  atEnd: JobContext['atEnd'],
  what: string,
  takeAway: (program: UserProgram) => Gone,
): Ending {
  const { cache, iommu } = system;
  const [endpoint] = device.endpoints;
  assert(endpoint !== undefined, 'the engine sits behind an IOMMU');
  const { statistics } = system.smmu(endpoint.provider);
  const program = new UserProgram(system, 'user', sizes, atEnd);
  const engine = openInProcessSpace(iommu, device, program.process);
  const results: JobResult[] = [];
  atEnd(() => {
    if (results.length === 0) restart(device);
    engine.close();
  });
  engine.copy(program.source, program.destination, linesOf(sizes), (result) => results.push(result));
  const goal = statistics.translations + 2 * LINES_BEFORE;
  system.runUntil(() => statistics.translations >= goal, `${what}: it does not get so far`);
  assert(results.length === 0, 'the job is longer than what is run of it');

  const { frames, mayStillTranslate } = takeAway(program);
  for (const frame of frames) cache.cached.write(frame, NEXT_OWNER);
  const before = statistics.translations;
  system.runUntil(() => results.length > 0, `${what}: the job does not end`);
  system.world.clock.run();

  const passed = statistics.translations - before;
  const problems: string[] = [];
  if (results[0]?.ok === true) problems.push(`${what}: its job ended as if nothing had happened`);
  if (passed > mayStillTranslate) problems.push(`${what}: ${passed} accesses of it still passed`);
  const changed = frames.filter((frame) => !isUntouched(system, frame)).length;
  if (changed > 0) problems.push(`${what}: it wrote into ${changed} page(s) of the next owner`);
  const { hasExited } = program.process;
  const kind = iommu.domainOf(device, endpoint.context)?.kind;
  if (hasExited && kind !== 'blocked') problems.push(`${what}: it is on a ${kind} domain, not blocked`);
  engine.close();
  program.process.exit();
  const lines = [
    `${what}: the job fails`,
    `  accesses translated after that: ${passed} (allowed: ${mayStillTranslate})`,
    `  ${frames.length} freed page(s) are as their next owner left them`,
  ];
  return { result: lines.join('\n'), problems };
}

function framesOf(process: UserProgram['process'], buffers: readonly UserBuffer[]): readonly PhysAddr[] {
  const frames: PhysAddr[] = [];
  for (const { address, sizeBytes } of buffers) {
    for (let page: number = address; page < address + sizeBytes; page += PAGE_BYTES) {
      const frame = process.lookup(page);
      if (frame !== undefined) frames.push(frame);
    }
  }
  return frames;
}

function isUntouched({ cache }: System, frame: PhysAddr): boolean {
  const bytes = new Uint8Array(PAGE_BYTES);
  cache.snooped.read(frame, bytes);
  return bytes.every((byte, i) => byte === NEXT_OWNER[i]);
}
