/** Copies as the CPU makes them: through its cache, in pieces. */
import { assert, hex, LabError, type MemoryPort, offsetBy, type PhysAddr } from '@iommu-lab/machine';

const PIECE_BYTES = 4096;
const ZEROS = new Uint8Array(PIECE_BYTES);

export class BounceCopy {
  /** Bytes copied so far. */
  copiedBytes = 0;
  readonly #cpu: MemoryPort;
  readonly #piece = new Uint8Array(PIECE_BYTES);

  constructor(cpu: MemoryPort) {
    this.#cpu = cpu;
  }

  /** @throws LabError EFAULT when one of the two is no memory; a part may have been copied. */
  copy(from: PhysAddr, to: PhysAddr, sizeBytes: number): void {
    for (let done = 0; done < sizeBytes; done += PIECE_BYTES) {
      const piece = firstBytes(this.#piece, sizeBytes - done);
      if (!this.#cpu.read(offsetBy(from, done), piece) || !this.#cpu.write(offsetBy(to, done), piece)) {
        throw new LabError('EFAULT', `no memory to copy from ${hex(from)} to ${hex(to)}`, {
          from,
          to,
          sizeBytes,
        });
      }
      this.copiedBytes += piece.length;
    }
  }

  /** Zeroes slots but for `keptBytes` at `offset`: of earlier users and of neighbours nothing is left. */
  zeroAround(start: number, sizeBytes: number, offset: number, keptBytes: number): void {
    this.#zero(start, offset);
    this.#zero(start + offset + keptBytes, sizeBytes - offset - keptBytes);
  }

  #zero(start: number, sizeBytes: number): void {
    for (let done = 0; done < sizeBytes; done += PIECE_BYTES) {
      const isWritten = this.#cpu.write((start + done) as PhysAddr, firstBytes(ZEROS, sizeBytes - done));
      assert(isWritten, 'a pool is memory');
    }
  }
}

function firstBytes(bytes: Uint8Array, count: number): Uint8Array {
  return count < bytes.length ? bytes.subarray(0, count) : bytes;
}
