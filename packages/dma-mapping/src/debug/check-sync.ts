/**
 * What is looked at when part of a mapping changes hands: classes 17 to 22 (kernel/dma/debug.c, check_sync), and stores that the
 * hand-over destroys. Where two classes name one mistake (19 with 20 or 21) the one that says more is reported.
 */
import { hex } from '@iommu-lab/machine';
import type { DmaDirection, DmaSegment } from '../dma-ops.ts';
import type { DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import {
  type CallSite,
  type DeviceRecords,
  type IovaPiece,
  isSameList,
  type MappingRecord,
} from './records.ts';

/** To whom the bytes go. */
export type NewOwner = 'cpu' | 'device';

/** What is to be synced after all. */
export interface SyncRange {
  readonly address: number;
  readonly sizeBytes: number;
  readonly direction: DmaDirection;
}

export class SyncChecks {
  readonly #state: DebugState;
  readonly #records: DeviceRecords;

  constructor(state: DebugState, records: DeviceRecords) {
    this.#state = state;
    this.#records = records;
  }

  /** @returns the part of the range that is mapped, in its own direction; undefined: nothing is */
  checkRange(
    owner: NewOwner,
    address: number,
    sizeBytes: number,
    direction: DmaDirection,
    site: CallSite,
  ): SyncRange | undefined {
    const end = address + Math.max(sizeBytes, 1);
    const touched = this.#records.overlapping(address, end).filter(({ record }) => !record.isLeft);
    const piece = bestFit(touched, address, end, direction);
    const where = `syncs ${sizeBytes} bytes at ${hex(address)}`;
    const report = (kind: DmaErrorKind, what: string): void =>
      this.#state.book.add({
        kind,
        device: this.#records.device.name,
        what: `${where}, ${what}`,
        culprit: site,
        mapping: piece?.record ?? this.#records.lastUnmappedAt(address),
        iova: address,
        sizeBytes,
      });
    if (piece === undefined) {
      report('sync-not-mapped', 'where nothing is mapped (any more)');
      return undefined;
    }
    const { record } = piece;
    if (record.parts.type === 'coherent') {
      report('sync-not-mapped', 'which is coherent memory and needs none');
      return undefined;
    }
    const start = Math.max(address, piece.start);
    const last = Math.min(end, piece.end);
    if (sizeBytes > record.parts.sizeBytes) report('sync-too-long', 'more than the whole mapping');
    else if (start !== address || last !== end) report('sync-not-mapped', 'which reaches out of the mapping');
    const right = this.#direction(owner, record, direction, report);
    // An address says nothing about which mapping is meant: all that lie there in this direction change hands.
    for (const other of touched) {
      if (other !== piece && other.record.parts.direction !== record.parts.direction) continue;
      const [from, to] = [Math.max(start, other.start), Math.min(last, other.end)];
      if (from < to) this.#handOver(owner, other.record, other.offset + from - other.start, to - from, site);
    }
    return { address: start, sizeBytes: last - start, direction: right };
  }

  /** @returns the mapping of the list, and the direction to sync it in; undefined: there is none */
  checkList(
    owner: NewOwner,
    segments: readonly DmaSegment[],
    direction: DmaDirection,
    site: CallSite,
  ): { readonly record: MappingRecord; readonly direction: DmaDirection } | undefined {
    const address = segments[0]?.address ?? Number.NaN;
    const found = this.#records.startingAt(address);
    const record = bestList(found, segments, direction);
    const where = Number.isNaN(address)
      ? 'syncs a list without segments'
      : `syncs the list at ${hex(address)}`;
    const report = (kind: DmaErrorKind, what: string): void =>
      this.#state.book.add({
        kind,
        device: this.#records.device.name,
        what: `${where}, ${what}`,
        culprit: site,
        mapping: record ?? this.#records.lastUnmappedAt(address),
        ...(Number.isNaN(address) ? {} : { iova: address }),
      });
    if (record === undefined || record.parts.type === 'coherent') {
      report(
        'sync-not-mapped',
        record === undefined ? 'which is not mapped (any more)' : 'which is coherent memory',
      );
      return undefined;
    }
    const made = record.parts.segments.length;
    if (made !== segments.length) {
      report('sync-wrong-count', `of whose ${made} segments only ${segments.length} are given`);
    }
    const right = this.#direction(owner, record, direction, report);
    // Lists with the same segments in the same direction cannot be told apart: all of them change hands.
    for (const other of found) {
      const { parts } = other;
      const isTwin =
        isList(other) &&
        parts.direction === record.parts.direction &&
        isSameList(parts.segments, record.parts.segments);
      if (other === record || isTwin) this.#handOver(owner, other, 0, bytesOf(other), site);
    }
    return { record, direction: right };
  }

  #direction(
    owner: NewOwner,
    { parts }: MappingRecord,
    direction: DmaDirection,
    report: (kind: DmaErrorKind, what: string) => void,
  ): DmaDirection {
    if (fits(parts.direction, direction)) return direction;
    const what = `for the ${owner === 'cpu' ? 'CPU' : 'device'} as ${direction}, which it is not`;
    if (owner === 'cpu' && parts.direction === 'to-device') report('sync-for-cpu-of-to-device', what);
    else if (owner === 'device' && parts.direction === 'from-device') {
      report('sync-for-device-of-from-device', what);
    } else report('sync-wrong-direction', what);
    return parts.direction;
  }

  #handOver(owner: NewOwner, record: MappingRecord, offset: number, sizeBytes: number, site: CallSite): void {
    const { ownership } = record.parts;
    if (ownership === undefined) return;
    if (owner === 'device') {
      ownership.toDevice(offset, offset + sizeBytes);
      return;
    }
    const lost = ownership.toCpu(offset, offset + sizeBytes);
    if (lost !== undefined) reportLostStores(this.#state, record, lost, site, 'syncs for the CPU again');
  }
}

