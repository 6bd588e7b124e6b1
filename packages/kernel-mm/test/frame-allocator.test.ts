import { describe, expect, test } from '@jest/globals';
import { physAddr, World, type PhysAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import { FrameAllocator } from '../src/index.ts';
import { BASE, codeOf, PAGE } from './setup.ts';

function make(frames: number, seed = 1, scatter = true) {
  const world = new World({ seed });
  return {
    world,
    frames: new FrameAllocator(world, [{ base: BASE, sizeBytes: frames * PAGE }], { scatter }),
  };
}

const take = (frames: FrameAllocator, count: number): PhysAddr[] =>
  Array.from({ length: count }, () => frames.allocate());

describe('single frames', () => {
  test('come scattered, in an order that repeats with the seed', () => {
    const order = take(make(1024).frames, 100);
    expect(take(make(1024).frames, 100)).toEqual(order);
    expect(take(make(1024, 2).frames, 100)).not.toEqual(order);
    const neighbours = order.filter((frame, i) => i > 0 && frame === (order[i - 1] as number) + PAGE);
    expect(neighbours.length).toBeLessThan(5);
  });

  test('come in ascending order when asked to', () => {
    const order = take(make(64, 1, false).frames, 4);
    expect(order.map((frame) => frame - (order[0] as number))).toEqual([0, PAGE, 2 * PAGE, 3 * PAGE]);
  });

  test.each([true, false])('each once, all of them, then ENOMEM (scatter %p)', (scatter) => {
    const { frames } = make(64, 1, scatter);
    const all = take(frames, 64);
    expect(new Set(all).size).toBe(64);
    expect(Math.min(...all)).toBe(BASE);
    expect([frames.freeBytes, frames.totalBytes]).toEqual([0, 64 * PAGE]);
    expect(codeOf(() => frames.allocate())).toBe('ENOMEM');
    frames.free(all[10] as PhysAddr);
    expect(frames.allocate()).toBe(all[10]);
  });
});

describe('runs', () => {
  test('are aligned, in one piece, and as low as they can be', () => {
    const { frames } = make(1024);
    expect(frames.allocateContiguous(PAGE, PAGE)).toBe(BASE);
    expect(frames.allocateContiguous(4 * PAGE, 4 * PAGE)).toBe(BASE + 4 * PAGE);
    expect(frames.allocateContiguous(3 * PAGE, PAGE)).toBe(BASE + PAGE);
    expect(frames.allocateContiguous(5000, 1)).toBe(BASE + 8 * PAGE);
    expect(frames.freeBytes).toBe(1014 * PAGE);
  });

  test('are still to be had after many single frames', () => {
    const { frames } = make(1024);
    take(frames, 400);
    expect(frames.allocateContiguous(2 ** 20, 2 ** 20) % 2 ** 20).toBe(0);
  });

  test('do not span two ranges', () => {
    const ranges = [
      { base: 0x10000, sizeBytes: 3 * PAGE },
      { base: 0x10000 + 3 * PAGE, sizeBytes: 2 * PAGE },
    ];
    const frames = new FrameAllocator(new World(), ranges);
    expect(codeOf(() => frames.allocateContiguous(4 * PAGE, PAGE))).toBe('ENOMEM');
    expect(frames.allocateContiguous(3 * PAGE, PAGE)).toBe(0x10000);
    expect(frames.allocateContiguous(2 * PAGE, PAGE)).toBe(0x10000 + 3 * PAGE);
  });

  test('a size or an alignment that is none is EINVAL', () => {
    const { frames } = make(16);
    expect(codeOf(() => frames.allocateContiguous(0, PAGE))).toBe('EINVAL');
    expect(codeOf(() => frames.allocateContiguous(PAGE, 3000))).toBe('EINVAL');
  });
});

describe('free', () => {
  test('of a free, foreign or unaligned frame is EINVAL, and takes nothing back', () => {
    const { frames } = make(16);
    const run = frames.allocateContiguous(4 * PAGE, PAGE);
    frames.free(physAddr(run + 2 * PAGE));
    const free = frames.freeBytes;
    for (const [address, size] of [
      [run + 2 * PAGE, PAGE],
      [run, 4 * PAGE],
      [run + 8, PAGE],
      [BASE - PAGE, PAGE],
      [BASE + 15 * PAGE, 2 * PAGE],
      [run, 0],
    ] as const) {
      expect(codeOf(() => frames.free(physAddr(address), size))).toBe('EINVAL');
    }
    expect(frames.freeBytes).toBe(free);
    frames.free(run, 2 * PAGE);
    frames.free(physAddr(run + 3 * PAGE));
    expect(frames.freeBytes).toBe(16 * PAGE);
  });
});

test.each([
  [[{ base: 0, sizeBytes: 0 }]],
  [[{ base: 100, sizeBytes: PAGE }]],
  [
    [
      { base: 0, sizeBytes: 2 * PAGE },
      { base: PAGE, sizeBytes: PAGE },
    ],
  ],
])('the ranges %j are EINVAL', (ranges) => {
  expect(codeOf(() => new FrameAllocator(new World(), ranges))).toBe('EINVAL');
});

test('failpoints: a frame and a run that fail leave the count alone', () => {
  const { world, frames } = make(16);
  world.failpoints.failNth(1);
  expect(codeOf(() => frames.allocate())).toBe('ENOMEM');
  world.failpoints.failNth(1);
  expect(codeOf(() => frames.allocateContiguous(PAGE, PAGE))).toBe('ENOMEM');
  expect(frames.freeBytes).toBe(16 * PAGE);
});

test('property: no frame is handed out twice, and first fit is really first, against a set', () => {
  const step = fc.record({
    op: fc.constantFrom('single', 'run', 'free'),
    frames: fc.integer({ min: 1, max: 9 }),
    alignLog2: fc.integer({ min: 10, max: 15 }),
    pick: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer(), fc.boolean(), (steps, seed, scatter) => {
      const world = new World({ seed });
      const ranges = [
        { base: 0x3000, sizeBytes: 21 * PAGE },
        { base: 0x4000_0000, sizeBytes: 34 * PAGE },
      ];
      const frames = new FrameAllocator(world, ranges, { scatter });
      const free = new Set(
        ranges.flatMap((r) => Array.from({ length: r.sizeBytes / PAGE }, (_, i) => r.base + i * PAGE)),
      );
      const held: { address: number; frames: number }[] = [];
      for (const s of steps) {
        if (s.op === 'free') {
          const [given] = held.splice(held.length === 0 ? 0 : s.pick % held.length, 1);
          if (given === undefined) continue;
          frames.free(physAddr(given.address), given.frames * PAGE);
          for (let i = 0; i < given.frames; i++) free.add(given.address + i * PAGE);
          continue;
        }
        const count = s.op === 'single' ? 1 : s.frames;
        const align = s.op === 'single' ? PAGE : 2 ** s.alignLog2;
        const fits = [...free]
          .filter(
            (at) =>
              at % align === 0 &&
              Array.from({ length: count }, (_, i) => at + i * PAGE).every((a) => free.has(a)),
          )
          .sort((a, b) => a - b);
        let got: number | undefined;
        try {
          got = s.op === 'single' ? frames.allocate() : frames.allocateContiguous(count * PAGE, align);
        } catch {
          got = undefined;
        }
        // A single frame may be any free one; a run is the lowest that fits.
        const isAllowed = got === undefined ? fits.length === 0 : free.has(got);
        expect(s.op === 'single' ? isAllowed : got === fits[0]).toBe(true);
        if (got === undefined) continue;
        held.push({ address: got, frames: count });
        for (let i = 0; i < count; i++) free.delete(got + i * PAGE);
        expect(frames.freeBytes).toBe(free.size * PAGE);
      }
    }),
    { numRuns: 200 },
  );
});
