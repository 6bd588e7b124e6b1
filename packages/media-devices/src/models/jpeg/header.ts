/** The segments before the entropy-coded data (T.81 annex B, JFIF 1.01). */
import {
  CHROMINANCE_AC,
  CHROMINANCE_DC,
  type HuffmanTable,
  LUMINANCE_AC,
  LUMINANCE_DC,
  ZIGZAG,
} from './tables.ts';

const SOI = [0xff, 0xd8];
/** Ends the stream. */
export const EOI: readonly number[] = [0xff, 0xd9];

/** SOI to SOS: three components Y, Cb, Cr, none subsampled. Quantisation tables row by row. */
export function jpegHeader(
  width: number,
  height: number,
  luminance: readonly number[],
  chrominance: readonly number[],
): Uint8Array {
  return Uint8Array.from([
    ...SOI,
    ...segment(0xe0, [0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]),
    ...segment(0xdb, [0, ...ZIGZAG.map((at) => luminance[at] as number)]),
    ...segment(0xdb, [1, ...ZIGZAG.map((at) => chrominance[at] as number)]),
    ...segment(0xc0, [8, ...word(height), ...word(width), 3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1]),
    ...huffmanSegment(0x00, LUMINANCE_DC),
    ...huffmanSegment(0x10, LUMINANCE_AC),
    ...huffmanSegment(0x01, CHROMINANCE_DC),
    ...huffmanSegment(0x11, CHROMINANCE_AC),
    ...segment(0xda, [3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]),
  ]);
}

/** A marker segment; its length counts itself. */
function segment(marker: number, body: readonly number[]): readonly number[] {
  return [0xff, marker, ...word(body.length + 2), ...body];
}

/** @param classAndId table class (0 DC, 1 AC) in the high half, destination in the low one */
function huffmanSegment(classAndId: number, table: HuffmanTable): readonly number[] {
  return segment(0xc4, [classAndId, ...table.counts, ...table.symbols]);
}

function word(value: number): readonly number[] {
  return [value >>> 8, value & 0xff];
}
