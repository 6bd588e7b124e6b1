/** The picture the camera sees when nobody brings one: nothing in it looks the same turned or mirrored. */
import { BYTES_PER_PIXEL, type Picture } from './picture.ts';

type Colour = readonly [number, number, number];

const BARS: readonly Colour[] = [
  [235, 235, 235],
  [235, 220, 30],
  [30, 210, 220],
  [40, 190, 60],
  [200, 50, 190],
  [210, 40, 40],
  [40, 60, 210],
];

/** A sky over a hill, a sun at the upper left, colour bars along the bottom, and a big F. */
export function testCard(width = 160, height = 120): Picture {
  const pixels = new Uint8Array(width * height * BYTES_PER_PIXEL);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [r, g, b] = colourAt(x / width, y / height);
      pixels.set([r, g, b, 255], (y * width + x) * BYTES_PER_PIXEL);
    }
  }
  return { width, height, pixels };
}

/** @param u, v position from 0 to 1, from the upper left */
function colourAt(u: number, v: number): Colour {
  if (v > 0.85) return BARS[Math.floor(u * BARS.length)] as Colour;
  if (isInsideF(u, v)) return [20, 20, 24];
  if ((u - 0.2) ** 2 + ((v - 0.22) * 0.75) ** 2 < 0.006) return [255, 214, 64];
  if (v > 0.62 - 0.18 * Math.sin(u * 3.4 + 0.4))
    return [Math.round(50 + 40 * u), Math.round(120 + 50 * v), 60];
  return [Math.round(90 + 60 * v), Math.round(150 + 60 * v), Math.round(215 + 35 * v)];
}

function isInsideF(u: number, v: number): boolean {
  const isStem = u > 0.56 && u < 0.64 && v > 0.2 && v < 0.78;
  const isTop = u > 0.56 && u < 0.86 && v > 0.2 && v < 0.31;
  const isMiddle = u > 0.56 && u < 0.77 && v > 0.42 && v < 0.53;
  return isStem || isTop || isMiddle;
}
