/** 2D engine (gfx2d): fills, copies and blends rectangles. */
import { bits, reg32, type Register } from '@iommu-lab/machine';
import { COMMON_REGISTERS, sizeRegister } from './common.ts';

/** Values of OPERATION.KIND; 0 and the others are configuration errors. */
export const GFX2D_OPERATIONS = { fill: 1, copy: 2, blend: 3 } as const;

/** What START does. */
export const GFX2D_OPERATION: Register<'KIND'> = reg32('OPERATION', 0x20, 'rw', 'what START does', {
  KIND: bits(1, 0, '1 fill, 2 copy, 3 blend'),
});
/** Size of the rectangle. */
export const GFX2D_SIZE: Register<'WIDTH' | 'HEIGHT'> = sizeRegister('SIZE', 0x24, 'rw', 'of the rectangle');
/** Address of the destination rectangle's first pixel; a multiple of 4. */
export const GFX2D_DESTINATION_BASE: Register = reg32('DESTINATION_BASE', 0x28, 'rw', 'first pixel');
/** Bytes from one destination line to the next; a multiple of 4, at least a line. */
export const GFX2D_DESTINATION_STRIDE: Register = reg32(
  'DESTINATION_STRIDE',
  0x2c,
  'rw',
  'bytes from line to line',
);
/** Address of the source rectangle's first pixel (copy, blend); a multiple of 4. */
export const GFX2D_SOURCE_BASE: Register = reg32('SOURCE_BASE', 0x30, 'rw', 'first pixel');
/** Bytes from one source line to the next; a multiple of 4, at least a line. */
export const GFX2D_SOURCE_STRIDE: Register = reg32('SOURCE_STRIDE', 0x34, 'rw', 'bytes from line to line');
/** Colour of a fill, as a pixel stands in memory. */
export const GFX2D_COLOUR: Register<'R' | 'G' | 'B' | 'X'> = reg32('COLOUR', 0x38, 'rw', 'of a fill', {
  R: bits(7, 0, 'red'),
  G: bits(15, 8, 'green'),
  B: bits(23, 16, 'blue'),
  X: bits(31, 24, 'fourth byte'),
});
/** Weight of the source in a blend: 0 leaves the destination, 255 is a copy. */
export const GFX2D_ALPHA: Register<'ALPHA'> = reg32('ALPHA', 0x3c, 'rw', 'weight of the source', {
  ALPHA: bits(7, 0, '0..255'),
});

export const GFX2D_REGISTERS: readonly Register[] = [
  ...COMMON_REGISTERS,
  GFX2D_OPERATION,
  GFX2D_SIZE,
  GFX2D_DESTINATION_BASE,
  GFX2D_DESTINATION_STRIDE,
  GFX2D_SOURCE_BASE,
  GFX2D_SOURCE_STRIDE,
  GFX2D_COLOUR,
  GFX2D_ALPHA,
];
