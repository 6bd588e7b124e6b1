/**
 * What is mapped for one device. Unmaps and syncs are checked against it, since the hardware does not notice a wrong size
 * or direction: it shows later, as somebody else's lost bytes.
 *
 * Mappings are found by the page of their first address, and from an address inside one by going down page by page, no further
 * than the longest mapping reaches: the kernel's hash of dma-debug works so (kernel/dma/debug.c, bucket_find_contain).
 */
import { hex, type Iova, LabError } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment } from '../dma-ops.ts';
import type { HandedPiece } from './hand-over.ts';
import type { PathMapping } from '../paths/path.ts';

/** By which calls memory was given: single and page are one kind, as in the kernel. */
export type MappingKind =
  'page' | 'resource' | 'sg' | 'linked' | 'coherent' | 'noncoherent' | 'noncontiguous';

export interface LiveMapping extends PathMapping {
  readonly kind: MappingKind;
  readonly direction: DmaDirection;
  /** Bytes the driver asked for. */
  readonly sizeBytes: number;
  /** Who mapped it. */
  readonly site: string;
}

const PAGE_BYTES = 4096;

export class LiveMappings {
  readonly #deviceName: string;
  /** By page of the first segment's address; directly mapped, one buffer can be out several times. */
  readonly #byPage = new Map<number, LiveMapping[]>();
  #bytes = 0;
  #count = 0;
  /** No segment that was ever first in its mapping was longer. */
  #longest = 0;

  constructor(deviceName: string) {
    this.#deviceName = deviceName;
  }

