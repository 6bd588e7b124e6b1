import { describe, expect, test } from '@jest/globals';
import {
  createVfe,
  FAULT_ADDRESS,
  VFE_FRAME_COUNT,
  VFE_IMAGE_BASE,
  VFE_IMAGE_STRIDE,
  VFE_SENSOR_SIZE,
} from '../../src/models/index.ts';
import { Bench, CONFIG, DONE, ERROR, RAM_BASE, RAM_BYTES, size } from '../support/bench.ts';
import { noise, spread } from '../support/pictures.ts';

const STREAM = 2;
const frame = (index: number): Uint8Array => noise(7 * 5 * 4, index + 1);

function camera(sensor = { width: 7, height: 5, frame }) {
  const bench = new Bench();
  const { port, line } = bench;
  const vfe = createVfe(bench.world, { port, line, sensor, streamIds: { imageWrite: STREAM } });
  return { bench, vfe };
}

describe('vfe', () => {
  test('writes frame after frame at base and stride, and nothing between the lines', () => {
    const { bench, vfe } = camera();
    const at = RAM_BASE + 0x100;
    for (const index of [0, 1]) {
      bench.write(at - 4, new Uint8Array(400).fill(0xee));
      expect(
        bench.run(vfe, [
          [VFE_IMAGE_BASE, at],
          [VFE_IMAGE_STRIDE, 40],
        ]),
      ).toBe(DONE);
      const expected = new Uint8Array(400).fill(0xee);
      expected.set(spread(frame(index), 7, 40, 0xee), 4);
      expect(bench.read(at - 4, 400)).toEqual(expected);
    }
    expect(vfe.read32(VFE_FRAME_COUNT.offset)).toBe(2);
    expect(new Set(bench.port.seen.map((a) => a.streamId))).toEqual(new Set([STREAM]));
    expect(bench.port.seen.every((a) => a.isWrite)).toBe(true);
  });

  test('tells the size of its sensor, after a reset too', () => {
    const { vfe } = camera();
    vfe.write32(0, 2);
    expect(vfe.read32(VFE_SENSOR_SIZE.offset)).toBe(size(7, 5));
  });

  test('a line that reaches into a hole ends the frame with ERROR and its address', () => {
    const { bench, vfe } = camera();
    const base = RAM_BASE + RAM_BYTES - 3 * 28;
    const status = bench.run(vfe, [
      [VFE_IMAGE_BASE, base],
      [VFE_IMAGE_STRIDE, 28],
    ]);
    expect(status).toBe(ERROR);
    expect(vfe.read32(FAULT_ADDRESS.offset)).toBe(RAM_BASE + RAM_BYTES);
    expect(bench.port.seen).toHaveLength(4);
    expect(bench.read(base, 3 * 28)).toEqual(frame(0).slice(0, 3 * 28));
  });

  test.each([
    ['a base off the pixel grid', RAM_BASE + 2, 28],
    ['a stride shorter than a line', RAM_BASE, 24],
    ['a picture beyond 4 GiB', 0xffff_fff0, 28],
  ])('refuses %s and accesses nothing', (_what, base, stride) => {
    const { bench, vfe } = camera();
    const status = bench.run(vfe, [
      [VFE_IMAGE_BASE, base],
      [VFE_IMAGE_STRIDE, stride],
    ]);
    expect(status).toBe(ERROR | CONFIG);
    expect(bench.port.seen).toEqual([]);
  });

  test('a sensor of impossible size, or one that gives a frame of another size, is EINVAL', () => {
    expect(() => camera({ width: 0, height: 5, frame })).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    const { bench, vfe } = camera({ width: 8, height: 5, frame });
    const program = [
      [VFE_IMAGE_BASE, RAM_BASE],
      [VFE_IMAGE_STRIDE, 32],
    ] as const;
    expect(() => bench.run(vfe, program)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});
