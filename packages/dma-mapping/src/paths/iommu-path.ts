/**
 * Through the IOMMU: every mapping gets a range of IOVA space and an entry in the device's default domain (the kernel's
 * drivers/iommu/dma-iommu.c). Whole granules are mapped, so the IOVA has the buffer's offset in its granule and the device
 * reaches what else lies in the first and last granule; a device that is not trusted gets bounce buffers there.
 */
import { FRAME_BYTES } from '@iommu-lab/kernel-mm';
import type { Device } from '@iommu-lab/driver-core';
import { alignDown, alignUp, type Iova, LabError, offsetBy } from '@iommu-lab/machine';
import type { BouncePool } from '../bounce/bounce-pool.ts';
import type { SgEntry } from '../dma-ops.ts';
import type { IovaSpace } from './iova-space.ts';
import type { DmaPath, IovaRange, IovaReservations, MappedPiece, PathMapping, PathRequest } from './path.ts';
import type { FrameSource } from '../ports.ts';
import { layOut, segmentsOf, type SgLayout } from './sg-layout.ts';
import { bounceEdges, type EdgePiece, releaseEdges } from './untrusted-edges.ts';

/** Granules of the largest range that the allocator keeps in magazines (iova_rcache_range). */
const CACHED_GRANULES = 32;
const NO_BOUNDARY = 2 ** 52 - 1;

export interface IommuPathParts {
  readonly device: Device;
  readonly space: IovaSpace;
  readonly frames: FrameSource;
  readonly bounce: BouncePool | undefined;
}

export class IommuPath implements DmaPath, IovaReservations {
  readonly kind = 'iommu';
  readonly requiredMask: number = 0xffffffff;
  /** Edges are bounced granule by granule, so that no pool's segment limits a mapping. */
  readonly maxMappingSize: number = Number.MAX_SAFE_INTEGER;
  readonly #parts: IommuPathParts;
  readonly #granule: number;

  constructor(parts: IommuPathParts) {
    this.#parts = parts;
    this.#granule = parts.space.allocator.granule;
  }

  get granule(): number {
    return this.#granule;
  }

  get smallestMask(): number {
    const { device, space } = this.#parts;
    const windows = device.dmaRanges.map(({ busStart }) => busStart);
    const first = windows.length === 0 ? 0 : Math.min(...windows);
    return Math.max(space.allocator.start, first) + this.#granule - 1;
  }

  get isAddressingLimited(): boolean {
    const { device } = this.#parts;
    return Math.min(device.dmaMask, device.busDmaLimit) < this.requiredMask;
  }

  get optMappingSize(): number {
    return CACHED_GRANULES * this.#granule;
  }

  get mergeBoundary(): number {
    return this.#granule - 1;
  }

  get reservations(): IovaReservations {
    return this;
  }

