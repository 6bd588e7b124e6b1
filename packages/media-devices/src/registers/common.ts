/**
 * Registers that every media device has, at the same offsets. The layout is this project's own: the blocks carry the
 * names of the MSM8x60's, not their register maps.
 */
import { bit, bits, reg32, type Register } from '@iommu-lab/machine';

/** Bytes of a media device's register window. */
export const MEDIA_WINDOW_BYTES = 0x1000;

/** Trigger. START while a job runs is ignored; RESET abandons the job and puts every register back. */
export const COMMAND: Register<'START' | 'RESET'> = reg32('COMMAND', 0x00, 'wo', 'starts a job or resets', {
  START: bit(0, 'begin a job with the registers as they are now'),
  RESET: bit(1, 'abandon the job, reset all registers; an access that is stalled cannot be called back'),
});

/** What has happened since the bits were last cleared. The interrupt line is high while STATUS & ENABLE is not 0. */
export const STATUS: Register<'DONE' | 'ERROR' | 'CONFIG' | 'OVERFLOW'> = reg32(
  'STATUS',
  0x04,
  'w1c',
  'what has happened; a written 1 clears the bit',
  {
    DONE: bit(0, 'the job has ended, everything is in memory'),
    ERROR: bit(1, 'an access failed (FAULT_ADDRESS), or see CONFIG, OVERFLOW'),
    CONFIG: bit(2, 'with ERROR: the registers made no sense, nothing was accessed'),
    OVERFLOW: bit(3, 'with ERROR: the result does not fit the destination'),
  },
);

/** Which STATUS bits drive the interrupt line; the bits stand where they do there. */
export const ENABLE: Register<'DONE' | 'ERROR'> = reg32('ENABLE', 0x08, 'rw', 'interrupt enable', {
  DONE: bit(0, 'interrupt on DONE'),
  ERROR: bit(1, 'interrupt on ERROR'),
});

/** First address whose access failed in this job, as the device drove it; 0 at START. */
export const FAULT_ADDRESS: Register = reg32('FAULT_ADDRESS', 0x0c, 'ro', 'first address that failed');

/** Whether a job runs (or waits for a stalled access). */
export const BUSY: Register<'RUNNING'> = reg32('BUSY', 0x10, 'ro', 'job state', {
  RUNNING: bit(0, 'a job runs'),
});

/** The rows above; each device's list begins with them. */
export const COMMON_REGISTERS: readonly Register[] = [COMMAND, STATUS, ENABLE, FAULT_ADDRESS, BUSY];

/** The row of a width and a height in pixels. */
export function sizeRegister(
  name: string,
  offset: number,
  access: 'rw' | 'ro',
  doc: string,
): Register<'WIDTH' | 'HEIGHT'> {
  return reg32(name, offset, access, doc, {
    WIDTH: bits(15, 0, 'pixels in a line'),
    HEIGHT: bits(31, 16, 'lines'),
  });
}
