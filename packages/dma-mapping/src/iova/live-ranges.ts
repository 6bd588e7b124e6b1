/** Which ranges are out, and with which size: an open-addressed table, since a Map allocates for frames above 2^31. */

/** A slot: the range's first frame (0: nobody), its size. */
const SLOT = 2;
const FIRST_SLOTS = 64;
const WORD = 2 ** 32;

/** Sizes by first frame, which is above 0. */
export class LiveRanges {
  #slots: Float64Array<ArrayBuffer> = new Float64Array(SLOT * FIRST_SLOTS);
  /** Slots less one; they are a power of two. */
  #mask: number = FIRST_SLOTS - 1;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Notes a range that is not there. */
  add(frame: number, size: number): void {
    if (2 * this.#count > this.#mask) this.#grow();
    this.#count++;
    this.#put(frame, size);
  }

  /** Forgets a range if it is there with that size. @returns whether it was. */
  remove(frame: number, size: number): boolean {
    if (frame === 0) return false;
    const slots = this.#slots;
    const mask = this.#mask;
    let slot = slotOf(frame, mask);
    while (slots[SLOT * slot] !== frame) {
      if (slots[SLOT * slot] === 0) return false;
      slot = (slot + 1) & mask;
    }
    if (slots[SLOT * slot + 1] !== size) return false;
    this.#count--;
    // Who stands behind and would have liked to stand here, or before, moves up: no marks of the dead are left.
    for (let next = (slot + 1) & mask; slots[SLOT * next] !== 0; next = (next + 1) & mask) {
      const wanted = slotOf(slots[SLOT * next] as number, mask);
      if (((next - wanted) & mask) < ((next - slot) & mask)) continue;
      slots[SLOT * slot] = slots[SLOT * next] as number;
      slots[SLOT * slot + 1] = slots[SLOT * next + 1] as number;
      slot = next;
    }
    slots[SLOT * slot] = 0;
    return true;
  }

  #put(frame: number, size: number): void {
    let slot = slotOf(frame, this.#mask);
    while (this.#slots[SLOT * slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[SLOT * slot] = frame;
    this.#slots[SLOT * slot + 1] = size;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(2 * old.length);
    this.#mask = old.length - 1;
    for (let i = 0; i < old.length; i += SLOT) {
      if (old[i] !== 0) this.#put(old[i] as number, old[i + 1] as number);
    }
  }
}

/** Frames side by side, and multiples of a power of two, spread. */
function slotOf(frame: number, mask: number): number {
  let hash = frame >>> 0;
  if (frame >= WORD) hash ^= Math.imul(Math.floor(frame / WORD), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) & mask;
}
