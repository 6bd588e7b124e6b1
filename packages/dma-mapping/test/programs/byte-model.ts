/** Flat memory that knows no cache and no address translation: what each byte must be for whoever may look at it. */

export const UNKNOWN = -1;

export class ByteModel {
  /** UNKNOWN where the API leaves it open. */
  readonly value: Int16Array;
  /** The same where what a device did not write stays as it was: with a bounce buffer, or for a device that snoops. */
  readonly kept: Int16Array;

  constructor(sizeBytes: number) {
    this.value = new Int16Array(sizeBytes);
    this.kept = new Int16Array(sizeBytes);
  }

  set(places: Int32Array, from: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const place = places[from + i] as number;
      this.value[place] = bytes[i] as number;
      this.kept[place] = bytes[i] as number;
    }
  }

  /** @param isKept whether it can be known all the same where nothing is lost */
  forget(places: Int32Array, isKept: boolean, from: number = 0, end: number = places.length): void {
    for (let i = from; i < end; i++) {
      const place = places[i] as number;
      this.value[place] = UNKNOWN;
      if (!isKept) this.kept[place] = UNKNOWN;
    }
  }
}
