/** Registers of another device (its FIFO), given to this one and taken back. */
import { offsetBy } from '@iommu-lab/machine';
import type { DmaSegment } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { mustEqual } from '../support/must-equal.ts';
import { REGISTERS, type TestSystem } from '../support/system.ts';
import { pattern, type Step } from './steps.ts';
import type { Way } from './ways.ts';

/** @returns where they were mapped */
export function useRegisters(
  { dma, memory, deviceRead, deviceWrite }: TestSystem,
  way: Way,
  step: Extract<Step, { readonly kind: 'resource' }>,
): readonly DmaSegment[] {
  const { direction, value } = step;
  const length = Math.min(step.length, 96);
  const registers = offsetBy(REGISTERS, step.at % 4000);
  if (way.forceBounce === true || way.isUntrusted === true) {
    // No part of a granule for a device that is not trusted, and registers are never bounced.
    mustEqual(
      codeOf(() => dma.mapResource(registers, length, direction)),
      'EIO',
    );
    return [];
  }
  const address = dma.mapResource(registers, length, direction);
  const bytes = pattern(length, value);
  if (direction === 'to-device') memory.write(registers, bytes);
  else {
    mustEqual(deviceWrite(address, bytes), 'done');
    const there = new Uint8Array(length);
    memory.read(registers, there);
    mustEqual(there, bytes);
  }
  if (direction !== 'from-device') mustEqual(deviceRead(address, length), bytes);
  dma.unmapResource(address, length, direction);
  return [{ address, length }];
}
