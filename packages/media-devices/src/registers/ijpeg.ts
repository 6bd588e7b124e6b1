/** JPEG engine (ijpeg): reads a frame, writes a JPEG stream. Both buffers are given as scatter lists in memory. */
import { bits, reg32, type Register } from '@iommu-lab/machine';
import { COMMON_REGISTERS, sizeRegister } from './common.ts';

/** Bytes of one entry of a scatter list: the address, then the length in bytes, 32 bits each, little-endian. */
export const SCATTER_ENTRY_BYTES = 8;

/** Address of the source's scatter list, fetched through the source stream; a multiple of 4. */
export const IJPEG_SOURCE_LIST: Register = reg32('SOURCE_LIST', 0x20, 'rw', 'address of the list');
/** Entries in it. */
export const IJPEG_SOURCE_COUNT: Register<'COUNT'> = reg32('SOURCE_COUNT', 0x24, 'rw', 'entries', {
  COUNT: bits(15, 0, '1..65535'),
});
/** Bytes from one source line to the next, counted through the list; a multiple of 4, at least a line. */
export const IJPEG_SOURCE_STRIDE: Register = reg32('SOURCE_STRIDE', 0x28, 'rw', 'bytes from line to line');
/** The frame's size. */
export const IJPEG_SOURCE_SIZE: Register<'WIDTH' | 'HEIGHT'> = sizeRegister(
  'SOURCE_SIZE',
  0x2c,
  'rw',
  'size of the frame',
);
/** Address of the destination's scatter list, fetched through the destination stream; a multiple of 4. */
export const IJPEG_DESTINATION_LIST: Register = reg32('DESTINATION_LIST', 0x30, 'rw', 'address of the list');
/** Entries in it. */
export const IJPEG_DESTINATION_COUNT: Register<'COUNT'> = reg32('DESTINATION_COUNT', 0x34, 'rw', 'entries', {
  COUNT: bits(15, 0, '1..65535'),
});
/** Bytes the stream may take; no more than the list holds. */
export const IJPEG_CAPACITY: Register = reg32('CAPACITY', 0x38, 'rw', 'bytes the stream may take');
/** Quality as libjpeg counts it. */
export const IJPEG_QUALITY: Register<'QUALITY'> = reg32('QUALITY', 0x3c, 'rw', 'quality', {
  QUALITY: bits(6, 0, '1..100'),
});
/** Bytes of the stream; 0 until DONE. */
export const IJPEG_LENGTH: Register = reg32('LENGTH', 0x40, 'ro', 'bytes written');

export const IJPEG_REGISTERS: readonly Register[] = [
  ...COMMON_REGISTERS,
  IJPEG_SOURCE_LIST,
  IJPEG_SOURCE_COUNT,
  IJPEG_SOURCE_STRIDE,
  IJPEG_SOURCE_SIZE,
  IJPEG_DESTINATION_LIST,
  IJPEG_DESTINATION_COUNT,
  IJPEG_CAPACITY,
  IJPEG_QUALITY,
  IJPEG_LENGTH,
];
