/**
 * A descriptor of the NIC's rings: 16 bytes, little-endian. Ours, in the shape that NICs of every maker share (address, length,
 * status; the device writes it back when it is done with the buffer).
 *
 * | bytes | meaning                                                                        |
 * |-------|--------------------------------------------------------------------------------|
 * | 0..7  | address of the buffer as the device drives it                                  |
 * | 8..11 | length: of the buffer, or of the packet to send; written back: bytes received  |
 * | 12..15| status: 0 the device's, 1 written back, the driver's                           |
 */
export const DESCRIPTOR_BYTES = 16;

export interface NicDescriptor {
  readonly address: number;
  readonly length: number;
  readonly isDone: boolean;
}

const DONE = 1;
const WORD = 2 ** 32;

/** Its 16 bytes. */
export function encodeDescriptor({ address, length, isDone }: NicDescriptor): Uint8Array {
  const bytes = new Uint8Array(DESCRIPTOR_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, address % WORD, true);
  view.setUint32(4, Math.floor(address / WORD), true);
  view.setUint32(8, length, true);
  view.setUint32(12, isDone ? DONE : 0, true);
  return bytes;
}

/** What 16 bytes say. */
export function decodeDescriptor(bytes: Uint8Array): NicDescriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, DESCRIPTOR_BYTES);
  return {
    address: view.getUint32(4, true) * WORD + view.getUint32(0, true),
    length: view.getUint32(8, true),
    isDone: view.getUint32(12, true) === DONE,
  };
}
