/** From samples to quantised coefficients: the 8x8 forward DCT (T.81 A.3.3) and quantisation (A.3.4). */
import { ZIGZAG } from './tables.ts';

/** cos(k * pi / 16) for k = 0..8, written out: an engine's own cosine may differ in the last digit. */
const COSINE: readonly number[] = [
  1, 0.9807852804032304, 0.9238795325112867, 0.8314696123025452, 0.7071067811865476, 0.5555702330196022,
  0.3826834323650898, 0.19509032201612825, 0,
];

/** BASIS[u * 8 + x]: weight of sample x in coefficient u. */
const BASIS: Float64Array = Float64Array.from({ length: 64 }, (_, i) => {
  const u = Math.floor(i / 8);
  const x = i % 8;
  return u === 0 ? 0.5 * (COSINE[4] as number) : 0.5 * cosine((2 * x + 1) * u);
});

/** Largest size of a coded AC coefficient of 8-bit samples (table F.2: ten bits). */
const AC_LIMIT = 1023;

const rowsDone: Float64Array = new Float64Array(64);

/**
 * Transforms and quantises a block.
 * @param samples 64 samples, level-shifted (-128..127), row by row
 * @param quantisation 64 divisors, row by row
 * @param into receives 64 coefficients in zigzag order, the first (DC) within -1024..1024, the others within +-1023
 */
export function transformBlock(
  samples: Float64Array,
  quantisation: readonly number[],
  into: Int32Array,
): void {
  for (let y = 0; y < 8; y++) {
    for (let u = 0; u < 8; u++) {
      let sum = 0;
      for (let x = 0; x < 8; x++) sum += (samples[y * 8 + x] as number) * (BASIS[u * 8 + x] as number);
      rowsDone[y * 8 + u] = sum;
    }
  }
  for (let i = 0; i < 64; i++) {
    const at = ZIGZAG[i] as number;
    const u = at % 8;
    const v = (at - u) / 8;
    let sum = 0;
    for (let y = 0; y < 8; y++) sum += (rowsDone[y * 8 + u] as number) * (BASIS[v * 8 + y] as number);
    const value = Math.round(sum / (quantisation[at] as number));
    into[i] = i === 0 ? value : Math.max(-AC_LIMIT, Math.min(AC_LIMIT, value));
  }
}

/** A standard table scaled to a quality of 1..100 the way libjpeg does, each divisor 1..255. */
export function scaleQuantisation(table: readonly number[], quality: number): readonly number[] {
  const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return table.map((divisor) => Math.max(1, Math.min(255, Math.floor((divisor * percent + 50) / 100))));
}

/** cos(n * pi / 16) for any n >= 0, from the first quadrant. */
function cosine(n: number): number {
  const turn = n % 32;
  const half = turn > 16 ? 32 - turn : turn;
  return half > 8 ? -(COSINE[16 - half] as number) : (COSINE[half] as number);
}
