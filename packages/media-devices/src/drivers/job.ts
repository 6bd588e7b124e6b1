/** What callers hand to the media drivers, and what they get back. */
import type { SgEntry } from '@iommu-lab/dma-mapping';
import { LabError } from '@iommu-lab/machine';

/** A picture in memory: pixels of 4 bytes R,G,B,X in physical pieces, which count as one range. */
export interface FrameBuffer {
  /** Pixels, 1..65535. */
  readonly width: number;
  /** Lines, 1..65535. */
  readonly height: number;
  /** From one line to the next; a multiple of 4, at least a line. */
  readonly strideBytes: number;
  readonly entries: readonly SgEntry[];
}

/** How a job ended. */
export type JobResult =
  | { readonly ok: true }
  | {
      readonly ok: false;
      /** First address whose access failed, as the device drove it; 0 where there is none. */
      readonly address: number;
      readonly message: string;
    };

/** Bytes of a pixel. */
export const PIXEL_BYTES = 4;

/** Bytes from the first pixel to behind the last. */
export function frameBytes(frame: Omit<FrameBuffer, 'entries'>): number {
  return (frame.height - 1) * frame.strideBytes + frame.width * PIXEL_BYTES;
}

/** @throws LabError EINVAL unless size and stride are in range and the pieces hold the frame */
export function checkFrame(frame: FrameBuffer, what: string): void {
  checkShape(frame, what);
  const held = frame.entries.reduce((sum, entry) => sum + entry.length, 0);
  if (held < frameBytes(frame)) {
    throw new LabError(
      'EINVAL',
      `${what}: the buffer has ${held} bytes, the frame needs ${frameBytes(frame)}`,
      {
        held,
        needed: frameBytes(frame),
      },
    );
  }
}

/** @throws LabError EINVAL unless width, height and stride are in range */
export function checkShape(frame: Omit<FrameBuffer, 'entries'>, what: string): void {
  const { width, height, strideBytes } = frame;
  const isSize = (n: number): boolean => Number.isInteger(n) && n > 0 && n <= 0xffff;
  const isStride =
    Number.isSafeInteger(strideBytes) &&
    strideBytes % PIXEL_BYTES === 0 &&
    strideBytes >= width * PIXEL_BYTES &&
    strideBytes <= 0xffffffff;
  if (!isSize(width) || !isSize(height) || !isStride) {
    throw new LabError('EINVAL', `${what}: impossible size or stride`, { width, height, strideBytes });
  }
}
