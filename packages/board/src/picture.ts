/** Pictures as the media devices move them: rows of pixels, four bytes each in memory order R, G, B, X. */
import { LabError } from '@iommu-lab/machine';

/** R, G, B and X, a byte each. */
export const BYTES_PER_PIXEL = 4;

/** Pixels row by row from the upper left, without padding. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** `width * height * 4` bytes; X is 255 in what the project makes and is not looked at. */
  readonly pixels: Uint8Array;
}

/** @throws LabError EINVAL when the size is not positive or does not fit the pixels. */
export function picture(width: number, height: number, pixels: Uint8Array): Picture {
  if (!(width > 0 && height > 0) || pixels.length !== width * height * BYTES_PER_PIXEL) {
    throw new LabError('EINVAL', `a picture of ${width}x${height} needs 4 bytes a pixel`, {
      width,
      height,
      bytes: pixels.length,
    });
  }
  return { width, height, pixels };
}

/** The picture turned clockwise. */
export function rotate(source: Picture, degrees: 0 | 90 | 180 | 270): Picture {
  const { width, height } = source;
  const isUpright = degrees === 0 || degrees === 180;
  const turned = {
    width: isUpright ? width : height,
    height: isUpright ? height : width,
    pixels: new Uint8Array(source.pixels.length),
  };
  const from = new Uint32Array(source.pixels.slice().buffer);
  const to = new Uint32Array(turned.pixels.buffer);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [tx, ty] =
        degrees === 90
          ? [height - 1 - y, x]
          : degrees === 180
            ? [width - 1 - x, height - 1 - y]
            : degrees === 270
              ? [y, width - 1 - x]
              : [x, y];
      to[ty * turned.width + tx] = from[y * width + x] as number;
    }
  }
  return turned;
}

/** How many pixels differ in R, G or B; every pixel when the sizes do. */
export function differingPixels(a: Picture, b: Picture): number {
  if (a.width !== b.width || a.height !== b.height) return Math.max(a.width * a.height, b.width * b.height);
  let count = 0;
  for (let i = 0; i < a.pixels.length; i += BYTES_PER_PIXEL) {
    const isEqual =
      a.pixels[i] === b.pixels[i] &&
      a.pixels[i + 1] === b.pixels[i + 1] &&
      a.pixels[i + 2] === b.pixels[i + 2];
    if (!isEqual) count++;
  }
  return count;
}
