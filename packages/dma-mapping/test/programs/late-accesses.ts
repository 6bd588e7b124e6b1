/**
 * Accesses through what has been unmapped. Strict: they fault. Deferred: until the flush they may go where they went, and nowhere
 * else.
 */
import type { Iova } from '@iommu-lab/machine';
import type { DmaSegment } from '../../src/index.ts';
import type { TestSystem } from '../support/system.ts';
import type { Buffer } from './buffer.ts';
import { pattern, type Step } from './steps.ts';
import { type IsMapped, meets } from './trespass.ts';
import type { Way } from './ways.ts';

const PAGE = 4096;
const REMEMBERED = 12;
/** What a late write leaves; as any other byte it is the buffer's. */
const SEED = 77;

interface Gone {
  readonly segments: readonly DmaSegment[];
  /** Undefined: registers, on which nothing is tried. */
  readonly buffer: Buffer | undefined;
  readonly atNs: number;
}

export class LateAccesses {
  readonly #system: TestSystem;
  readonly #way: Way;
  readonly #isMapped: IsMapped;
  /** Last first. */
  readonly #gone: Gone[] = [];

  constructor(system: TestSystem, way: Way, isMapped: IsMapped) {
    this.#system = system;
    this.#way = way;
    this.#isMapped = isMapped;
  }

  /** What has just been unmapped. */
  add(segments: readonly DmaSegment[], buffer?: Buffer): void {
    this.#gone.unshift({ segments, buffer, atNs: this.#system.world.clock.now });
    if (this.#gone.length > REMEMBERED) this.#gone.pop();
  }

  /** @returns whether there was something to try it on */
  run({ which, at, length, isWrite }: Extract<Step, { readonly kind: 'late-access' }>): boolean {
    const gone = this.#gone[which % (this.#gone.length || 1)];
    // Without an IOMMU nothing stands between the device and memory.
    if (gone === undefined || this.#way.path !== 'iommu') return gone !== undefined;
    const { buffer } = gone;
    if (buffer === undefined) return false;
    const from = at % buffer.size;
    const [part] = [...buffer.parts(from, buffer.size)];
    const [memory] = [...buffer.memoryParts(from, buffer.size)];
    if (part === undefined || memory === undefined) return false;
    const { address } = part;
    const size = Math.min(length, part.length, memory.length, PAGE - (address % PAGE));
    const isStale = this.#system.dma.isStale(address as Iova);
    const isDeferred = this.#way.invalidation === 'deferred' && this.#way.isUntrusted !== true;
    mustBe(isDeferred || !isStale, 'stale where nothing is deferred');
    const page = address - (address % PAGE);
    if (this.#lastIn(page) !== gone) return true;
    if (this.#isMapped(page)) {
      mustBe(!isStale, 'a live address is stale');
      return true;
    }
    if (isWrite && buffer.isInArena) this.#write(buffer, from, address, size, isStale);
    else this.#read(memory.address, address, size, isStale);
    return true;
  }

  timePassed(): void {
    const { dma, world } = this.#system;
    for (const gone of this.#gone) {
      if (world.clock.now - gone.atNs < 10_000_000) continue;
      for (const { address } of gone.segments) {
        const isLast = this.#lastIn(address - (address % PAGE)) === gone;
        mustBe(!isLast || !dma.isStale(address), 'stale after the timeout');
      }
    }
  }

  flushed(): void {
    for (const { segments } of this.#gone) {
      for (const { address } of segments) {
        mustBe(!this.#system.dma.isStale(address), 'stale after a flush');
      }
    }
  }

  /** Addresses are used again: what was there last counts. */
  #lastIn(page: number): Gone | undefined {
    return this.#gone.find(({ segments }) => meets(segments, page));
  }

  #read(memory: number, address: number, size: number, isStale: boolean): void {
    const seen = this.#system.deviceRead(address, size);
    if (seen === undefined) return;
    mustBe(isStale, 'a read through what is not mapped and not stale');
    const there = this.#system.seenRead(memory, size);
    mustBe(
      seen.every((byte, i) => byte === there[i]),
      'a late read of other memory',
    );
  }

  #write(buffer: Buffer, from: number, address: number, size: number, isStale: boolean): void {
    if (this.#system.deviceWrite(address, pattern(size, SEED)) === 'faulted') return;
    mustBe(isStale, 'a write through what is not mapped and not stale');
    // Whether the CPU sees it is up to its cache: nobody's bytes until somebody writes them.
    buffer.model.forget(buffer.places, false, from, from + size);
  }
}

function mustBe(isSo: boolean, otherwise: string): void {
  if (!isSo) throw new Error(otherwise);
}
