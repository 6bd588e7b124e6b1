/**
 * Classes 15 and 16: cache lines that two mappings share while devices write them (kernel/dma/debug.c,
 * active_cacheline_insert). The kernel looks at the first line of each mapping; here it is every line.
 */
import { alignDown, alignUp, hex } from '@iommu-lab/machine';
import type { DebugState } from './debug-state.ts';
import type { MappingRecord } from './records.ts';

/** Mappings of one line beyond the first that are still thought to be meant (ACTIVE_CACHELINE_MAX_OVERLAP). */
const MAX_OVERLAPS = 7;

/** Compares a new mapping with those that are there. */
export function reportOverlaps(state: DebugState, record: MappingRecord): void {
  if (!record.isDeviceWritten) return;
  const { device, made, ignoresSharedLines } = record.parts;
  const reported = new Set<MappingRecord>();
  for (const piece of record.bufferPieces) {
    const start = alignDown(piece.start, state.lineBytes);
    const end = alignUp(piece.end, state.lineBytes);
    const sharing = state.buffers.overlapping(start, end).filter(({ record: r }) => r.isDeviceWritten);
    if (sharing.length === 0) continue;
    for (const other of sharing) {
      const theirs = other.record.parts;
      if (reported.has(other.record)) continue;
      // No maintenance, no harm: both devices snoop, or the caller does it himself.
      if (device.isDmaCoherent && theirs.device.isDmaCoherent) continue;
      // No device writes the line; the CPU copies each buffer back, and no more than its bytes.
      const isApart = piece.end <= other.start || other.end <= piece.start;
      if (isApart && record.parts.isBounced === true && theirs.isBounced === true) continue;
      if (record.parts.skipsCpuSync || (ignoresSharedLines && theirs.ignoresSharedLines)) continue;
      reported.add(other.record);
      const line = alignDown(Math.max(piece.start, other.start), state.lineBytes);
      state.book.add({
        kind: 'overlapping-line',
        device: device.name,
        what: `maps memory in the cache line at ${hex(line)}, which another mapping has for a device to write`,
        culprit: made,
        mapping: record,
        other: other.record,
        address: line,
        sizeBytes: state.lineBytes,
      });
    }
    const line = sharing.length > MAX_OVERLAPS ? fullLine(sharing, start, state.lineBytes) : undefined;
    if (line === undefined) continue;
    state.book.add({
      kind: 'too-many-overlaps',
      device: device.name,
      what: `maps the cache line at ${hex(line)} for writing for the ${MAX_OVERLAPS + 2}th time`,
      culprit: made,
      mapping: record,
      other: (sharing[0] as (typeof sharing)[number]).record,
      address: line,
      sizeBytes: state.lineBytes,
    });
    return;
  }
}

/** A line that one more mapping makes one too many; a line that had too many before was reported then. */
function fullLine(
  sharing: readonly { readonly start: number; readonly end: number }[],
  from: number,
  lineBytes: number,
): number | undefined {
  const starts = sharing.map(({ start }) => Math.max(from, alignDown(start, lineBytes)));
  for (const line of new Set(starts)) {
    const deep = sharing.filter(({ start, end }) => start < line + lineBytes && end > line).length;
    if (deep === MAX_OVERLAPS + 1) return line;
  }
  return undefined;
}
