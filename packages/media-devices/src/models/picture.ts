/** A picture as a device addresses it: one range of lines. */
import { extract, type Register, type RegisterFile } from '@iommu-lab/machine';

/** Bytes of a pixel: R, G, B, X in memory order. */
export const PIXEL_BYTES = 4;

export interface Picture {
  readonly base: number;
  readonly strideBytes: number;
  /** Pixels, 1 or more. */
  readonly width: number;
  /** Lines, 1 or more. */
  readonly height: number;
}

/** Address of the pixel at (x, y). */
export function pixelAddress(picture: Picture, x: number, y: number): number {
  return picture.base + y * picture.strideBytes + x * PIXEL_BYTES;
}

/** Whether a 32-bit device can address the picture: not empty, aligned, lines apart, below 4 GiB. */
export function isAddressable(picture: Picture): boolean {
  const { base, strideBytes, width, height } = picture;
  return (
    width > 0 &&
    height > 0 &&
    base % PIXEL_BYTES === 0 &&
    strideBytes % PIXEL_BYTES === 0 &&
    strideBytes >= width * PIXEL_BYTES &&
    pixelAddress(picture, width, height - 1) <= 0x1_0000_0000
  );
}

/** The size a register holds. */
export function readSize(
  file: RegisterFile,
  register: Register<'WIDTH' | 'HEIGHT'>,
): { readonly width: number; readonly height: number } {
  const word = file.get(register);
  return { width: extract(word, register.fields.WIDTH), height: extract(word, register.fields.HEIGHT) };
}
