/** What a program has seen, held against the model. */
import { type ByteModel, UNKNOWN } from './byte-model.ts';

/** Byte for byte; UNKNOWN where the API leaves it open. */
export type Transcript = readonly Int16Array[];

export class Looks {
  readonly seen: Int16Array[] = [];
  readonly #keepsUnwritten: boolean;

  /** @param keepsUnwritten whether bytes that a device was to write and did not are as they were */
  constructor(keepsUnwritten: boolean) {
    this.#keepsUnwritten = keepsUnwritten;
  }

  /**
   * @param isOpen 1 for bytes that may be anything
   * @throws Error at the first byte that is wrong
   */
  check(seen: Uint8Array, model: ByteModel, places: Int32Array, what: string, isOpen?: Uint8Array): void {
    const expected = this.#keepsUnwritten ? model.kept : model.value;
    const line = new Int16Array(seen.length);
    for (let i = 0; i < seen.length; i++) {
      const place = places[i] as number;
      const byte = isOpen?.[i] === 1 ? UNKNOWN : (expected[place] as number);
      if (byte !== UNKNOWN && byte !== seen[i]) {
        throw new Error(`${what}: byte ${i} of ${seen.length} is ${seen[i]}, not ${byte}`);
      }
      line[i] = isOpen?.[i] === 1 || model.value[place] === UNKNOWN ? UNKNOWN : (seen[i] as number);
    }
    this.seen.push(line);
  }
}

/** @throws Error where two ways have seen different bytes */
export function expectSame(a: Transcript, b: Transcript): void {
  if (a.length !== b.length) throw new Error(`${b.length} looks, not ${a.length}`);
  a.forEach((line, look) => {
    const other = b[look] as Int16Array;
    if (other.length !== line.length) throw new Error(`look ${look} is at ${other.length} bytes`);
    for (let i = 0; i < line.length; i++) {
      if (line[i] === other[i] || line[i] === UNKNOWN || other[i] === UNKNOWN) continue;
      throw new Error(`what is seen at look ${look}, byte ${i} is ${other[i]}, not ${line[i]}`);
    }
  });
}
