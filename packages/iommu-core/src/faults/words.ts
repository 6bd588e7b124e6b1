/** Words and numbers of explanations. */
import { hex } from '@iommu-lab/machine';
import type { MappingRecord } from '../mapping/mapping-journal.ts';
import type { Protection } from '../protection.ts';

/** `0x00010000-0x00010fff`, both ends included. */
export function rangeText({ iova, sizeBytes }: { iova: number; sizeBytes: number }): string {
  return `${hex(iova)}-${hex(iova + sizeBytes - 1)}`;
}

/** The granule-sized page `iova` lies in, as a range. */
export function pageText(iova: number, granule: number): string {
  return rangeText({ iova: iova - (iova % granule), sizeBytes: granule });
}

/** A time or a span: `750 ns`, `12.500 us`, `3.250 ms`, `2.000 s`. */
export function timeText(ns: number): string {
  if (ns < 1000) return `${ns} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toFixed(3)} us`;
  if (ns < 1e9) return `${(ns / 1e6).toFixed(3)} ms`;
  return `${(ns / 1e9).toFixed(3)} s`;
}

/** A span up to an event: `2.000 us before ...`. */
export function agoText(ns: number, event: string): string {
  return ns === 0 ? `just before ${event}, in the same instant` : `${timeText(ns)} before ${event}`;
}

/** `read-only`, `write-only`, `read-write`. */
export function rightsText({ read, write }: Protection): string {
  if (read && write) return 'read-write';
  return write ? 'write-only' : 'read-only';
}

/** The label of whoever made a mapping, quoted. */
export function makerText({ by }: MappingRecord): string {
  return quoted(by);
}

export function quoted(label: string): string {
  return label.startsWith('(') ? label : `"${label}"`;
}

/** `1 byte`, `64 bytes`, `4 KiB`, `0x71040 bytes`. */
export function sizeText(bytes: number): string {
  if (bytes >= 0x100000 && bytes % 0x100000 === 0) return `${bytes / 0x100000} MiB`;
  if (bytes >= 0x400 && bytes % 0x400 === 0) return `${bytes / 0x400} KiB`;
  if (bytes >= 0x400) return `${hex(bytes, 1)} bytes`;
  return bytes === 1 ? '1 byte' : `${bytes} bytes`;
}
