/**
 * A baseline JPEG encoder (ITU-T T.81): sequential DCT, 8-bit samples, standard tables, Y Cb Cr of full resolution.
 * It takes a picture in strips of eight lines and gives the stream in pieces, as an engine with small buffers would.
 */
import { BitWriter } from './bit-writer.ts';
import { EOI, jpegHeader } from './header.ts';
import {
  CHROMINANCE_AC,
  CHROMINANCE_DC,
  CHROMINANCE_QUANTISATION,
  type HuffmanTable,
  LUMINANCE_AC,
  LUMINANCE_DC,
  LUMINANCE_QUANTISATION,
} from './tables.ts';
import { scaleQuantisation, transformBlock } from './transform.ts';

/** Lines of a strip. */
export const STRIP_LINES = 8;

interface Component {
  readonly quantisation: readonly number[];
  readonly dc: CodeBook;
  readonly ac: CodeBook;
  /** DC of the block before, to which the next one's difference is coded. */
  lastDc: number;
}

export class JpegEncoder {
  /** What stands before the first strip. */
  readonly header: Uint8Array;
  readonly #width: number;
  readonly #bits: BitWriter = new BitWriter();
  readonly #components: readonly Component[];
  readonly #samples: readonly Float64Array[] = [0, 1, 2].map(() => new Float64Array(64));
  readonly #coefficients: Int32Array = new Int32Array(64);

  /** @param width, height 1..65535; @param quality 1..100 as libjpeg counts */
  constructor(width: number, height: number, quality: number) {
    const luminance = scaleQuantisation(LUMINANCE_QUANTISATION, quality);
    const chrominance = scaleQuantisation(CHROMINANCE_QUANTISATION, quality);
    this.#width = width;
    this.header = jpegHeader(width, height, luminance, chrominance);
    const chroma = { quantisation: chrominance, dc: codeBook(CHROMINANCE_DC), ac: codeBook(CHROMINANCE_AC) };
    this.#components = [
      { quantisation: luminance, dc: codeBook(LUMINANCE_DC), ac: codeBook(LUMINANCE_AC), lastDc: 0 },
      { ...chroma, lastDc: 0 },
      { ...chroma, lastDc: 0 },
    ];
  }

  /**
   * Codes the next strip.
   * @param pixels `lineCount` lines of R,G,B,X, close together; below the last line it is repeated
   * @returns what the stream gains by it
   */
  encodeStrip(pixels: Uint8Array, lineCount: number): Uint8Array {
    for (let x = 0; x < this.#width; x += 8) {
      this.#loadBlock(pixels, x, lineCount);
      this.#components.forEach((component, i) => {
        transformBlock(this.#samples[i] as Float64Array, component.quantisation, this.#coefficients);
        this.#codeBlock(component);
      });
    }
    return this.#bits.take();
  }

  /** Ends the stream. @returns its last bytes */
  finish(): Uint8Array {
    this.#bits.pad();
    return Uint8Array.from([...this.#bits.take(), ...EOI]);
  }

  /** Colours to Y Cb Cr (JFIF), level-shifted; beyond the picture's edge its last pixel is repeated. */
  #loadBlock(pixels: Uint8Array, left: number, lineCount: number): void {
    const [ys, cbs, crs] = this.#samples as [Float64Array, Float64Array, Float64Array];
    for (let i = 0; i < 64; i++) {
      const x = Math.min(left + (i % 8), this.#width - 1);
      const y = Math.min(Math.floor(i / 8), lineCount - 1);
      const at = (y * this.#width + x) * 4;
      const r = pixels[at] as number;
      const g = pixels[at + 1] as number;
      const b = pixels[at + 2] as number;
      ys[i] = 0.299 * r + 0.587 * g + 0.114 * b - 128;
      cbs[i] = -0.168736 * r - 0.331264 * g + 0.5 * b;
      crs[i] = 0.5 * r - 0.418688 * g - 0.081312 * b;
    }
  }

  /** Huffman coding of one block (F.1.2). */
  #codeBlock(component: Component): void {
    const { dc, ac } = component;
    const block = this.#coefficients;
    const direct = block[0] as number;
    this.#putSymbol(dc, 0, direct - component.lastDc);
    component.lastDc = direct;
    let zeros = 0;
    for (let i = 1; i < 64; i++) {
      const value = block[i] as number;
      if (value === 0) {
        zeros++;
        continue;
      }
      for (; zeros > 15; zeros -= 16) this.#putSymbol(ac, 15, 0);
      this.#putSymbol(ac, zeros, value);
      zeros = 0;
    }
    if (zeros > 0) this.#putSymbol(ac, 0, 0);
  }

  /** The code of a run of zeros and a value's size in bits, then the value: one less if it is negative. */
  #putSymbol(book: CodeBook, zeros: number, value: number): void {
    const size = 32 - Math.clz32(Math.abs(value));
    const symbol = zeros * 16 + size;
    this.#bits.put(book.codes[symbol] as number, book.lengths[symbol] as number);
    this.#bits.put(value < 0 ? value - 1 : value, size);
  }
}

/** Code and its length in bits, by symbol. */
interface CodeBook {
  readonly codes: Uint16Array;
  readonly lengths: Uint8Array;
}

/** Codes of one length are consecutive; the first of the next length is twice the next free one (annex C). */
function codeBook(table: HuffmanTable): CodeBook {
  const book = { codes: new Uint16Array(256), lengths: new Uint8Array(256) };
  let code = 0;
  let next = 0;
  table.counts.forEach((count, i) => {
    for (let n = 0; n < count; n++) {
      const symbol = table.symbols[next++] as number;
      book.codes[symbol] = code++;
      book.lengths[symbol] = i + 1;
    }
    code *= 2;
  });
  return book;
}
