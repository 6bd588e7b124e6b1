/**
 * A device tries an access next to or against its mapping. Whether it passes is the hardware's to say; the step says
 * which answer is right, and memory is looked at afterwards: a stopped access has changed nothing.
 */
import { getDmaOps, type DmaDirection } from '@iommu-lab/dma-mapping';
import { formatExplanation } from '@iommu-lab/iommu-core';
import { hex, LabError, type Transfer } from '@iommu-lab/machine';
import { allocatePages, type FrameMemory, freePages, readPages, writePages } from '../../frame-buffer.ts';
import type { TrespassStep } from '../schema.ts';
import { type Job, type JobContext, restart } from './job.ts';

const PAGE_BYTES = 4096;

const DIRECTIONS: Readonly<Record<TrespassStep['buffer']['rights'], DmaDirection>> = {
  read: 'to-device',
  write: 'from-device',
  'read-write': 'bidirectional',
};

const PLACES = { inside: 'inside', 'beyond-end': 'beyond the end of', 'before-start': 'before the start of' };

/** One access. @throws LabError EIO when the buffer is not one range for the device; ENOMEM, ETIMEDOUT */
export function* trespass({ system, atEnd }: JobContext, step: TrespassStep): Job {
  const { kernelMemory, world } = system;
  const device = system.bus.device(step.device);
  const dma = getDmaOps(device);
  const { pages, rights } = step.buffer;
  const direction = DIRECTIONS[rights];

  const entries = allocatePages(kernelMemory, pages * PAGE_BYTES);
  atEnd(() => freePages(kernelMemory, entries));
  writePages(kernelMemory, entries, pattern(pages * PAGE_BYTES, 0x5a));
  const segments = dma.mapSg(entries, direction, { site: `${step.device}: trespass buffer` });
  let transfer: Transfer | undefined;
  atEnd(() => {
    dma.unmapSg(segments, direction);
    if (transfer?.state === 'pending') restart(device);
  });
  const [segment] = segments;
  if (segment === undefined || segments.length > 1) {
    throw new LabError('EIO', `${step.device} has no IOMMU that gathers its buffer`, { device: step.device });
  }
  const address = targetOf(step, segment.address, segment.length);
  yield `${step.device} tries to ${step.attempt} at ${hex(address)}`;

  // Memory itself, not the CPU's view: a buffer given to the device for writing has no content the CPU may rely on.
  const inMemory: FrameMemory = { frames: system.frames, cpu: system.memory };
  const before = readPages(inMemory, entries);
  const faultsBefore = system.iommu.faultCount;
  const data = step.attempt === 'write' ? pattern(step.lengthBytes, 0xa5) : new Uint8Array(step.lengthBytes);
  const master = system.masterOf(step.device);
  transfer = step.attempt === 'write' ? master.write(address, data) : master.read(address, data);
  system.runUntil(() => transfer.state !== 'pending', `the access of ${step.device} does not end`);
  world.clock.run();
  const after = readPages(inMemory, entries);

  const stopped = transfer.state === 'faulted';
  const problems: string[] = [];
  if (stopped !== (step.expect === 'stopped')) {
    problems.push(
      `the access was ${stopped ? 'stopped' : 'let through'}; it should have been ${step.expect}`,
    );
  }
  // A transfer is stopped page by page: what it moved before the page that refuses was allowed.
  const { doneBytes } = transfer;
  const start = address - segment.address;
  const isMoved = (i: number): boolean => step.attempt === 'write' && i >= start && i < start + doneBytes;
  if (stopped && after.some((byte, i) => byte !== before[i] && !isMoved(i))) {
    problems.push('the stopped access changed the buffer');
  }
  if (stopped && step.attempt === 'read' && data.some((byte, i) => byte !== 0 && i >= doneBytes)) {
    problems.push('the stopped read got data');
  }
  const fault = system.faults.at(-1);
  const isExplained = system.iommu.faultCount > faultsBefore && fault !== undefined;
  if (stopped && !isExplained) problems.push('the access was stopped, but no fault was reported');
  return {
    title: `${step.device} tries to ${step.attempt} ${step.lengthBytes} bytes at ${hex(address)} (${describe(step)})`,
    results: [
      stopped ? stoppedText(doneBytes) : `done: ${doneBytes} bytes moved`,
      ...(isExplained ? [formatExplanation(system.iommu.why(fault))] : []),
    ],
    problems,
    artifacts: [],
  };
}

function targetOf(step: TrespassStep, start: number, sizeBytes: number): number {
  switch (step.at) {
    case 'inside':
      return start;
    case 'beyond-end':
      return start + sizeBytes;
    case 'before-start':
      return start - step.lengthBytes;
    default:
      return step.at;
  }
}

function stoppedText(doneBytes: number): string {
  return doneBytes === 0 ? 'stopped before the first byte' : `stopped after ${doneBytes} bytes`;
}

function describe(step: TrespassStep): string {
  const where = typeof step.at === 'number' ? 'a fixed IOVA, beside' : PLACES[step.at];
  return `${where} a buffer it may ${step.buffer.rights}`;
}

function pattern(sizeBytes: number, byte: number): Uint8Array {
  return new Uint8Array(sizeBytes).fill(byte);
}
