import { describe, expect, test } from '@jest/globals';
import {
  createGfx2d,
  ENABLE,
  GFX2D_COLOUR,
  GFX2D_DESTINATION_BASE,
  GFX2D_DESTINATION_STRIDE,
  GFX2D_OPERATION,
  GFX2D_SIZE,
  GFX2D_SOURCE_BASE,
  GFX2D_SOURCE_STRIDE,
  STATUS,
} from '../../src/models/index.ts';
import { Bench, DONE, ERROR, RAM_BASE, size } from '../support/bench.ts';

const COLOUR = 0x04030201;
const FILL = [
  [GFX2D_OPERATION, 1],
  [GFX2D_SIZE, size(4, 3)],
  [GFX2D_DESTINATION_BASE, RAM_BASE],
  [GFX2D_DESTINATION_STRIDE, 16],
  [GFX2D_COLOUR, COLOUR],
] as const;
const FILLED = Uint8Array.from({ length: 48 }, (_, i) => (i % 4) + 1);

function engine() {
  const bench = new Bench();
  const { port, line } = bench;
  const device = createGfx2d(bench.world, { port, line, streamIds: { source: 0, destination: 0 } });
  return { bench, device };
}

describe('every media device', () => {
  test('accesses nothing inside the register write, and a line per task after it', () => {
    const { bench, device } = engine();
    bench.start(device, FILL);
    expect(bench.port.seen).toEqual([]);
    expect(bench.isBusy(device)).toBe(true);
    const times: number[] = [];
    bench.port.verdict = () => {
      times.push(bench.world.clock.now);
      return undefined;
    };
    bench.world.clock.run();
    expect(new Set(times).size).toBe(3);
    expect(bench.isBusy(device)).toBe(false);
  });

  test('holds its line high while STATUS & ENABLE is not 0; a written 1 clears a STATUS bit', () => {
    const { bench, device } = engine();
    bench.run(device, FILL);
    expect(bench.line.isHigh).toBe(true);
    device.write32(ENABLE.offset, ERROR);
    expect(bench.line.isHigh).toBe(false);
    device.write32(ENABLE.offset, DONE | ERROR);
    expect(bench.line.isHigh).toBe(true);
    device.write32(STATUS.offset, ERROR);
    expect(bench.line.isHigh).toBe(true);
    device.write32(STATUS.offset, DONE);
    expect(bench.line.isHigh).toBe(false);
    expect(device.read32(STATUS.offset)).toBe(0);
  });

  test('latches its registers at START and ignores another START until it is idle', () => {
    const { bench, device } = engine();
    bench.start(device, FILL);
    bench.start(device, [
      [GFX2D_COLOUR, 0],
      [GFX2D_DESTINATION_BASE, RAM_BASE + 0x1000],
    ]);
    bench.world.clock.run();
    expect(bench.read(RAM_BASE, 48)).toEqual(FILLED);
    expect(bench.port.seen).toHaveLength(3);
  });

  test('RESET abandons the job, clears the registers and lowers the line', () => {
    const { bench, device } = engine();
    bench.start(device, FILL);
    bench.world.clock.runUntil(() => bench.port.seen.length === 1);
    device.write32(0, 2);
    bench.world.clock.run();
    expect(bench.port.seen).toHaveLength(1);
    expect(Object.values(device.dump()).every((value) => value === 0)).toBe(true);
    expect(bench.line.isHigh).toBe(false);
    expect(bench.run(device, FILL)).toBe(DONE);
  });

  test('a stalled access suspends the job; it goes on after a retry', () => {
    const { bench, device } = engine();
    let stalls = 1;
    bench.port.verdict = (access) =>
      access.address === RAM_BASE + 16 && stalls-- > 0 ? 'parked' : undefined;
    bench.run(device, FILL);
    expect(bench.isBusy(device)).toBe(true);
    expect(bench.line.isHigh).toBe(false);
    expect(bench.world.clock.waits()).toHaveLength(1);
    expect(bench.port.seen).toHaveLength(2);
    bench.world.clock.schedule(0, 'resume', () => bench.port.resume('retry'));
    bench.world.clock.run();
    expect(device.read32(STATUS.offset)).toBe(DONE);
    expect(bench.read(RAM_BASE, 48)).toEqual(FILLED);
  });

  test('a stalled access that is terminated ends the job with ERROR', () => {
    const { bench, device } = engine();
    bench.port.verdict = (access) => (access.address === RAM_BASE + 16 ? 'parked' : undefined);
    bench.run(device, FILL);
    bench.world.clock.schedule(0, 'resume', () => bench.port.resume('terminate'));
    bench.world.clock.run();
    expect(device.read32(STATUS.offset)).toBe(ERROR);
    expect(bench.port.seen).toHaveLength(2);
  });

  test.each(['retry', 'terminate'] as const)(
    'after a RESET, what was stalled has no successor and no effect on the next job (%s)',
    (outcome) => {
      const { bench, device } = engine();
      bench.port.verdict = () => 'parked';
      bench.run(device, [
        ...FILL,
        [GFX2D_OPERATION, 3],
        [GFX2D_SOURCE_BASE, RAM_BASE],
        [GFX2D_SOURCE_STRIDE, 16],
      ]);
      device.write32(0, 2);
      bench.port.verdict = () => undefined;
      const { seen } = bench.port;
      bench.world.clock.schedule(0, 'resume', () => bench.port.resume(outcome));
      bench.world.clock.run();
      expect(seen.filter((a) => a.isWrite)).toEqual([]);
      expect([bench.isBusy(device), device.read32(STATUS.offset)]).toEqual([false, 0]);
      const before = seen.length;
      expect(bench.run(device, FILL)).toBe(DONE);
      expect(seen).toHaveLength(before + 3);
    },
  );

  test('after a RESET, a stalled access is the last of its transfer', () => {
    const { bench, device } = engine();
    bench.port.verdict = () => 'parked';
    // One line, across a page boundary: two accesses.
    bench.run(device, [...FILL, [GFX2D_SIZE, size(4, 1)], [GFX2D_DESTINATION_BASE, RAM_BASE + 0xff8]]);
    device.write32(0, 2);
    bench.port.verdict = () => undefined;
    bench.world.clock.schedule(0, 'resume', () => bench.port.resume('retry'));
    bench.world.clock.run();
    expect(new Set(bench.port.seen.map((access) => access.address))).toEqual(new Set([RAM_BASE + 0xff8]));
  });
});
