import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  BUS_ERROR,
  CpuCache,
  PhysicalMemory,
  physAddr,
  SLAVE_ERROR,
  World,
  type CacheGeometry,
  type MemoryPort,
} from '../src/index.ts';

const BASE = 0x4000_0000;
const QUIET: CacheGeometry = { lineBytes: 64, sets: 16, ways: 2, evictOneIn: 0, speculateOneIn: 0 };

function setup(geometry: Partial<CacheGeometry> = {}, seed = 1) {
  const world = new World({ seed });
  const memory = new PhysicalMemory([{ base: BASE, sizeBytes: 0x10000 }]);
  return { world, memory, cache: new CpuCache(world, memory, { ...QUIET, ...geometry }) };
}

const A = physAddr(BASE + 0x100);
/** The first of the bytes that `refusing` refuses. */
const REFUSED = physAddr(BASE + 0x1000);

/** A cache to which memory refuses everything from REFUSED on; `memory` itself has it. */
function refusing() {
  const { world, memory } = setup();
  const isRefused = (address: number, sizeBytes: number) =>
    address + sizeBytes > REFUSED && address < BASE + 0x10000;
  const port: MemoryPort = {
    read: (address, into) => !isRefused(address, into.length) && memory.read(address, into),
    write: (address, from) => !isRefused(address, from.length) && memory.write(address, from),
    read32: (address) => (isRefused(address, 4) ? SLAVE_ERROR : memory.read32(address)),
    write32: (address, value) => !isRefused(address, 4) && memory.write32(address, value),
  };
  return { memory, cache: new CpuCache(world, port, QUIET) };
}

