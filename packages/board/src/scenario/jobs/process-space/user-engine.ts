/** What a user program sees of a copying engine, whichever driver stands behind it. */
import type { VirtAddr } from '@iommu-lab/machine';
import type { Gfx2dJob, Gfx2dSurface, JobResult } from '@iommu-lab/media-devices/drivers';

/** Memory of a process. */
export interface UserBuffer {
  /** First byte; page-aligned. */
  readonly address: VirtAddr;
  /** Whole pages. */
  readonly sizeBytes: number;
}

/** An engine that a process has opened. */
export interface UserEngine {
  /**
   * Copies the first `lines` lines of `from` to `to`. `done` is called once; the buffers are the process's again then.
   * @throws LabError as the driver says; nothing of the job is left then
   */
  copy(from: UserBuffer, to: UserBuffer, lines: number, done: (result: JobResult) => void): void;
  /** The process has done with the engine; no job runs. Never fails. */
  close(): void;
}

/** A line of pixels, in bytes: sixteen fill a page. */
export const LINE_BYTES = 256;

/** The engine's job for `lines` lines, by the addresses it drives. */
export function copyJob(from: number, to: number, lines: number): Gfx2dJob {
  return {
    kind: 'copy',
    source: surface(from),
    destination: surface(to),
    width: LINE_BYTES / 4,
    height: lines,
  };
}

function surface(address: number): Gfx2dSurface {
  return { address, strideBytes: LINE_BYTES };
}
