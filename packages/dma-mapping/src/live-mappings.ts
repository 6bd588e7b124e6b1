/**
 * What is mapped for one device. Unmaps and syncs are checked against it, since the hardware does not notice a wrong size
 * or direction: it shows later, as somebody else's lost bytes.
 */
import { hex, type Iova, LabError, offsetBy } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment, SgEntry } from './dma-ops.ts';
import type { PathMapping } from './path.ts';

/** By which pair of calls memory was given: single and page are one kind, as in the kernel. */
export type MappingKind = 'page' | 'sg' | 'coherent';

export interface LiveMapping extends PathMapping {
  readonly kind: MappingKind;
  readonly direction: DmaDirection;
  /** Bytes the driver asked for. */
  readonly sizeBytes: number;
  /** Who mapped it. */
  readonly site: string;
}

export class LiveMappings {
  readonly #deviceName: string;
  /** By the address of the first segment; directly mapped, one buffer can be out several times. */
  readonly #byAddress = new Map<number, LiveMapping[]>();
  #bytes = 0;
  #count = 0;

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
    for (const [first] of this.#byAddress.values()) return first;
    return undefined;
  }

  add(mapping: LiveMapping): void {
    const start = startOf(mapping);
    const there = this.#byAddress.get(start);
    if (there === undefined) this.#byAddress.set(start, [mapping]);
    else there.push(mapping);
    this.#bytes += mapping.sizeBytes;
    this.#count++;
  }

  remove(mapping: LiveMapping): void {
    const start = startOf(mapping);
    const there = this.#byAddress.get(start) ?? [];
    there.splice(there.indexOf(mapping), 1);
    if (there.length === 0) this.#byAddress.delete(start);
    this.#bytes -= mapping.sizeBytes;
    this.#count--;
  }

  /**
   * The mapping that was made with exactly these segments in this direction.
   * @throws LabError EINVAL when there is none; the message says what differs.
   */
  find(kind: MappingKind, segments: readonly DmaSegment[], direction: DmaDirection): LiveMapping {
    const start = segments[0]?.address;
    const candidates = start === undefined ? [] : (this.#byAddress.get(start) ?? []);
    const found = candidates.find(
      (c) => c.kind === kind && c.direction === direction && isSameList(c.segments, segments),
    );
    if (found !== undefined) return found;
    throw this.#misuse(start, this.#whyNot(candidates, kind, segments, start));
  }

  /** `find` of a scatter list for a sync in `direction`. @throws LabError EINVAL when there is none. */
  findList(segments: readonly DmaSegment[], direction: DmaDirection): LiveMapping {
    const mapped = this.#byAddress.get(segments[0]?.address ?? -1) ?? [];
    const bidirectional = mapped.find(
      (m) => m.kind === 'sg' && m.direction === 'bidirectional' && isSameList(m.segments, segments),
    );
    return bidirectional ?? this.find('sg', segments, direction);
  }

  /**
   * The memory under part of a streaming mapping, piece by piece.
   * @throws LabError EINVAL when no mapping contains the range, or only one for the other direction does.
   */
  findRange(start: Iova, sizeBytes: number, direction: DmaDirection): readonly SgEntry[] {
    let reason = 'nothing is mapped there';
    for (const mapping of this.#candidates(start)) {
      const segment = mapping.segments.find(
        (s) => s.address <= start && start + sizeBytes <= s.address + s.length,
      );
      if (segment === undefined) continue;
      if (mapping.kind === 'coherent') reason = 'coherent memory needs no sync';
      else if (!allows(mapping, direction)) reason = `"${mapping.site}" mapped it ${mapping.direction}`;
      else return cut(mapping, start, sizeBytes);
    }
    throw this.#misuse(start, `sync of ${sizeBytes} bytes ${direction}: ${reason}`);
  }

  /** Mappings that may contain `start`: first those that begin there, which is nearly always the answer. */
  *#candidates(start: Iova): Iterable<LiveMapping> {
    yield* this.#byAddress.get(start) ?? [];
    for (const [address, mappings] of this.#byAddress) if (address !== start) yield* mappings;
  }

  #whyNot(
    candidates: readonly LiveMapping[],
    kind: MappingKind,
    segments: readonly DmaSegment[],
    start: Iova | undefined,
  ): string {
    if (start === undefined) return 'an empty list of segments';
    const [near] = candidates;
    if (near === undefined) {
      const around = [...this.#candidates(start)].find((m) =>
        m.segments.some((s) => s.address <= start && start < s.address + s.length),
      );
      return around === undefined
        ? 'nothing is mapped there (any more)'
        : `it lies inside what "${around.site}" mapped at ${hex(startOf(around))}`;
    }
    if (near.kind !== kind) return `"${near.site}" mapped it as ${near.kind}, not as ${kind}`;
    if (!isSameList(near.segments, segments)) {
      return `"${near.site}" mapped ${near.sizeBytes} bytes in ${near.segments.length} segment(s), not ${sum(segments)} in ${segments.length}`;
    }
    return `"${near.site}" mapped it ${near.direction}`;
  }

  #misuse(start: Iova | undefined, reason: string): LabError {
    const where = start === undefined ? '' : ` ${hex(start)}`;
    return new LabError('EINVAL', `${this.#deviceName}${where}: ${reason}`, {
      device: this.#deviceName,
      address: start,
    });
  }
}

/** A sync names the direction of the mapping; a bidirectional one may be synced for either. */
function allows(mapping: LiveMapping, direction: DmaDirection): boolean {
  return mapping.direction === 'bidirectional' || mapping.direction === direction;
}

function startOf(mapping: PathMapping): number {
  return (mapping.segments[0] as DmaSegment).address;
}

function isSameList(a: readonly DmaSegment[], b: readonly DmaSegment[]): boolean {
  return a.length === b.length && a.every((s, i) => s.address === b[i]?.address && s.length === b[i].length);
}

function sum(segments: readonly DmaSegment[]): number {
  return segments.reduce((bytes, { length }) => bytes + length, 0);
}

/** The parts of a mapping's pieces that lie in the range. */
function cut({ pieces }: PathMapping, start: number, sizeBytes: number): readonly SgEntry[] {
  const parts: SgEntry[] = [];
  for (const { iova, address, length } of pieces) {
    const from = Math.max(start, iova);
    const end = Math.min(start + sizeBytes, iova + length);
    if (end > from) parts.push({ address: offsetBy(address, from - iova), length: end - from });
  }
  return parts;
}
