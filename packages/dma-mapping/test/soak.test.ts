/**
 * A machine that runs for long: several CPUs map, unmap, allocate and free in any order while time passes, with deferred
 * invalidation. When all is given back nothing is left. `pnpm campaign` makes a million calls of it.
 */
import { describe, expect, test } from '@jest/globals';
import { isLabError, physAddr, Random } from '@iommu-lab/machine';
import type { DmaDirection, DmaOps, SgEntry } from '../src/index.ts';
import { campaignSettings } from './support/campaign-settings.ts';
import { ARENA, ARENA_BYTES, makeSystem, type SystemOptions, type TestSystem } from './support/system.ts';

const CPUS = 4;
const MOST = 400;
const PAGE = 4096;
const { seed, runs } = campaignSettings();
const CALLS = runs === undefined ? 10_000 : runs * 10;

interface SoakedWay {
  readonly name: string;
  readonly options: SystemOptions;
  /** What calls are refused with, now and then. */
  readonly refusals: readonly string[];
}

const WAYS: readonly SoakedWay[] = [
  { name: 'deferred', options: { invalidation: 'deferred' }, refusals: [] },
  {
    name: 'deferred, in so little IOVA space that it runs out',
    options: {
      invalidation: 'deferred',
      apertureLast: 0x17ffff,
      flushQueue: { entries: 16, timeoutNs: 1_000_000 },
    },
    refusals: ['ENOSPC'],
  },
  {
    name: 'strict, not trusted, with a pool that is full at times',
    options: { isUntrusted: true, bounce: { sizeBytes: 0x40000 } },
    refusals: ['ENOMEM'],
  },
];

describe.each(WAYS)('$name', ({ options, refusals }) => {
  test(`${CALLS} calls leave no mapping, no IOVA and no memory behind`, () => {
    const system = makeSystem({ ...options, path: 'iommu', cpus: CPUS, moreFramesBytes: 0x100000, seed });
    system.events.length = 0;
    const freeBytes = system.frames.freeBytes;
    const soak = new Soak(system);
    for (let i = 0; i < CALLS; i++) soak.call();
    soak.giveAllBack();

    const { dma, device, layer, iommu, pool, frames } = system;
    layer.flush(device);
    expect(dma.mappedBytes).toBe(0);
    expect(iommu.defaultDomainOf(device)?.mappings()).toEqual([]);
    expect(layer.iovaReport(device)).toMatchObject({ allocatedBytes: 0 });
    expect(frames.freeBytes).toBe(freeBytes);
    expect(pool?.occupancy.usedSlots ?? 0).toBe(0);
    // What cannot be served empties the magazines, and then the space is in one piece again.
    expect(dma.tryAllocIova(ARENA, 2 ** 33)).toBeUndefined();
    const {
      holes,
      cachedBytes,
      largestHoleBytes,
      freeBytes: freeIovas,
    } = layer.iovaReport(device)?.fragmentation ?? {};
    expect({ holes, cachedBytes, largestHoleBytes }).toEqual({
      holes: 1,
      cachedBytes: 0,
      largestHoleBytes: freeIovas,
    });
    // All of it has been tried.
    expect([...soak.done].sort()).toEqual(['alloc', 'list', 'reserve', 'single', 'take back', 'time']);
    expect([...soak.refusals]).toEqual(refusals);
    const longestNs = layer.iovaReport(device)?.deferred?.longestNs ?? 0;
    expect(longestNs).toBeLessThanOrEqual(options.flushQueue?.timeoutNs ?? 10_000_000);
  });
});

class Soak {
  readonly done = new Set<string>();
  /** Codes of calls that wanted for something. */
  readonly refusals = new Set<string>();
  readonly #system: TestSystem;
  readonly #dma: DmaOps;
  readonly #random = new Random(seed);
  readonly #out: (() => void)[] = [];

  constructor(system: TestSystem) {
    this.#system = system;
    this.#dma = system.dma;
  }

  call(): void {
    const random = this.#random;
    this.#system.world.currentCpu = random.integer(0, CPUS - 1);
    if (random.oneIn(50)) {
      this.#system.world.clock.advance(random.integer(1, 3_000_000));
      this.#system.events.length = 0;
      this.done.add('time');
      return;
    }
    const isFull = this.#out.length >= MOST;
    // More is taken than given back, until there is much of it: then it is the other way round for a while.
    if (this.#out.length > 0 && (isFull || random.oneIn(2))) {
      this.#giveBack(random.integer(0, this.#out.length - 1));
      return;
    }
    try {
      this.#take();
    } catch (error) {
      if (!isLabError(error) || !['ENOMEM', 'ENOSPC'].includes(error.code)) throw error;
      this.refusals.add(error.code);
      for (let i = 0; i < 20 && this.#out.length > 0; i++) this.#giveBack(this.#out.length - 1);
    }
  }

  giveAllBack(): void {
    while (this.#out.length > 0) this.#giveBack(this.#out.length - 1);
  }

  #giveBack(index: number): void {
    const [undo] = this.#out.splice(index, 1);
    undo?.();
    this.done.add('take back');
  }

  #take(): void {
    const random = this.#random;
    const direction = (['to-device', 'from-device', 'bidirectional'] as const)[
      random.integer(0, 2)
    ] as DmaDirection;
    switch (random.integer(0, 9)) {
      case 0:
        return this.#alloc(direction);
      case 1:
        return this.#reserve(direction);
      case 2:
      case 3:
      case 4:
        return this.#list(direction);
      default:
        return this.#single(direction);
    }
  }

  #single(direction: DmaDirection): void {
    const { address, length } = this.#piece(5 * PAGE);
    const iova = this.#dma.mapSingle(address, length, direction);
    this.#out.push(() => this.#dma.unmapSingle(iova, length, direction));
    this.done.add('single');
  }

  #list(direction: DmaDirection): void {
    const entries = Array.from({ length: this.#random.integer(1, 6) }, () => this.#piece(2 * PAGE));
    const segments = this.#dma.mapSg(entries, direction);
    this.#out.push(() => this.#dma.unmapSg(segments, direction));
    this.done.add('list');
  }

  #alloc(direction: DmaDirection): void {
    const size = this.#random.integer(1, 3 * PAGE);
    switch (this.#random.integer(0, 2)) {
      case 0: {
        const buffer = this.#dma.allocCoherent(size);
        this.#out.push(() => this.#dma.freeCoherent(buffer));
        break;
      }
      case 1: {
        const buffer = this.#dma.allocNoncoherent(size, direction);
        this.#out.push(() => this.#dma.freeNoncoherent(buffer));
        break;
      }
      default: {
        const buffer = this.#dma.allocNoncontiguous(size, direction);
        this.#out.push(() => this.#dma.freeNoncontiguous(buffer));
      }
    }
    this.done.add('alloc');
  }

  #reserve(direction: DmaDirection): void {
    const { address, length } = this.#piece(3 * PAGE);
    const reservation = this.#dma.tryAllocIova(address, length);
    if (reservation === undefined) return;
    let linked = 0;
    this.#out.push(() => this.#dma.destroyIova(reservation, linked, direction));
    this.#dma.linkIova(reservation, address, 0, length, direction);
    linked = length;
    this.done.add('reserve');
  }

  #piece(most: number): SgEntry {
    const length = this.#random.integer(1, most);
    return { address: physAddr(ARENA + this.#random.integer(0, ARENA_BYTES - length)), length };
  }
}
