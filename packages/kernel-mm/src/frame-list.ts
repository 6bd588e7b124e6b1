/**
 * Which frames are free, by number. Every operation but the search for a run takes constant time: each zone keeps its
 * free frames in an unordered array, and each frame knows its place there. Drawing a random place is a shuffle that is
 * done as far as it is needed.
 */
import { assert } from '@iommu-lab/machine';

/** Frames that serve single allocations first, and frames that serve runs first. */
export type Zone = 'singles' | 'runs';

const TAKEN = -1;

interface ZoneList {
  readonly frames: Uint32Array;
  count: number;
  /** No frame of the zone below this one is free. */
  lowest: number;
}

export class FrameList {
  readonly #lists: Readonly<Record<Zone, ZoneList>>;
  /** Place of a free frame in its zone's list, or TAKEN. */
  readonly #place: Int32Array;
  readonly #isForRuns: Uint8Array;

  constructor(frames: number) {
    this.#place = new Int32Array(frames).fill(TAKEN);
    this.#isForRuns = new Uint8Array(frames);
    this.#lists = {
      singles: { frames: new Uint32Array(frames), count: 0, lowest: 0 },
      runs: { frames: new Uint32Array(frames), count: 0, lowest: 0 },
    };
  }

  get count(): number {
    return this.#lists.singles.count + this.#lists.runs.count;
  }

  /** No frame below this one is free. */
  get lowestHint(): number {
    return Math.min(this.#lowestOf('singles'), this.#lowestOf('runs'));
  }

  /** Frames from `start` up to `end`, exclusive, are free and belong to `zone` from now on. */
  addRange(start: number, end: number, zone: Zone): void {
    this.#isForRuns.fill(zone === 'runs' ? 1 : 0, start, end);
    for (let frame = start; frame < end; frame++) this.add(frame);
  }

  has(frame: number): boolean {
    return this.#place[frame] !== TAKEN;
  }

  /** The first frame of `[start, end)` that is not free. */
  firstTaken(start: number, end: number): number | undefined {
    for (let frame = start; frame < end; frame++) if (!this.has(frame)) return frame;
    return undefined;
  }

  add(frame: number): void {
    const list = this.#listOf(frame);
    list.frames[list.count] = frame;
    this.#place[frame] = list.count++;
    list.lowest = Math.min(list.lowest, frame);
  }

  take(frame: number): void {
    const list = this.#listOf(frame);
    const place = this.#place[frame] as number;
    assert(place !== TAKEN, 'a frame is taken once');
    const moved = list.frames[--list.count] as number;
    list.frames[place] = moved;
    this.#place[moved] = place;
    this.#place[frame] = TAKEN;
  }

  /** Takes the frame at a place that `draw` picks among `count`. */
  takeSingle(draw: (count: number) => number): number | undefined {
    const list = this.#lists.singles.count > 0 ? this.#lists.singles : this.#lists.runs;
    if (list.count === 0) return undefined;
    const frame = list.frames[draw(list.count)] as number;
    this.take(frame);
    return frame;
  }

  /** Takes the lowest free frame of the zone for singles, or of the other when that is empty. */
  takeLowestSingle(): number | undefined {
    const frame = this.#lowestOf(this.#lists.singles.count > 0 ? 'singles' : 'runs');
    if (frame >= this.#place.length) return undefined;
    this.take(frame);
    return frame;
  }

  /** The lowest free frame of a zone; past the end when there is none. */
  #lowestOf(zone: Zone): number {
    const list = this.#lists[zone];
    const isOther = zone === 'runs' ? 0 : 1;
    if (list.count === 0) return this.#place.length;
    while (!this.has(list.lowest) || this.#isForRuns[list.lowest] === isOther) list.lowest++;
    return list.lowest;
  }

  #listOf(frame: number): ZoneList {
    return this.#isForRuns[frame] === 1 ? this.#lists.runs : this.#lists.singles;
  }
}
