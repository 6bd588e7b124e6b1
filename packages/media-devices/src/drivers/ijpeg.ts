/** Driver of the JPEG engine. The device takes scatter lists, so that it needs no IOMMU for scattered buffers. */
import { type Driver, slot, type Slot } from '@iommu-lab/driver-core';
import type { CoherentBuffer, DmaOps, DmaSegment, SgEntry } from '@iommu-lab/dma-mapping';
import { encode, LabError } from '@iommu-lab/machine';
import {
  IJPEG_CAPACITY,
  IJPEG_DESTINATION_COUNT,
  IJPEG_DESTINATION_LIST,
  IJPEG_LENGTH,
  IJPEG_QUALITY,
  IJPEG_SOURCE_COUNT,
  IJPEG_SOURCE_LIST,
  IJPEG_SOURCE_SIZE,
  IJPEG_SOURCE_STRIDE,
  SCATTER_ENTRY_BYTES,
} from '../registers/ijpeg.ts';
import type { Engine } from './engine.ts';
import { checkFrame, type FrameBuffer, type JobResult } from './job.ts';
import { startMapped } from './mappings.ts';
import { mediaDriver } from './media-driver.ts';

/** Where the stream goes. */
export interface StreamBuffer {
  readonly entries: readonly SgEntry[];
  /** Bytes the stream may take; no more than the entries hold. */
  readonly sizeBytes: number;
}

/** `lengthBytes`: of the stream; 0 when the job failed. */
export type JpegResult = JobResult & { readonly lengthBytes: number };

export interface JpegEncoder {
  /**
   * Encodes `source` at `quality` (1..100, as libjpeg counts) into `destination`. `done` is called once, when both
   * belong to the CPU again; a stream that does not fit is a failure.
   * @throws LabError EBUSY while a job runs; ENODEV once the driver was removed; EINVAL on a buffer too small, a quality out of range or more than 65535
   * segments; what mapping throws. Nothing stays mapped then.
   */
  encode(
    source: FrameBuffer,
    destination: StreamBuffer,
    quality: number,
    done: (result: JpegResult) => void,
  ): void;
}

/** Where a bound JPEG engine's object is. */
export const JPEG_ENCODER: Slot<JpegEncoder> = slot('JPEG encoder');

/** Serves `qcom,ijpeg`. */
export const ijpegDriver: Driver = mediaDriver({
  name: 'msm-ijpeg',
  compatible: 'qcom,ijpeg',
  slot: JPEG_ENCODER,
  create: createEncoder,
});

function createEncoder(engine: Engine, dma: DmaOps): JpegEncoder {
  const { name } = engine;
  return {
    encode(source, destination, quality, done) {
      engine.requireIdle();
      checkFrame(source, `${name}: source`);
      checkStream(destination, quality, name);
      startMapped(
        engine,
        dma,
        (mappings) => {
          const from = mappings.mapSegments(source.entries, 'to-device', `${name}: source`);
          const to = mappings.mapSegments(destination.entries, 'from-device', `${name}: destination`);
          for (const list of [from, to]) checkCount(list, name);
          const lists = mappings.allocCoherent(
            (from.length + to.length) * SCATTER_ENTRY_BYTES,
            `${name}: lists`,
          );
          writeList(lists, 0, from);
          writeList(lists, from.length, to);
          return [
            [IJPEG_SOURCE_LIST, lists.dmaAddress],
            [IJPEG_SOURCE_COUNT, from.length],
            [IJPEG_SOURCE_STRIDE, source.strideBytes],
            [IJPEG_SOURCE_SIZE, encode(IJPEG_SOURCE_SIZE, { WIDTH: source.width, HEIGHT: source.height })],
            [IJPEG_DESTINATION_LIST, lists.dmaAddress + from.length * SCATTER_ENTRY_BYTES],
            [IJPEG_DESTINATION_COUNT, to.length],
            [IJPEG_CAPACITY, destination.sizeBytes],
            [IJPEG_QUALITY, encode(IJPEG_QUALITY, { QUALITY: quality })],
          ];
        },
        (result) => done({ ...result, lengthBytes: result.ok ? engine.read(IJPEG_LENGTH) : 0 }),
      );
    },
  };
}

function writeList(lists: CoherentBuffer, first: number, segments: readonly DmaSegment[]): void {
  segments.forEach((segment, i) => {
    const offset = (first + i) * SCATTER_ENTRY_BYTES;
    lists.write32(offset, segment.address);
    lists.write32(offset + 4, segment.length);
  });
}

function checkStream(destination: StreamBuffer, quality: number, name: string): void {
  const { sizeBytes, entries } = destination;
  const held = entries.reduce((sum, entry) => sum + entry.length, 0);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > held || sizeBytes > 0xffffffff) {
    throw new LabError('EINVAL', `${name}: destination: ${sizeBytes} bytes in a buffer of ${held}`, {
      sizeBytes,
      held,
    });
  }
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new LabError('EINVAL', `${name}: quality is 1..100`, { quality });
  }
}

function checkCount(segments: readonly DmaSegment[], name: string): void {
  if (segments.length > 0xffff) {
    throw new LabError('EINVAL', `${name}: ${segments.length} segments, the device takes 65535`, {
      segments: segments.length,
    });
  }
}
