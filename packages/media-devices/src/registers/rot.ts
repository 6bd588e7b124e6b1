/** Rotator (rot): turns a picture by quarter turns, from one buffer into another. */
import { bits, reg32, type Register } from '@iommu-lab/machine';
import { COMMON_REGISTERS, sizeRegister } from './common.ts';

/** Address of the source's first pixel; a multiple of 4. */
export const ROT_SOURCE_BASE: Register = reg32('SOURCE_BASE', 0x20, 'rw', 'source picture');
/** Bytes from one source line to the next; a multiple of 4, at least a line. */
export const ROT_SOURCE_STRIDE: Register = reg32('SOURCE_STRIDE', 0x24, 'rw', 'bytes from line to line');
/** The source's size; the destination's is the same, or the two swapped after an odd number of quarter turns. */
export const ROT_SOURCE_SIZE: Register<'WIDTH' | 'HEIGHT'> = sizeRegister(
  'SOURCE_SIZE',
  0x28,
  'rw',
  'size of the source',
);
/** Address of the destination's first pixel; a multiple of 4. */
export const ROT_DESTINATION_BASE: Register = reg32('DESTINATION_BASE', 0x2c, 'rw', 'destination picture');
/** Bytes from one destination line to the next; a multiple of 4, at least a line. */
export const ROT_DESTINATION_STRIDE: Register = reg32(
  'DESTINATION_STRIDE',
  0x30,
  'rw',
  'bytes from line to line',
);
/** How far to turn. */
export const ROT_ANGLE: Register<'QUARTER_TURNS'> = reg32('ANGLE', 0x34, 'rw', 'how far to turn', {
  QUARTER_TURNS: bits(1, 0, 'clockwise, 90 degrees each'),
});

export const ROT_REGISTERS: readonly Register[] = [
  ...COMMON_REGISTERS,
  ROT_SOURCE_BASE,
  ROT_SOURCE_STRIDE,
  ROT_SOURCE_SIZE,
  ROT_DESTINATION_BASE,
  ROT_DESTINATION_STRIDE,
  ROT_ANGLE,
];
