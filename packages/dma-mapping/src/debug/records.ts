/** What the checker knows of the mappings of each device: its own record, which trusts nobody else's. */
import type { Device } from '@iommu-lab/driver-core';
import type { Iova } from '@iommu-lab/machine';
import type {
  DmaBuffer,
  DmaDirection,
  DmaOps,
  DmaSegment,
  IovaReservation,
  SgEntry,
  SgTable,
} from '../dma-ops.ts';
import { ByteRanges } from './byte-ranges.ts';
import type { Ownership } from './ownership.ts';
import { type Ranged, RangeIndex } from './range-index.ts';

/** By which calls memory was given. `single`: also a page, as in the kernel. */
export type MappingType =
  'single' | 'resource' | 'sg' | 'coherent' | 'noncoherent' | 'noncontiguous' | 'linked';

/** A place in a driver, and when it was there. */
export interface CallSite {
  /** The label that the call was given. */
  readonly site: string;
  readonly atNs: number;
  /** Only where stacks were asked for. */
  readonly stack?: string;
}

/** Part of a mapping as the device addresses it. */
export interface IovaPiece extends Ranged {
  readonly record: MappingRecord;
  /** Bytes of the mapping before it. */
  readonly offset: number;
}

/** Part of a mapping's memory. */
export type BufferPiece = IovaPiece;

/** What a mapping is made of. Made as one literal: a spread is a hundred times as slow, and every map call makes one. */
export interface MappingParts {
  readonly device: Device;
  readonly type: MappingType;
  readonly direction: DmaDirection;
  readonly made: CallSite;
  readonly sizeBytes: number;
  readonly segments: readonly DmaSegment[];
  /** Its memory, byte for byte in the order of the segments. */
  readonly entries: readonly SgEntry[];
  /** Undefined where device and CPU may always touch it. */
  readonly ownership: Ownership | undefined;
  /** The driver does its own cache maintenance. */
  readonly skipsCpuSync: boolean;
  readonly ignoresSharedLines?: boolean;
  /** The map returns its error as a value, and the driver has to ask. */
  readonly owesErrorCheck?: boolean;
  /** It was mapped with the page calls. */
  readonly isPage?: boolean;
  /** The device has a copy: it never touches the cache lines of the buffer itself. */
  readonly isBounced?: boolean;
  /** What it was mapped from, and is taken back with. */
  readonly table?: SgTable | undefined;
  /** The allocation it belongs to, as the inner operations know it. */
  readonly buffer?: DmaBuffer;
  /** Whether the device may use bytes of it yet; always unless given. */
  readonly isVisible?: (start: number, end: number) => boolean;
}

export class MappingRecord {
  readonly parts: MappingParts;
  readonly iovaPieces: readonly IovaPiece[];
  readonly bufferPieces: readonly BufferPiece[];
  isErrorUnchecked: boolean;
  /** Who took it back, once somebody has. */
  unmapped: CallSite | undefined;
  /** The call that took it back was wrong; the calls that follow from the same mistake are not reported. */
  wasTakenBackWrongly = false;
  /** Reported when its driver went. */
  isLeft = false;

  constructor(parts: MappingParts) {
    this.parts = parts;
    this.isErrorUnchecked = parts.owesErrorCheck ?? false;
    this.iovaPieces = piecesOf(this, parts.segments);
    this.bufferPieces = parts.type === 'resource' ? [] : piecesOf(this, parts.entries);
  }

  /** What the driver calls the mapping by. */
  get address(): number {
    return this.parts.segments[0]?.address ?? 0;
  }

  /** Whether a device writes it behind a cache. */
  get isDeviceWritten(): boolean {
    const { direction, type } = this.parts;
    return direction !== 'to-device' && type !== 'coherent' && type !== 'resource';
  }
}

/** A piece linked into a reservation, by offset. */
export interface LinkedPiece extends Ranged {
  readonly record: MappingRecord;
}

