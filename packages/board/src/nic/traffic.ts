/** The packets: their bytes follow from a number, so that both ends know them without having talked. */

/** Kinds of packet; the same number is another packet in each. */
export type NicDirection = 'in' | 'out';

const SALT: Readonly<Record<NicDirection, number>> = { in: 0x2545f491, out: 0x61c88647 };

/** The bytes of packet `number` of that direction. */
export function packetBytes(
  seed: number,
  direction: NicDirection,
  number: number,
  length: number,
): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  // A multiplicative hash of number and place (Knuth): cheap, and no two packets or places are alike.
  const start = Math.imul(number + 1, 0x9e3779b1) ^ SALT[direction] ^ seed;
  for (let i = 0; i < words.length; i++) {
    const mixed = Math.imul(start ^ Math.imul(i + 1, 0x85ebca6b), 0xc2b2ae35);
    words[i] = mixed ^ (mixed >>> 15);
  }
  return new Uint8Array(words.buffer, 0, length);
}

/** Whether two packets are the same, byte for byte. */
export function isSamePacket(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
