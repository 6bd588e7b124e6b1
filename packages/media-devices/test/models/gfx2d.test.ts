import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  createGfx2d,
  FAULT_ADDRESS,
  GFX2D_ALPHA,
  GFX2D_COLOUR,
  GFX2D_DESTINATION_BASE,
  GFX2D_DESTINATION_STRIDE,
  GFX2D_OPERATION,
  GFX2D_OPERATIONS,
  GFX2D_SIZE,
  GFX2D_SOURCE_BASE,
  GFX2D_SOURCE_STRIDE,
} from '../../src/models/index.ts';
import { Bench, CONFIG, DONE, ERROR, RAM_BASE, size } from '../support/bench.ts';
import { expectBytes, noise } from '../support/pictures.ts';

type Kind = keyof typeof GFX2D_OPERATIONS;

interface Scene {
  readonly kind: Kind;
  readonly width: number;
  readonly height: number;
  readonly from: number;
  readonly fromStride: number;
  readonly to: number;
  readonly toStride: number;
  readonly colour: number;
  readonly alpha: number;
}

const ARENA_BYTES = 0x1000;

/** The whole arena after the operation, computed from a snapshot of it before. */
function oracle(before: Uint8Array, scene: Scene): Uint8Array {
  const after = before.slice();
  for (let y = 0; y < scene.height; y++) {
    for (let i = 0; i < scene.width * 4; i++) {
      const at = scene.to + y * scene.toStride + i;
      const source = before[scene.from + y * scene.fromStride + i] as number;
      const weight = scene.alpha / 255;
      if (scene.kind === 'fill') after[at] = (scene.colour / 256 ** (i % 4)) & 0xff;
      else if (scene.kind === 'copy') after[at] = source;
      else after[at] = Math.round(source * weight + (before[at] as number) * (1 - weight));
    }
  }
  return after;
}

function engine() {
  const bench = new Bench();
  const { port, line } = bench;
  const gfx2d = createGfx2d(bench.world, { port, line, streamIds: { source: 4, destination: 5 } });
  return { bench, gfx2d };
}

function program(scene: Scene) {
  return [
    [GFX2D_OPERATION, GFX2D_OPERATIONS[scene.kind]],
    [GFX2D_SIZE, size(scene.width, scene.height)],
    [GFX2D_DESTINATION_BASE, RAM_BASE + scene.to],
    [GFX2D_DESTINATION_STRIDE, scene.toStride],
    [GFX2D_SOURCE_BASE, RAM_BASE + scene.from],
    [GFX2D_SOURCE_STRIDE, scene.fromStride],
    [GFX2D_COLOUR, scene.colour],
    [GFX2D_ALPHA, scene.alpha],
  ] as const;
}

const kind = fc.constantFrom<Kind>('fill', 'copy', 'blend');
const shape = {
  kind,
  width: fc.integer({ min: 1, max: 12 }),
  height: fc.integer({ min: 1, max: 12 }),
  colour: fc.nat(0xffffffff),
  alpha: fc.nat(255),
};

function check(scene: Scene): void {
  const { bench, gfx2d } = engine();
  const before = noise(ARENA_BYTES, scene.to + scene.from);
  bench.write(RAM_BASE, before);
  expect(bench.run(gfx2d, program(scene))).toBe(DONE);
  expectBytes(bench.read(RAM_BASE, ARENA_BYTES), oracle(before, scene));
}

describe('gfx2d', () => {
  test('fills, copies and blends as a naive oracle does, and touches nothing else', () => {
    const place = fc.nat(127).map((n) => n * 4);
    const gap = fc.nat(4).map((n) => n * 4);
    fc.assert(
      fc.property(fc.record({ ...shape, from: place, to: place, gapFrom: gap, gapTo: gap }), (s) => {
        const to = ARENA_BYTES / 2 + s.to;
        check({ ...s, to, fromStride: s.width * 4 + s.gapFrom, toStride: s.width * 4 + s.gapTo });
      }),
      { numRuns: 200 },
    );
  });

  test('overlapping rectangles of equal stride come out as if the source had been read first', () => {
    const near = fc.integer({ min: 0, max: 60 }).map((n) => n * 4);
    fc.assert(
      fc.property(fc.record({ ...shape, from: near, to: near }), (s) => {
        check({ ...s, fromStride: 64, toStride: 64 });
      }),
      { numRuns: 200 },
    );
  });

  test('a fill reads nothing; a copy reads its source only; a blend reads the destination through its own stream', () => {
    const scene = {
      width: 3,
      height: 1,
      from: 0,
      fromStride: 12,
      to: 0x800,
      toStride: 12,
      colour: 7,
      alpha: 9,
    };
    const accesses = (kind: Kind) => {
      const { bench, gfx2d } = engine();
      bench.run(gfx2d, program({ ...scene, kind }));
      return bench.port.seen.map((a) => `${a.isWrite ? 'write' : 'read'} ${a.streamId}`);
    };
    expect(accesses('fill')).toEqual(['write 5']);
    expect(accesses('copy')).toEqual(['read 4', 'write 5']);
    expect(accesses('blend')).toEqual(['read 4', 'read 5', 'write 5']);
  });

  test('a failed access ends the job and names its address; an unknown operation is a configuration error', () => {
    const { bench, gfx2d } = engine();
    const scene: Scene = {
      kind: 'copy',
      width: 3,
      height: 4,
      from: 0,
      fromStride: 12,
      to: 0x800,
      toStride: 12,
      colour: 0,
      alpha: 0,
    };
    bench.port.verdict = ({ address }) => (address === RAM_BASE + 24 ? 'faulted' : undefined);
    expect(bench.run(gfx2d, program(scene))).toBe(ERROR);
    expect(gfx2d.read32(FAULT_ADDRESS.offset)).toBe(RAM_BASE + 24);
    expect(bench.run(gfx2d, [[GFX2D_OPERATION, 0]])).toBe(ERROR | CONFIG);
  });
});