  map(entries: readonly SgEntry[], request: PathRequest): PathMapping {
    const [only] = entries;
    if (entries.length === 1 && only !== undefined) return this.#mapOne(only, request);
    const { dmaParameters } = this.#parts.device;
    // An allocation is one buffer whatever it is made of, and whatever the segments of a list may be.
    const boundary = request.isAllocation ? NO_BOUNDARY : dmaParameters.segmentBoundaryMask;
    const layout = layOut(entries, this.#granule, boundary);
    const start = this.#allocate(layout.sizeBytes, request.mask);
    try {
      const { pieces, runs } = this.#mapLayout(layout, start, request);
      const segments = request.isAllocation
        ? [{ address: (pieces[0] as MappedPiece).iova, length: lengthOf(entries) }]
        : segmentsOf(layout, start, dmaParameters);
      const range = { start, sizeBytes: layout.sizeBytes };
      return runs.length === 1 ? { segments, pieces, range } : { segments, pieces, range, runs };
    } catch (error) {
      this.#parts.space.allocator.free(start, layout.sizeBytes);
      throw error;
    }
  }

  unmap({ range, runs }: PathMapping, site: string): void {
    const { device, space } = this.#parts;
    if (runs === undefined) {
      space.unmap(device, range.start, range.sizeBytes, site);
      return;
    }
    // A list with holes at segment boundaries: rare enough to be unmapped run by run, and strictly.
    let isWhole = true;
    for (const { start, sizeBytes } of runs)
      isWhole = space.unmapNow(device, start, sizeBytes, site) && isWhole;
    if (isWhole) space.allocator.free(range.start, range.sizeBytes);
  }

  allocateMemory(sizeBytes: number, _mask: number, isContiguous: boolean): readonly SgEntry[] {
    const { frames } = this.#parts;
    const pieceBytes = Math.max(FRAME_BYTES, this.#granule);
    const length = alignUp(sizeBytes, pieceBytes);
    if (isContiguous) return [{ address: frames.allocateContiguous(length, pieceBytes), length }];
    const pieces: SgEntry[] = [];
    try {
      for (let done = 0; done < sizeBytes; done += pieceBytes) {
        const address =
          pieceBytes === FRAME_BYTES ? frames.allocate() : frames.allocateContiguous(pieceBytes, pieceBytes);
        pieces.push({ address, length: pieceBytes });
      }
    } catch (error) {
      this.freeMemory(pieces.reverse());
      throw error;
    }
    return pieces;
  }

  freeMemory(pieces: readonly SgEntry[]): void {
    for (const { address, length } of pieces) this.#parts.frames.free(address, length);
  }

  isStale(address: Iova): boolean {
    return this.#parts.space.queue?.isPending(address) ?? false;
  }

  reserve(sizeBytes: number, mask: number): Iova {
    return this.#allocate(alignUp(sizeBytes, this.#granule), mask);
  }

  link(iova: Iova, entry: SgEntry, request: PathRequest): PathMapping {
    const start = alignDown(iova, this.#granule);
    const pieces = this.#mapPieces(start, this.#split(entry, request, 'EPERM'), request);
    const sizeBytes = alignUp(iova + entry.length, this.#granule) - start;
    return { segments: [{ address: iova, length: entry.length }], pieces, range: { start, sizeBytes } };
  }

  unlink({ range }: PathMapping, site: string): boolean {
    const { device, space } = this.#parts;
    return space.unmapNow(device, range.start, range.sizeBytes, site);
  }

  release(iova: Iova, sizeBytes: number): void {
    this.#parts.space.allocator.free(iova, alignUp(sizeBytes, this.#granule));
  }

  #mapOne(entry: SgEntry, request: PathRequest): PathMapping {
    const { device, space } = this.#parts;
    const { domain } = space;
    const granule = this.#granule;
    const offset = entry.address % granule;
    const sizeBytes = alignUp(offset + entry.length, granule);
    const start = this.#allocate(sizeBytes, request.mask);
    try {
      const iova = (start + offset) as Iova;
      if (!device.isUntrusted || (offset === 0 && sizeBytes === entry.length)) {
        domain.map(
          start,
          (entry.address - offset) as SgEntry['address'],
          sizeBytes,
          request.protection,
          request.site,
        );
        const pieces = [{ iova, address: entry.address, length: entry.length }];
        return { segments: [{ address: iova, length: entry.length }], pieces, range: { start, sizeBytes } };
      }
      const pieces = this.#mapPieces(start, this.#split(entry, request), request);
      return { segments: [{ address: iova, length: entry.length }], pieces, range: { start, sizeBytes } };
    } catch (error) {
      space.allocator.free(start, sizeBytes);
      throw error;
    }
  }

  /** Maps the entries of a list from `start` on, leaving its holes. Nothing stays mapped or bounced when it throws. */
  #mapLayout(
    layout: SgLayout,
    start: Iova,
    request: PathRequest,
  ): { readonly pieces: readonly MappedPiece[]; readonly runs: readonly IovaRange[] } {
    const pieces: MappedPiece[] = [];
    const runs: IovaRange[] = [];
    let run: EdgePiece[] = [];
    let runAt = 0;
    let next = 0;
    const mapRun = (): void => {
      const split = run;
      run = [];
      const runStart = offsetBy(start, runAt);
      pieces.push(...this.#mapPieces(runStart, split, request));
      runs.push({ start: runStart, sizeBytes: next - runAt });
    };
    try {
      for (const { entry, at, wholeBytes } of layout.entries) {
        if (at !== next) {
          mapRun();
          runAt = at;
        }
        run.push(...this.#split(entry, request));
        next = at + wholeBytes;
      }
      mapRun();
      return { pieces, runs };
    } catch (error) {
      for (const mapped of runs) this.#parts.space.domain.unmap(mapped.start, mapped.sizeBytes, request.site);
      releaseEdges(this.#parts.bounce, [...pieces, ...run]);
      throw error;
    }
  }

  /** Maps pieces one behind the other from `start` on, a granule boundary. Their bounce buffers are free when it throws. */
  #mapPieces(start: Iova, split: readonly EdgePiece[], request: PathRequest): readonly MappedPiece[] {
    const { device, space } = this.#parts;
    const { domain } = space;
    const granule = this.#granule;
    const whole: SgEntry[] = [];
    const pieces: MappedPiece[] = [];
    let at: number = start;
    for (const piece of split) {
      const offset = piece.address % granule;
      // A piece that follows in the middle of a granule does not occur: only a list's entries begin and end there.
      const length = alignUp(offset + piece.length, granule);
      whole.push({ address: offsetBy(piece.address, -offset), length });
      pieces.push({ iova: (at + offset) as Iova, ...piece });
      at += length;
    }
    const sizeBytes = at - start;
    try {
      const mapped = domain.mapSg(start, whole, request.protection, request.site);
      if (mapped === sizeBytes) return pieces;
      if (mapped > 0) domain.unmap(start, mapped, request.site);
      throw new LabError('ENOMEM', `${device.name}: ${mapped} of ${sizeBytes} bytes were mapped`, {
        device: device.name,
        mapped,
        sizeBytes,
      });
    } catch (error) {
      releaseEdges(this.#parts.bounce, split);
      throw error;
    }
  }

  #split(entry: SgEntry, request: PathRequest, refusal: 'EIO' | 'EPERM' = 'EIO'): readonly EdgePiece[] {
    const { device, bounce } = this.#parts;
    const isWhole = entry.address % this.#granule === 0 && entry.length % this.#granule === 0;
    if (!device.isUntrusted || isWhole) return [entry];
    if (request.isResource || !request.mayBounce || bounce === undefined) {
      const why = request.isResource
        ? 'registers are never bounced'
        : bounce === undefined
          ? 'there is no bounce pool'
          : 'it may not be bounced';
      throw new LabError(refusal, `${device.name} is not trusted, and the buffer shares granules: ${why}`, {
        device: device.name,
        address: entry.address,
        length: entry.length,
      });
    }
    return bounceEdges(bounce, device.name, this.#granule, entry, request);
  }

  #allocate(sizeBytes: number, mask: number): Iova {
    const { device, space } = this.#parts;
    return space.allocate(device, sizeBytes, Math.min(mask, device.busDmaLimit));
  }
}

function lengthOf(entries: readonly SgEntry[]): number {
  return entries.reduce((sum, { length }) => sum + length, 0);
}
