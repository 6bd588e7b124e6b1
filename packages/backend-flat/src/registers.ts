/** The register file of the flat IOMMU as rows: the programmer's view, shared by the hardware model and the driver. */
import { bit, bits, reg32, type Register } from '@iommu-lab/machine';

/** Bytes of the register window. */
export const WINDOW_BYTES = 0x1000;
/** Most streams one IOMMU can have. */
export const MAX_STREAMS = 64;

/** How many streams there are. The reset value stands for the largest; each IOMMU shows its own number. */
export const STREAMS: Register = reg32('STREAMS', 0x00, 'ro', 'number of streams', {}, MAX_STREAMS);

export const CONTROL: Register<'ENABLE'> = reg32('CONTROL', 0x04, 'rw', 'switches the IOMMU on', {
  ENABLE: bit(0, 'translate; 0: every access is refused and nothing is recorded'),
});

export const INVALIDATE_PAGE: Register = reg32(
  'INVALIDATE_PAGE',
  0x08,
  'wo',
  'an IOVA: drops the cached entries of its page, of all streams',
);

export const INVALIDATE_ALL: Register = reg32('INVALIDATE_ALL', 0x0c, 'wo', 'drops every cached entry');

export const FAULT_STATUS: Register<'VALID' | 'WRITE' | 'CAUSE' | 'MULTIPLE' | 'STREAM'> = reg32(
  'FAULT_STATUS',
  0x10,
  'w1c',
  'the first fault; writing VALID as 1 clears all of it and lowers the interrupt',
  {
    VALID: bit(0, 'a fault is recorded'),
    WRITE: bit(1, 'the access was a write'),
    CAUSE: bits(3, 2, 'why: 0 no entry, 1 refused by its entry, 2 the table could not be read, 3 no table'),
    MULTIPLE: bit(4, 'more faults came since; they are lost'),
    STREAM: bits(15, 8, 'stream of the access'),
  },
);

export const FAULT_ADDRESS: Register = reg32('FAULT_ADDRESS', 0x14, 'ro', 'IOVA of the recorded fault');

/** First IOVA of the page of the window that the hardware keeps for itself: writes to it ring, and go nowhere else. */
export const DOORBELL_IOVA = 0x1800_0000;

export const DOORBELLS: Register = reg32('DOORBELLS', 0x18, 'ro', 'writes to the doorbell page so far');

/**
 * The TABLE register of stream `stream`. One write to it moves the stream: there is no moment in between. It also drops
 * what is cached for the stream.
 */
export function tableRegister(stream: number): Register<'TRANSLATE' | 'NOTE_WRITES' | 'BASE'> {
  return reg32(`TABLE${stream}`, 0x100 + 4 * stream, 'rw', `table of stream ${stream}`, {
    TRANSLATE: bit(0, 'use the table; 0: every access of the stream is refused'),
    NOTE_WRITES: bit(1, 'set the dirty bit of an entry when a page is first written through it'),
    BASE: bits(31, 16, 'physical address of the table, bits 31 to 16'),
  });
}

/** Values of FAULT_STATUS.CAUSE. */
export const FAULT_CAUSE = { NO_ENTRY: 0, REFUSED: 1, WALK_ABORT: 2, NO_TABLE: 3 } as const;
