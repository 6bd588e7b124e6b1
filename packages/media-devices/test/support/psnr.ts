/** Peak signal-to-noise ratio in dB over R, G and B of two RGBX pictures of equal size. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) throw new Error('pictures of different size');
  let squares = 0;
  let count = 0;
  for (let i = 0; i < a.length; i++) {
    if (i % 4 === 3) continue;
    squares += ((a[i] as number) - (b[i] as number)) ** 2;
    count++;
  }
  return squares === 0 ? Infinity : 10 * Math.log10(255 ** 2 / (squares / count));
}
