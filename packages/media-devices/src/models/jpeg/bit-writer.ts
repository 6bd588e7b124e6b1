/** Bits of entropy-coded data, first bit highest, with the zero byte that must follow a 0xff (T.81 F.1.2.3). */
export class BitWriter {
  #bytes: number[] = [];
  #pending = 0;
  #pendingBits = 0;

  /** Appends the `count` (0..16) low bits of `value`. */
  put(value: number, count: number): void {
    this.#pending = (this.#pending << count) | (value & ((1 << count) - 1));
    this.#pendingBits += count;
    while (this.#pendingBits >= 8) {
      this.#pendingBits -= 8;
      const byte = (this.#pending >>> this.#pendingBits) & 0xff;
      this.#bytes.push(byte);
      if (byte === 0xff) this.#bytes.push(0);
    }
    this.#pending &= (1 << this.#pendingBits) - 1;
  }

  /** Fills the last byte with ones. */
  pad(): void {
    if (this.#pendingBits > 0) this.put(0x7f, 8 - this.#pendingBits);
  }

  /** The whole bytes so far; they are handed over once. */
  take(): Uint8Array {
    const taken = Uint8Array.from(this.#bytes);
    this.#bytes = [];
    return taken;
  }
}