describe('without disturbance', () => {
  test('a store stays invisible to memory until its line is cleaned', () => {
    const { memory, cache } = setup();
    cache.cached.write32(A, 0xdead_beef);
    expect(memory.read32(A)).toBe(0);
    expect(cache.cached.read32(A)).toBe(0xdead_beef);
    expect(cache.lineState(A)).toBe('dirty');
    cache.clean(A, 4);
    expect(memory.read32(A)).toBe(0xdead_beef);
    expect(cache.lineState(A)).toBe('clean');
  });

  test('a clean line goes on showing old data after memory changed, until it is invalidated', () => {
    const { memory, cache } = setup();
    cache.cached.read32(A);
    memory.write32(A, 7);
    expect(cache.cached.read32(A)).toBe(0);
    cache.invalidate(A, 4);
    expect(cache.cached.read32(A)).toBe(7);
  });

  test('invalidate loses a store that was not cleaned', () => {
    const { memory, cache } = setup();
    cache.cached.write32(A, 1);
    cache.invalidate(A, 4);
    expect(cache.cached.read32(A)).toBe(0);
    expect(memory.read32(A)).toBe(0);
  });

  test('cleanInvalidate writes back and drops', () => {
    const { memory, cache } = setup();
    cache.cached.write32(A, 1);
    cache.cleanInvalidate(A, 4);
    expect(memory.read32(A)).toBe(1);
    expect(cache.lineState(A)).toBe('absent');
  });

  test('maintenance treats a line that sticks out of the range whole: a neighbour in it is lost, too', () => {
    const { cache } = setup();
    cache.cached.write32(physAddr(A + 60), 1);
    cache.cached.write32(physAddr(A + 64), 2);
    cache.invalidate(A, 1);
    expect(cache.cached.read32(physAddr(A + 60))).toBe(0);
    expect(cache.cached.read32(physAddr(A + 64))).toBe(2);
  });

  test('maintenance of an empty range does nothing', () => {
    const { cache } = setup();
    cache.cached.write32(A, 1);
    cache.invalidate(A, 0);
    expect(cache.lineState(A)).toBe('dirty');
  });

  test('the uncached view goes past the cache both ways', () => {
    const { cache } = setup();
    cache.cached.write32(A, 1);
    expect(cache.uncached.read32(A)).toBe(0);
    cache.uncached.write32(A, 2);
    expect(cache.cached.read32(A)).toBe(1);
  });

  test('the snooped view sees a dirty line, across a line boundary too', () => {
    const { memory, cache } = setup();
    memory.write32(physAddr(A + 64), 0x2222_2222);
    cache.cached.write32(physAddr(A + 60), 0x1111_1111);
    const into = new Uint8Array(8);
    expect(cache.snooped.read(physAddr(A + 60), into)).toBe(true);
    expect([...into]).toEqual([0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x22, 0x22]);
    expect(memory.read32(physAddr(A + 60))).toBe(0);
  });

  test('a snooped write drops the line, keeps its other dirty bytes, and the CPU sees it', () => {
    const { memory, cache } = setup();
    cache.cached.write32(A, 1);
    cache.cached.write32(physAddr(A + 4), 2);
    cache.snooped.write32(A, 3);
    expect(cache.lineState(A)).toBe('absent');
    expect(cache.cached.read32(A)).toBe(3);
    expect(memory.read32(physAddr(A + 4))).toBe(2);
  });

  test('a full set writes the line it gives up back', () => {
    const { memory, cache } = setup({ sets: 1, ways: 1 });
    cache.cached.write32(A, 1);
    cache.cached.read32(physAddr(A + 64));
    expect(memory.read32(A)).toBe(1);
    expect(cache.lineState(A)).toBe('absent');
  });

  test('a hole answers with a bus error, and a store that runs into one stores nothing', () => {
    const { cache } = setup();
    const last = physAddr(BASE + 0x10000 - 4);
    expect(cache.cached.read32(physAddr(0x1000))).toBe(-1);
    expect(cache.cached.write32(physAddr(0x1000), 1)).toBe(false);
    expect(cache.cached.write(last, new Uint8Array(200).fill(9))).toBe(false);
    expect(cache.cached.read32(last)).toBe(0);
  });

  test.each(['cached', 'uncached', 'snooped'] as const)(
    'the %s view says of memory that refuses that it does, and not that it is a hole; a store that meets it stores nothing',
    (name) => {
      const { cache, memory } = refusing();
      const view = cache[name];
      const last = physAddr(REFUSED - 4);
      memory.write32(last, 0x600d);
      memory.write32(REFUSED, 0x600d);
      expect(view.read32(REFUSED)).toBe(SLAVE_ERROR);
      expect(view.read32(physAddr(0x1000))).toBe(BUS_ERROR);
      expect(view.write32(REFUSED, 1)).toBe(false);
      expect(view.write(physAddr(REFUSED - 2), Uint8Array.of(1, 2, 3, 4))).toBe(false);
      expect([cache.cached.read32(last), cache.cached.read32(REFUSED)]).toEqual([0x600d, SLAVE_ERROR]);
      cache.cleanInvalidate(last, 8);
      expect([memory.read32(last), memory.read32(REFUSED)]).toEqual([0x600d, 0x600d]);
    },
  );

  test.each([
    { lineBytes: 48 },
    { lineBytes: 8 },
    { lineBytes: 512 },
    { sets: 3 },
    { ways: 0 },
    { ways: 1.5 },
  ])('the geometry %o is refused', (geometry) => {
    expect(() => setup(geometry)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('disturbance by seed', () => {
  /** Stores 64 words in lines of their own and tells which reached memory without a clean. */
  function leaked(seed: number): number[] {
    const { memory, cache } = setup({ evictOneIn: 3 }, seed);
    const reached: number[] = [];
    for (let i = 0; i < 64; i++) cache.cached.write32(physAddr(BASE + (i % 16) * 64), i + 1);
    for (let i = 0; i < 16; i++) if (memory.read32(physAddr(BASE + i * 64)) !== 0) reached.push(i);
    return reached;
  }

  test('lines are evicted unasked, and again with the same seed', () => {
    const first = leaked(5);
    expect(first.length).toBeGreaterThan(0);
    expect(leaked(5)).toEqual(first);
    expect([1, 2, 3, 4].some((seed) => leaked(seed).join() !== first.join())).toBe(true);
  });

  /** A driver that invalidates before the device writes, and not after: does the CPU read old bytes? */
  function staleReads(invalidateAfter: boolean): number {
    const { memory, cache } = setup({ speculateOneIn: 4 }, 3);
    let stale = 0;
    for (let round = 1; round <= 50; round++) {
      cache.cached.read32(A);
      cache.invalidate(A, 64);
      for (let i = 0; i < 8; i++) cache.cached.read32(physAddr(BASE + 0x800));
      memory.write32(A, round);
      if (invalidateAfter) cache.invalidate(A, 64);
      if (cache.cached.read32(A) !== round) stale++;
    }
    return stale;
  }

  test('a missing invalidate after a device wrote shows as stale data', () => {
    expect(staleReads(false)).toBeGreaterThan(0);
    expect(staleReads(true)).toBe(0);
  });
});

describe('property: against a two-level oracle', () => {
  const LINES = 64;
  const SIZE = LINES * 16;
  type Step =
    | { op: 'load' | 'clean' | 'invalidate' | 'flush' | 'snoop'; at: number; size: number }
    | { op: 'store' | 'device' | 'uncached' | 'snoopStore'; at: number; size: number; byte: number };
  const range = { at: fc.integer({ min: 0, max: SIZE - 1 }), size: fc.integer({ min: 1, max: 70 }) };
  const step: fc.Arbitrary<Step> = fc
    .oneof(
      fc.record({ op: fc.constantFrom('load', 'clean', 'invalidate', 'flush', 'snoop'), ...range }),
      fc.record({
        op: fc.constantFrom('store', 'store', 'device', 'uncached', 'snoopStore'),
        ...range,
        byte: fc.integer({ min: 0, max: 255 }),
      }),
    )
    .map((s) => ({ ...s, size: Math.min(s.size, SIZE - s.at) }) as Step);

  test('every view reads what memory and the lines on top of it say', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        // As many ways as lines in play: nothing is ever replaced, so the oracle needs no policy.
        const { memory, cache } = setup({ lineBytes: 16, sets: 1, ways: LINES });
        const below = new Uint8Array(SIZE);
        const lines = new Map<number, { bytes: Uint8Array; dirty: boolean }>();
        const line = (n: number) => {
          const found = lines.get(n) ?? { bytes: below.slice(n * 16, n * 16 + 16), dirty: false };
          lines.set(n, found);
          return found;
        };
        const top = (at: number) => lines.get(at >> 4)?.bytes[at & 15] ?? (below[at] as number);
        const touched = (s: Step) =>
          [...lines.keys()].filter((n) => n >= s.at >> 4 && n <= (s.at + s.size - 1) >> 4);
        const writeBack = (n: number) => {
          const l = line(n);
          if (l.dirty) below.set(l.bytes, n * 16);
          l.dirty = false;
        };
        for (const s of steps) {
          const address = physAddr(BASE + s.at);
          const bytes = Array.from({ length: s.size }, (_, i) => s.at + i);
          const data = new Uint8Array(s.size).fill('byte' in s ? s.byte : 0);
          if (s.op === 'load') {
            for (const at of bytes) line(at >> 4);
            cache.cached.read(address, data);
            expectBytes(data, Uint8Array.from(bytes.map(top)));
          } else if (s.op === 'snoop') {
            cache.snooped.read(address, data);
            expectBytes(data, Uint8Array.from(bytes.map(top)));
          } else if (s.op === 'store') {
            for (const at of bytes) {
              const l = line(at >> 4);
              l.bytes[at & 15] = s.byte;
              l.dirty = true;
            }
            cache.cached.write(address, data);
          } else if (s.op === 'clean') {
            touched(s).forEach(writeBack);
            cache.clean(address, s.size);
          } else if (s.op === 'invalidate') {
            touched(s).forEach((n) => lines.delete(n));
            cache.invalidate(address, s.size);
          } else if (s.op === 'flush' || s.op === 'snoopStore') {
            touched(s).forEach((n) => {
              writeBack(n);
              lines.delete(n);
            });
            if (s.op === 'flush') cache.cleanInvalidate(address, s.size);
            else {
              below.set(data, s.at);
              cache.snooped.write(address, data);
            }
          } else {
            below.set(data, s.at);
            if (s.op === 'device') memory.write(address, data);
            else cache.uncached.write(address, data);
          }
          const whole = new Uint8Array(SIZE);
          memory.read(physAddr(BASE), whole);
          expectBytes(whole, below);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** As `toEqual` on the bytes, and many times faster on long arrays. */
function expectBytes(got: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.from(got).toString('hex')).toBe(Buffer.from(expected).toString('hex'));
}
