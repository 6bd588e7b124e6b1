/**
 * Through the IOMMU: every mapping gets a range of IOVA space and an entry in the device's default domain (the kernel's
 * drivers/iommu/dma-iommu.c, strict mode). Whole granules are mapped, so the IOVA has the buffer's offset in its granule
 * and the device reaches what else lies in the first and last granule.
 */
import type { Protection } from '@iommu-lab/iommu-core';
import {
  alignDown,
  alignUp,
  hex,
  type Iova,
  isPowerOfTwo,
  LabError,
  offsetBy,
  type PhysAddr,
  type World,
} from '@iommu-lab/machine';
import type { DmaSegment, SgEntry } from './dma-ops.ts';
import { IovaAllocator } from './iova-allocator.ts';
import type { DmaPath, MappedPiece, PathMapping } from './path.ts';
import type { DmaDomain, FrameSource, IovaGeometry } from './ports.ts';

const FRAME_BYTES = 4096;

/**
 * The IOVA space of a domain, from what its hardware can do. Devices that share the domain share it.
 *
 * An aperture that ends at a power of two ends where the address lines do: behind it comes address 0, and a device that
 * runs over the end of a buffer there looks like one that was given a null address. So the last granule is never handed
 * out. (Linux does hand it out: there the first mapping of a 32-bit device is at 0xfffff000.)
 */
export function iovaSpaceOf({ pageSizes, aperture }: IovaGeometry): IovaAllocator {
  const granule = pageSizes[0] ?? FRAME_BYTES;
  const last = isPowerOfTwo(aperture.last + 1) ? aperture.last - granule : aperture.last;
  return new IovaAllocator({ granule, start: aperture.start, last });
}

export class IommuPath implements DmaPath {
  readonly kind = 'iommu';
  readonly smallestMask: number;
  readonly #world: World;
  readonly #deviceName: string;
  readonly #domain: DmaDomain;
  readonly #iovas: IovaAllocator;
  readonly #frames: FrameSource;

  constructor(
    world: World,
    deviceName: string,
    domain: DmaDomain,
    iovas: IovaAllocator,
    frames: FrameSource,
  ) {
    this.#world = world;
    this.#deviceName = deviceName;
    this.#domain = domain;
    this.#iovas = iovas;
    this.#frames = frames;
    this.smallestMask = iovas.start + iovas.granule - 1;
  }

  map(entries: readonly SgEntry[], mask: number, protection: Protection, site: string): PathMapping {
    const whole = entries.map((entry) => this.#wholeGranules(entry));
    const sizeBytes = whole.reduce((sum, { length }) => sum + length, 0);
    const start = this.#allocateIova(sizeBytes, mask);
    try {
      this.#mapWhole(start, whole, sizeBytes, protection, site);
    } catch (error) {
      this.#iovas.free(start, sizeBytes);
      throw error;
    }
    const pieces = this.#place(start, entries, whole);
    return { segments: this.#merge(pieces), pieces, range: { start, sizeBytes } };
  }

  unmap({ range }: PathMapping, site: string): void {
    const unmapped = this.#domain.unmap(range.start, range.sizeBytes, site);
    if (unmapped === range.sizeBytes) {
      this.#iovas.free(range.start, range.sizeBytes);
      return;
    }
    // Somebody unmapped part of it behind our back. What lies behind that hole may still be reachable, so the range
    // is never handed out again.
    this.#world.emit('dma:iova_quarantined', {
      device: this.#deviceName,
      dma_addr: hex(range.start),
      size: range.sizeBytes,
      unmapped_size: unmapped,
    });
  }

  allocateMemory(sizeBytes: number): readonly SgEntry[] {
    const pieceBytes = Math.max(FRAME_BYTES, this.#iovas.granule);
    const pieces: SgEntry[] = [];
    try {
      for (let done = 0; done < sizeBytes; done += pieceBytes) {
        const address =
          pieceBytes === FRAME_BYTES
            ? this.#frames.allocate()
            : this.#frames.allocateContiguous(pieceBytes, pieceBytes);
        pieces.push({ address, length: pieceBytes });
      }
    } catch (error) {
      for (const { address, length } of pieces.reverse()) this.#frames.free(address, length);
      throw error;
    }
    return pieces;
  }

  #wholeGranules({ address, length }: SgEntry): SgEntry {
    const { granule } = this.#iovas;
    const start = alignDown(address, granule);
    return { address: start, length: alignUp(offsetBy(address, length), granule) - start };
  }

  #allocateIova(sizeBytes: number, mask: number): Iova {
    if (this.#world.fail('dma-mapping.iova')) {
      throw new LabError('ENOSPC', `${this.#deviceName}: no IOVA space (failpoint)`, { sizeBytes });
    }
    return this.#iovas.allocate(sizeBytes, mask);
  }

  #mapWhole(
    start: Iova,
    whole: readonly SgEntry[],
    sizeBytes: number,
    protection: Protection,
    site: string,
  ): void {
    const [only, second] = whole;
    if (only !== undefined && second === undefined) {
      this.#domain.map(start, only.address, sizeBytes, protection, site);
      return;
    }
    const mapped = this.#domain.mapSg(start, whole, protection, site);
    if (mapped === sizeBytes) return;
    if (mapped > 0) this.#domain.unmap(start, mapped, site);
    throw new LabError('ENOMEM', `${this.#deviceName}: ${mapped} of ${sizeBytes} bytes were mapped`, {
      device: this.#deviceName,
      mapped,
      sizeBytes,
    });
  }

  /** Where each entry came to lie. */
  #place(start: Iova, entries: readonly SgEntry[], whole: readonly SgEntry[]): readonly MappedPiece[] {
    let next = start;
    return entries.map(({ address, length }, i) => {
      const { address: wholeAddress, length: wholeLength } = whole[i] as SgEntry;
      const iova = offsetBy(next, address - wholeAddress);
      next = offsetBy(next, wholeLength);
      return { iova, address: address as PhysAddr, length };
    });
  }

  /**
   * Pieces that touch in IOVA space become one segment. Each has granules of its own, so they touch only where one ends and
   * the next starts on a granule. There are no limits of segment size and boundary to keep (the kernel's `dma_parms`,
   * which devices do not have here).
   */
  #merge(pieces: readonly MappedPiece[]): readonly DmaSegment[] {
    const segments: DmaSegment[] = [];
    for (const { iova, length } of pieces) {
      const previous = segments.at(-1);
      if (previous !== undefined && previous.address + previous.length === iova) {
        segments[segments.length - 1] = { address: previous.address, length: previous.length + length };
      } else {
        segments.push({ address: iova, length });
      }
    }
    return segments;
  }
}
