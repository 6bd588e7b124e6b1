/** Camera front end (vfe): writes what the sensor sees. */
import { reg32, type Register } from '@iommu-lab/machine';
import { COMMON_REGISTERS, sizeRegister } from './common.ts';

/** Address of the first pixel to write; a multiple of 4. */
export const VFE_IMAGE_BASE: Register = reg32('IMAGE_BASE', 0x20, 'rw', 'where the image goes');
/** Bytes from one line to the next; a multiple of 4, at least a line. */
export const VFE_IMAGE_STRIDE: Register = reg32('IMAGE_STRIDE', 0x24, 'rw', 'bytes from line to line');
/** The sensor's size. */
export const VFE_SENSOR_SIZE: Register<'WIDTH' | 'HEIGHT'> = sizeRegister(
  'SENSOR_SIZE',
  0x28,
  'ro',
  'size of the sensor',
);
/** Frames begun since reset; the sensor is asked for this index next. */
export const VFE_FRAME_COUNT: Register = reg32('FRAME_COUNT', 0x2c, 'ro', 'frames begun since reset');

export const VFE_REGISTERS: readonly Register[] = [
  ...COMMON_REGISTERS,
  VFE_IMAGE_BASE,
  VFE_IMAGE_STRIDE,
  VFE_SENSOR_SIZE,
  VFE_FRAME_COUNT,
];
