/** The DMA mappings of one job, released together whatever becomes of it. */
import type { CoherentBuffer, DmaDirection, DmaOps, DmaSegment, SgEntry } from '@iommu-lab/dma-mapping';
import { LabError } from '@iommu-lab/machine';
import type { Engine, RegisterProgram } from './engine.ts';
import type { JobResult } from './job.ts';

class JobMappings {
  readonly #dma: DmaOps;
  /** How to undo each step, in order. */
  readonly #undo: (() => void)[] = [];

  constructor(dma: DmaOps) {
    this.#dma = dma;
  }

  /** Maps a scattered buffer. @throws LabError as `mapSg` */
  mapSegments(entries: readonly SgEntry[], direction: DmaDirection, site: string): readonly DmaSegment[] {
    const segments = this.#dma.mapSg(entries, direction, { site });
    this.#undo.push(() => this.#dma.unmapSg(segments, direction, { site }));
    return segments;
  }

  /**
   * Maps a buffer for a device that can only address one range. @returns where the range begins
   * @throws LabError EIO when it comes in several: scattered pages and no IOMMU to gather them
   */
  mapRange(entries: readonly SgEntry[], direction: DmaDirection, site: string): number {
    const segments = this.mapSegments(entries, direction, site);
    const [first] = segments;
    if (segments.length !== 1 || first === undefined) {
      throw new LabError(
        'EIO',
        `${site}: the device needs one range, the buffer maps to ${segments.length} (scattered, no IOMMU)`,
        { site, segments: segments.length },
      );
    }
    return first.address;
  }

  /** Memory for both sides. @throws LabError as `allocCoherent` */
  allocCoherent(sizeBytes: number, site: string): CoherentBuffer {
    const buffer = this.#dma.allocCoherent(sizeBytes, { site });
    this.#undo.push(() => this.#dma.freeCoherent(buffer));
    return buffer;
  }

  /** Undoes everything, the latest first. Harmless when nothing is left. */
  release(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }
}

/**
 * Starts a job on mappings of its own: `prepare` makes them and says what the registers must hold. They are released
 * when the job has ended, before `done` is called, or when anything throws before it has started.
 */
export function startMapped(
  engine: Engine,
  dma: DmaOps,
  prepare: (mappings: JobMappings) => RegisterProgram,
  done: (result: JobResult) => void,
): void {
  const mappings = new JobMappings(dma);
  try {
    engine.start(prepare(mappings), (result) => {
      mappings.release();
      done(result);
    });
  } catch (error) {
    mappings.release();
    throw error;
  }
}
