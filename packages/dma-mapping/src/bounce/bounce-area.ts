/**
 * The slots of one area of a pool, and the search among them. Each slot knows how far its run goes: how many free slots begin
 * here, within the segment, or how many are left of the mapping that has it (the free-run list of kernel/dma/swiotlb.c:
 * swiotlb_search_pool_area, swiotlb_release_slots). So the search steps over runs, not slots; and over segments that are known
 * to have no run long enough, so that it is quick also when there is little left, and that in pieces.
 */
import { assert } from '@iommu-lab/machine';
import { lowBits, SEGMENT_SLOTS, SLOT_BYTES, type SlotNeed } from './slot-need.ts';

const SEGMENT_LOG2: number = Math.log2(SEGMENT_SLOTS);
/** A stride of more slots than any area has. */
const LONGEST_STRIDE = 2 ** 30;

export class BounceArea {
  /** Address of the first slot. */
  readonly base: number;
  readonly slots: number;
  /** By slot: n > 0 free ones begin here; n < 0: -n are left of the mapping that has it. */
  readonly #runs: Int16Array;
  /** By slot where a buffer's first byte is: slots of the mapping in front of it. */
  readonly #padding: Uint8Array;
  /** By segment: no free run is longer; and whether one is that long, which is found out when it is worth it. */
  readonly #longest: Uint8Array;
  readonly #isLongestExact: Uint8Array;
  #free: number;
  /** Where the next search starts. */
  #next = 0;

  /** @param base a multiple of the size of a slot */
  constructor(base: number, slots: number) {
    this.base = base;
    this.slots = slots;
    this.#free = slots;
    this.#runs = new Int16Array(slots);
    this.#padding = new Uint8Array(slots);
    const segments = Math.ceil(slots / SEGMENT_SLOTS);
    this.#longest = new Uint8Array(segments).fill(SEGMENT_SLOTS);
    this.#isLongestExact = new Uint8Array(segments);
    for (let start = 0; start < slots; start += SEGMENT_SLOTS) {
      const end = Math.min(start + SEGMENT_SLOTS, slots);
      this.#endFreeRun(end, 0, end - start);
    }
  }

  /** Takes slots for `need`, and writes there which. @returns false when none fit; nothing is taken then */
  take(need: SlotNeed): boolean {
    const index = this.#free < need.slots ? -1 : this.#find(need);
    if (index < 0) return false;
    const { slots } = need;
    for (let i = 0; i < slots; i++) this.#runs[index + i] = i - slots;
    // Free slots in front of it now begin a shorter run.
    this.#endFreeRun(index, 0, 0);
    this.#isLongestExact[index >> SEGMENT_LOG2] = 0;
    this.#free -= slots;
    const paddingSlots = Math.floor(need.offset / SLOT_BYTES);
    this.#padding[index + paddingSlots] = paddingSlots;
    this.#next = index + slots < this.slots ? index + slots : 0;
    need.start = this.base + index * SLOT_BYTES;
    return true;
  }

  /** Address of the first slot of the mapping whose buffer is at `address`. */
  startOf(address: number): number {
    return this.base + this.#firstOf(address) * SLOT_BYTES;
  }

  /** Slots of the mapping whose buffer is at `address`. */
  slotsOf(address: number): number {
    return -(this.#runs[this.#firstOf(address)] as number);
  }

  /** Frees the slots of the mapping whose buffer is at `address`, and joins the free runs around them. @returns how many */
  release(address: number): number {
    const first = this.#firstOf(address);
    const slots = -(this.#runs[first] as number);
    assert(slots > 0, 'slots are released by who took them');
    const end = first + slots;
    const isBehindFree = end % SEGMENT_SLOTS !== 0 && end < this.slots && (this.#runs[end] as number) > 0;
    const run = this.#endFreeRun(end, isBehindFree ? (this.#runs[end] as number) : 0, slots);
    const segment = first >> SEGMENT_LOG2;
    if (run > (this.#longest[segment] as number)) this.#longest[segment] = run;
    this.#free += slots;
    return slots;
  }

  /**
   * The `freed` slots before `end`, and the free ones of the segment before those, begin a run that `behind` free slots from
   * `end` on belong to.
   * @returns its length
   */
  #endFreeRun(end: number, behind: number, freed: number): number {
    const runs = this.#runs;
    const segmentStart = (end - freed) & -SEGMENT_SLOTS;
    let count = behind;
    let i = end - 1;
    for (; i >= end - freed; i--) runs[i] = ++count;
    for (; i >= segmentStart && (runs[i] as number) > 0; i--) runs[i] = ++count;
    return count;
  }

  #find(need: SlotNeed): number {
    const { strideBytes } = need;
    const phase = lowBits(need.phaseBytes - this.base, strideBytes - 1) / SLOT_BYTES;
    const last = Math.min(this.slots - need.slots, Math.floor((need.highestStart - this.base) / SLOT_BYTES));
    if (phase > last) return -1;
    const stride = Math.min(strideBytes / SLOT_BYTES, LONGEST_STRIDE);
    const found = this.#scan(need, this.#next, last, phase, stride);
    return found >= 0 ? found : this.#scan(need, 0, Math.min(last, this.#next - 1), phase, stride);
  }

  /** The first fit that starts in `[from, last]`; -1 when there is none. */
  #scan(need: SlotNeed, from: number, last: number, phase: number, stride: number): number {
    const strideMask = stride - 1;
    let index = from + ((phase - from) & strideMask);
    while (index <= last) {
      const segment = index >> SEGMENT_LOG2;
      const next = (segment + 1) << SEGMENT_LOG2;
      if ((this.#longest[segment] as number) >= need.slots) {
        const found = this.#scanSegment(need, index, Math.min(last, next - 1), phase, strideMask);
        if (found >= 0) return found;
        this.#findLongest(segment);
      }
      index = next + ((phase - next) & strideMask);
    }
    return -1;
  }

  #scanSegment(need: SlotNeed, from: number, last: number, phase: number, strideMask: number): number {
    const { slots } = need;
    const runs = this.#runs;
    let index = from;
    while (index <= last) {
      const run = runs[index] as number;
      if (run < 0) index -= run;
      else if (run < slots) index += run;
      else if (this.#isWithinBoundary(need, index)) return index;
      else index++;
      index += (phase - index) & strideMask;
    }
    return -1;
  }

  #findLongest(segment: number): void {
    if (this.#isLongestExact[segment] === 1) return;
    const runs = this.#runs;
    const end = Math.min((segment + 1) << SEGMENT_LOG2, this.slots);
    let longest = 0;
    for (let index = segment << SEGMENT_LOG2; index < end;) {
      const run = runs[index] as number;
      if (run > longest) longest = run;
      index += Math.abs(run);
    }
    this.#longest[segment] = longest;
    this.#isLongestExact[segment] = 1;
  }

  #isWithinBoundary({ offset, sizeBytes, boundaryMask, busOffset }: SlotNeed, index: number): boolean {
    const address = this.base + index * SLOT_BYTES + offset + busOffset;
    return lowBits(address, boundaryMask) + sizeBytes <= boundaryMask + 1;
  }

  #firstOf(address: number): number {
    const index = Math.floor((address - this.base) / SLOT_BYTES);
    return index - (this.#padding[index] as number);
  }
}