  /** Bytes that drivers have asked for and not given back. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#count;
  }

  /** One of them, for a report. */
  get example(): LiveMapping | undefined {
    for (const [first] of this.#byPage.values()) return first;
    return undefined;
  }

  add(mapping: LiveMapping): void {
    const [first] = mapping.segments as readonly [DmaSegment];
    const page = Math.floor(first.address / PAGE_BYTES);
    const there = this.#byPage.get(page);
    if (there === undefined) this.#byPage.set(page, [mapping]);
    else there.push(mapping);
    if (first.length > this.#longest) this.#longest = first.length;
    this.#bytes += mapping.sizeBytes;
    this.#count++;
  }

  remove(mapping: LiveMapping): void {
    const page = Math.floor(startOf(mapping) / PAGE_BYTES);
    const there = this.#byPage.get(page) ?? [];
    if (there.length === 1) this.#byPage.delete(page);
    else there.splice(there.indexOf(mapping), 1);
    this.#bytes -= mapping.sizeBytes;
    this.#count--;
  }

  /**
   * The mapping that was made as one piece of exactly this size in this direction.
   * @throws LabError EINVAL when there is none; the message says what differs.
   */
  findSingle(kind: MappingKind, start: Iova, sizeBytes: number, direction: DmaDirection): LiveMapping {
    for (const mapping of this.#inPage(start)) {
      if (mapping.kind !== kind || mapping.direction !== direction || mapping.sizeBytes !== sizeBytes)
        continue;
      if (startOf(mapping) === start) return mapping;
    }
    throw this.#mismatch(kind, [{ address: start, length: sizeBytes }], direction);
  }

  /** The mapping that was made with exactly these segments in this direction. @throws LabError EINVAL as `findSingle` */
  findList(kind: MappingKind, segments: readonly DmaSegment[], direction: DmaDirection): LiveMapping {
    const found = this.#inPage(segments[0]?.address ?? -1).find(
      (m) => m.kind === kind && m.direction === direction && isSameList(m.segments, segments),
    );
    if (found === undefined) throw this.#mismatch(kind, segments, direction);
    return found;
  }

  /** The scatter list with these segments, for a sync in `direction`. @throws LabError EINVAL when there is none */
  findSyncedList(segments: readonly DmaSegment[], direction: DmaDirection): LiveMapping {
    const bidirectional = this.#inPage(segments[0]?.address ?? -1).find(
      (m) => isSynced(m) && m.direction === 'bidirectional' && isSameList(m.segments, segments),
    );
    if (bidirectional !== undefined) return bidirectional;
    const noncontiguous = this.#inPage(segments[0]?.address ?? -1).some(
      (m) => m.kind === 'noncontiguous' && isSameList(m.segments, segments),
    );
    return this.findList(noncontiguous ? 'noncontiguous' : 'sg', segments, direction);
  }

  /**
   * The memory under part of a streaming mapping, piece by piece.
   * @throws LabError EINVAL when no mapping contains the range, or only one for the other direction does.
   */
  findRange(start: Iova, sizeBytes: number, direction: DmaDirection): readonly HandedPiece[] {
    let reason = 'nothing is mapped there';
    for (const mapping of this.#candidates(start)) {
      const segment = mapping.segments.find(
        (s) => s.address <= start && start + sizeBytes <= s.address + s.length,
      );
      if (segment === undefined) continue;
      if (mapping.kind === 'coherent') reason = 'coherent memory needs no sync';
      else if (mapping.direction !== 'bidirectional' && mapping.direction !== direction) {
        reason = `"${mapping.site}" mapped it ${mapping.direction}`;
      } else return mapping.kind === 'resource' ? [] : cut(mapping, start, sizeBytes); // registers are not cached
    }
    throw this.#misuse(start, `sync of ${sizeBytes} bytes ${direction}: ${reason}`);
  }

  /** The mapping that contains `address`, whatever it is for. */
  containing(address: Iova): LiveMapping | undefined {
    for (const mapping of this.#candidates(address)) {
      if (mapping.segments.some((s) => s.address <= address && address < s.address + s.length))
        return mapping;
    }
    return undefined;
  }

  #inPage(address: number): readonly LiveMapping[] {
    return this.#byPage.get(Math.floor(address / PAGE_BYTES)) ?? [];
  }

  /** Mappings that may contain `address`, those that begin nearest below it first. */
  *#candidates(address: Iova): Iterable<LiveMapping> {
    const page = Math.floor(address / PAGE_BYTES);
    const lowest = Math.floor((address - this.#longest) / PAGE_BYTES);
    const isFewer = this.#byPage.size < page - lowest;
    if (!isFewer) for (let at = page; at >= lowest && at >= 0; at--) yield* this.#byPage.get(at) ?? [];
    // A segment that is not its mapping's first can lie anywhere.
    for (const mappings of this.#byPage.values()) {
      for (const mapping of mappings) if (isFewer || mapping.segments.length > 1) yield mapping;
    }
  }

  #mismatch(kind: MappingKind, segments: readonly DmaSegment[], direction: DmaDirection): LabError {
    const start = segments[0]?.address;
    if (start === undefined) return this.#misuse(start, 'an empty list of segments');
    const near = this.#inPage(start).find((m) => startOf(m) === start);
    if (near === undefined) {
      const around = this.containing(start);
      return this.#misuse(
        start,
        around === undefined
          ? 'nothing is mapped there (any more)'
          : `it lies inside what "${around.site}" mapped at ${hex(startOf(around))}`,
      );
    }
    if (near.kind !== kind)
      return this.#misuse(start, `"${near.site}" mapped it as ${near.kind}, not as ${kind}`);
    const asked = segments.reduce((bytes, { length }) => bytes + length, 0);
    if (near.segments.length !== segments.length || near.sizeBytes !== asked) {
      return this.#misuse(
        start,
        `"${near.site}" mapped ${near.sizeBytes} bytes in ${near.segments.length} segment(s), not ${asked} in ${segments.length}`,
      );
    }
    return this.#misuse(start, `"${near.site}" mapped it ${near.direction}, not ${direction}`);
  }

  #misuse(start: Iova | undefined, reason: string): LabError {
    const where = start === undefined ? '' : ` ${hex(start)}`;
    return new LabError('EINVAL', `${this.#deviceName}${where}: ${reason}`, {
      device: this.#deviceName,
      address: start,
    });
  }
}

function isSynced({ kind }: LiveMapping): boolean {
  return kind === 'sg' || kind === 'noncontiguous';
}

function startOf(mapping: PathMapping): number {
  return (mapping.segments[0] as DmaSegment).address;
}

function isSameList(a: readonly DmaSegment[], b: readonly DmaSegment[]): boolean {
  return a.length === b.length && a.every((s, i) => s.address === b[i]?.address && s.length === b[i].length);
}

/** The parts of a mapping's pieces that lie in the range. */
function cut({ pieces }: PathMapping, start: number, sizeBytes: number): readonly HandedPiece[] {
  const parts: HandedPiece[] = [];
  for (const { iova, address, length, bounce } of pieces) {
    const from = Math.max(start, iova);
    const end = Math.min(start + sizeBytes, iova + length);
    if (end <= from) continue;
    const part = { address: (address + from - iova) as HandedPiece['address'], length: end - from };
    parts.push(bounce === undefined ? part : { ...part, bounce });
  }
  return parts;
}