/** The CPU's stores to a mapping that come to nothing now. */
export function reportLostStores(
  state: DebugState,
  mapping: MappingRecord,
  lost: { readonly start: number; readonly end: number },
  culprit: CallSite,
  how: string,
): void {
  const sizeBytes = lost.end - lost.start;
  state.book.add({
    kind: 'missing-sync-for-device',
    device: mapping.parts.device.name,
    what: `${how}, and ${sizeBytes} bytes that the CPU had stored at offset ${lost.start} were not synced for the device: they are lost`,
    culprit,
    mapping,
    storedBy: mapping.parts.ownership?.firstStore,
    sizeBytes,
  });
}

/** A bidirectional mapping may be synced in any direction. */
function fits(mapped: DmaDirection, synced: DmaDirection): boolean {
  return mapped === 'bidirectional' || mapped === synced;
}

/** All bytes of its segments; memory that was allocated in whole pages has more than was asked for. */
function bytesOf({ iovaPieces }: MappingRecord): number {
  const last = iovaPieces.at(-1);
  return last === undefined ? 0 : last.offset + last.end - last.start;
}

/** The list that is synced: one with these segments, where there is one. What is no list is taken only for want of any. */
function bestList(
  found: readonly MappingRecord[],
  segments: readonly DmaSegment[],
  direction: DmaDirection,
): MappingRecord | undefined {
  let best: MappingRecord | undefined;
  let bestScore = -1;
  for (const record of found) {
    const { parts } = record;
    const isCountRight = parts.segments.length === segments.length;
    const score =
      8 * Number(isList(record)) +
      4 * Number(isSameList(parts.segments, segments)) +
      2 * Number(isCountRight && fits(parts.direction, direction)) +
      Number(parts.segments.length > 1);
    if (score <= bestScore) continue;
    best = record;
    bestScore = score;
  }
  return best;
}

function isList({ parts }: MappingRecord): boolean {
  return parts.type === 'sg' || parts.type === 'noncontiguous';
}

function bestFit(
  pieces: readonly IovaPiece[],
  start: number,
  end: number,
  direction: DmaDirection,
): IovaPiece | undefined {
  let best: IovaPiece | undefined;
  let bestScore = -1;
  for (const piece of pieces) {
    const score =
      4 * Number(piece.start <= start && end <= piece.end) +
      2 * Number(fits(piece.record.parts.direction, direction)) +
      Number(piece.start <= start);
    if (score <= bestScore) continue;
    best = piece;
    bestScore = score;
  }
  return best;
}