/** IOVA space that a driver has reserved. */
export class ReservationRecord {
  readonly reservation: IovaReservation;
  readonly made: CallSite;
  readonly pieces: RangeIndex<LinkedPiece> = new RangeIndex();
  /** What the device may use, by offset. */
  readonly visible: ByteRanges = new ByteRanges();
  /** Who gave it back, once somebody has. */
  gone: CallSite | undefined;

  constructor(reservation: IovaReservation, made: CallSite) {
    this.reservation = reservation;
    this.made = made;
  }

  /** What is linked in the range, ascending. */
  linkedIn(start: number, end: number): readonly LinkedPiece[] {
    return [...this.pieces.overlapping(start, end)].sort((a, b) => a.start - b.start);
  }
}

/** Mappings remembered after they were taken back, of each device. */
const HISTORY = 1024;

export class DeviceRecords {
  readonly device: Device;
  /** The operations under the checker: who knows what is stale. */
  ops: DmaOps;
  readonly live: Set<MappingRecord> = new Set();
  readonly reservations: Set<ReservationRecord> = new Set();
  readonly #byIova = new RangeIndex<IovaPiece>();
  /** A ring of what was unmapped. */
  readonly #history: MappingRecord[] = [];
  #oldest = 0;

  constructor(device: Device, ops: DmaOps) {
    this.device = device;
    this.ops = ops;
  }

  add(record: MappingRecord): void {
    this.live.add(record);
    for (const piece of record.iovaPieces) this.#byIova.add(piece);
  }

  remove(record: MappingRecord): void {
    this.live.delete(record);
    for (const piece of record.iovaPieces) this.#byIova.remove(piece);
    if (this.#history.length < HISTORY) {
      this.#history.push(record);
    } else {
      this.#history[this.#oldest] = record;
      this.#oldest = (this.#oldest + 1) % HISTORY;
    }
  }

  clear(): void {
    this.live.clear();
    this.reservations.clear();
    this.#byIova.clear();
    this.#history.length = 0;
    this.#oldest = 0;
  }

  /** Parts of live mappings with a byte in the range. */
  overlapping(start: number, end: number): readonly IovaPiece[] {
    return this.#byIova.overlapping(start, end);
  }

  /** Live mappings of this driver one of whose segments starts at `address`. */
  startingAt(address: Iova | number): readonly MappingRecord[] {
    const found: MappingRecord[] = [];
    this.findStartingAt(address, (record) => {
      found.push(record);
      return false;
    });
    return found;
  }

  /** The first of them that passes. One buffer can be mapped thousands of times at one address: the rest is not looked at. */
  findStartingAt(
    address: Iova | number,
    passes: (record: MappingRecord) => boolean,
  ): MappingRecord | undefined {
    return this.#byIova.findAt(
      address,
      ({ start, record }) => start === address && !record.isLeft && passes(record),
    )?.record;
  }

  /** What was unmapped last of all that was ever mapped at `address` (as far back as is remembered). */
  lastUnmappedAt(address: number): MappingRecord | undefined {
    const count = this.#history.length;
    for (let back = 1; back <= count; back++) {
      const record = this.#history[(this.#oldest + count - back) % count] as MappingRecord;
      if (record.iovaPieces.some(({ start, end }) => start <= address && address < end)) return record;
    }
    return undefined;
  }
}

/** Whether two lists have the same segments. */
export function isSameList(one: readonly DmaSegment[], other: readonly DmaSegment[]): boolean {
  return (
    one.length === other.length &&
    one.every(({ address, length }, i) => address === other[i]?.address && length === other[i]?.length)
  );
}

function piecesOf(
  record: MappingRecord,
  ranges: readonly { readonly address: number; readonly length: number }[],
): readonly IovaPiece[] {
  let offset = 0;
  return ranges.map(({ address, length }) => {
    const piece = { start: address, end: address + length, record, offset };
    offset += length;
    return piece;
  });
}
