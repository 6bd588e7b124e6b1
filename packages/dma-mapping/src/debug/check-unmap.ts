/**
 * What is looked at when memory is taken back: classes 1 to 8 (kernel/dma/debug.c, check_unmap and bucket_find_exact).
 *
 * Of several mappings at one address (a buffer mapped directly more than once) the one that fits best is meant. Where none
 * fits exactly the kernel takes none and says "not mapped"; here the best is taken, and what does not fit is reported.
 */
import { hex } from '@iommu-lab/machine';
import { DMA_MAPPING_ERROR, type DmaDirection, type DmaSegment } from '../dma-ops.ts';
import type { DebugState } from './debug-state.ts';
import type { DmaErrorKind } from './error-kinds.ts';
import {
  type CallSite,
  type DeviceRecords,
  isSameList,
  type MappingRecord,
  type MappingType,
} from './records.ts';

/** An unmap or free, as the driver called it. */
export interface TakeBackCall {
  readonly type: MappingType;
  readonly address: number;
  readonly sizeBytes: number;
  /** Undefined where the call has none (coherent memory). */
  readonly direction: DmaDirection | undefined;
  /** Of a scatter list. */
  readonly segments?: readonly DmaSegment[];
  /** Of an allocation: whose handle it is, if anybody's. */
  readonly handleOf?: MappingRecord | undefined;
  /** Where the handle says that the memory is. */
  readonly memory?: number | undefined;
  readonly site: CallSite;
}

export class TakeBackChecks {
  readonly #state: DebugState;
  readonly #records: DeviceRecords;

  constructor(state: DebugState, records: DeviceRecords) {
    this.#state = state;
    this.#records = records;
  }

  /** Reports what is wrong with the call. @returns the mapping that is to be taken back, as it was made; undefined: none */
  check(call: TakeBackCall): MappingRecord | undefined {
    const { handleOf } = call;
    const isLiveHandle = handleOf !== undefined && this.#records.live.has(handleOf);
    const record = isLiveHandle ? handleOf : this.#bestFit(call, handleOf);
    if (record === undefined || record.parts.type === 'linked') {
      if (record === undefined) this.#reportNothingThere(call);
      else this.#report('unmap-wrong-function', call, record, typeText(call, record));
      return undefined;
    }
    this.#compare(call, record);
    return record;
  }

  #bestFit(call: TakeBackCall, handleOf: MappingRecord | undefined): MappingRecord | undefined {
    // A handle that was freed names that buffer, and not what lies there now.
    if (handleOf !== undefined) return undefined;
    const { type, address, sizeBytes, direction } = call;
    const isExact = (record: MappingRecord): boolean =>
      record.parts.sizeBytes === sizeBytes &&
      record.parts.type === type &&
      record.parts.direction === direction &&
      record.address === address &&
      sizeFits(call, record);
    const exact = this.#records.findStartingAt(address, isExact);
    if (exact !== undefined) return exact;
    let best: MappingRecord | undefined;
    let bestScore = -1;
    for (const record of this.#records.startingAt(address)) {
      const { parts } = record;
      const score =
        Number(parts.type === type) +
        Number(parts.direction === direction) +
        Number(sizeFits(call, record)) +
        Number(countFits(call, record)) +
        // Of two that fit alike, the one that starts there.
        Number(record.address === address) / 2;
      if (score <= bestScore) continue;
      best = record;
      bestScore = score;
    }
    return best;
  }

  #compare(call: TakeBackCall, record: MappingRecord): void {
    const { parts } = record;
    const { type, direction } = call;
    let isWrong = false;
    const report = (kind: DmaErrorKind, what: string): void => {
      isWrong = true;
      this.#report(kind, call, record, what);
    };
    const isSameType = parts.type === type;
    // The size of a list and of one of its segments say nothing about each other.
    const isListed = parts.type === 'sg' || type === 'sg';
    if (!isSameType) report('unmap-wrong-function', typeText(call, record));
    if (isSameType && !countFits(call, record)) {
      const [given, made] = [call.segments?.length ?? 0, parts.segments.length];
      report('unmap-wrong-count', `unmaps ${given} segment(s) of a list that was mapped as ${made}`);
    } else if (!sizeFits(call, record) && (isSameType || !isListed)) {
      report(
        'unmap-wrong-size',
        `takes back ${call.sizeBytes} bytes at ${hex(call.address)}, where ${parts.sizeBytes} were given`,
      );
    } else if (isSameType && !handleFits(call, record)) {
      report('free-wrong-handle', `frees ${hex(call.address)} with a handle that is not its own`);
    }
    if (isSameType && direction !== undefined && direction !== parts.direction) {
      report('unmap-wrong-direction', `takes back ${direction} what was given ${parts.direction}`);
    }
    if (record.isErrorUnchecked) {
      this.#report(
        'map-error-unchecked',
        call,
        record,
        `unmaps ${hex(call.address)}, and mappingError() was never asked about it`,
      );
    }
    record.wasTakenBackWrongly = isWrong;
  }

  #reportNothingThere(call: TakeBackCall): void {
    const { address, handleOf } = call;
    if (address === DMA_MAPPING_ERROR) {
      this.#report(
        'unmap-of-error-value',
        call,
        undefined,
        'unmaps DMA_MAPPING_ERROR, the value of a map that failed',
      );
      return;
    }
    const before = handleOf ?? this.#records.lastUnmappedAt(address);
    const around = handleOf === undefined ? this.#records.overlapping(address, address + 1)[0] : undefined;
    if (around !== undefined) {
      const { record, start } = around;
      const what = record.isLeft
        ? `unmaps ${hex(address)}, which an earlier driver left mapped`
        : `unmaps ${hex(address)}, which lies ${address - start} bytes into a mapping`;
      this.#report('unmap-not-mapped', call, record, what);
    } else if (before === undefined) {
      const what = Number.isNaN(address)
        ? 'unmaps a list without segments'
        : `unmaps ${hex(address)}, where nothing is mapped`;
      this.#report('unmap-not-mapped', call, undefined, what);
    } else if (!before.wasTakenBackWrongly || address === before.address) {
      this.#report('unmap-not-mapped', call, before, `unmaps ${hex(address)} again`);
    }
  }

  #report(kind: DmaErrorKind, call: TakeBackCall, mapping: MappingRecord | undefined, what: string): void {
    const { address, sizeBytes, site } = call;
    const where = Number.isNaN(address) ? {} : { iova: address, sizeBytes };
    const device = this.#records.device.name;
    this.#state.book.add({ kind, device, what, culprit: site, mapping, ...where });
  }
}

function typeText(call: TakeBackCall, { parts }: MappingRecord): string {
  return `takes back ${hex(call.address)} as ${call.type}, which was given as ${parts.type}`;
}

function sizeFits(call: TakeBackCall, { parts }: MappingRecord): boolean {
  if (call.segments === undefined) return parts.sizeBytes === call.sizeBytes;
  return isSameList(parts.segments, call.segments);
}

function countFits(call: TakeBackCall, { parts }: MappingRecord): boolean {
  return call.segments === undefined || call.segments.length === parts.segments.length;
}

/** The kernel compares CPU addresses; coherent memory has none here but the handle itself. */
function handleFits(call: TakeBackCall, record: MappingRecord): boolean {
  const { buffer, entries } = record.parts;
  return (
    buffer === undefined ||
    call.handleOf === record ||
    (call.memory !== undefined && call.memory === entries[0]?.address)
  );
}
