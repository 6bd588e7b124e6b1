/** Display (mdp): scans a frame out to a panel. */
import { reg32, type Register } from '@iommu-lab/machine';
import { COMMON_REGISTERS, sizeRegister } from './common.ts';

/** Address of the first pixel; a multiple of 4. */
export const MDP_SCAN_BASE: Register = reg32('SCAN_BASE', 0x20, 'rw', 'frame to show');
/** Bytes from one line to the next; a multiple of 4, at least a line. */
export const MDP_SCAN_STRIDE: Register = reg32('SCAN_STRIDE', 0x24, 'rw', 'bytes from line to line');
/** The frame's size. */
export const MDP_SCAN_SIZE: Register<'WIDTH' | 'HEIGHT'> = sizeRegister(
  'SCAN_SIZE',
  0x28,
  'rw',
  'size of the frame',
);
/** Lines of the last scan that could not be read and were shown black. */
export const MDP_UNDERRUN_LINES: Register = reg32('UNDERRUN_LINES', 0x2c, 'ro', 'lines shown black');

export const MDP_REGISTERS: readonly Register[] = [
  ...COMMON_REGISTERS,
  MDP_SCAN_BASE,
  MDP_SCAN_STRIDE,
  MDP_SCAN_SIZE,
  MDP_UNDERRUN_LINES,
];
