import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  createRot,
  FAULT_ADDRESS,
  ROT_ANGLE,
  ROT_DESTINATION_BASE,
  ROT_DESTINATION_STRIDE,
  ROT_SOURCE_BASE,
  ROT_SOURCE_SIZE,
  ROT_SOURCE_STRIDE,
} from '../../src/models/index.ts';
import { Bench, CONFIG, DONE, ERROR, RAM_BASE, size } from '../support/bench.ts';
import { expectBytes, noise, spread } from '../support/pictures.ts';

const SOURCE = RAM_BASE;
const DESTINATION = RAM_BASE + 0x8_0000;

/** One quarter turn clockwise, pixel by pixel: the top line becomes the right column. */
function quarterTurn(picture: Uint8Array, width: number, height: number): Uint8Array {
  const turned = new Uint8Array(picture.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let byte = 0; byte < 4; byte++) {
        turned[(x * height + (height - 1 - y)) * 4 + byte] = picture[(y * width + x) * 4 + byte] as number;
      }
    }
  }
  return turned;
}

function rotator() {
  const bench = new Bench();
  const { port, line } = bench;
  const rot = createRot(bench.world, { port, line, streamIds: { source: 0, destination: 1 } });
  return { bench, rot };
}

function program(width: number, height: number, turns: number, gap = 0) {
  const outWidth = turns % 2 === 0 ? width : height;
  return [
    [ROT_SOURCE_BASE, SOURCE],
    [ROT_SOURCE_STRIDE, width * 4 + gap],
    [ROT_SOURCE_SIZE, size(width, height)],
    [ROT_DESTINATION_BASE, DESTINATION],
    [ROT_DESTINATION_STRIDE, outWidth * 4 + gap],
    [ROT_ANGLE, turns],
  ] as const;
}

describe('rot', () => {
  test('turns like a pixel-by-pixel rotation, for all angles, odd sizes and strides', () => {
    const side = fc.integer({ min: 1, max: 53 });
    fc.assert(
      fc.property(
        side,
        side,
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 5 }),
        (w, h, turns, gap) => {
          const { bench, rot } = rotator();
          const picture = noise(w * h * 4, w * 64 + h);
          bench.write(SOURCE, spread(picture, w, w * 4 + gap * 4, 0xaa));
          let [expected, width, height] = [picture, w, h];
          for (let i = 0; i < turns; i++) {
            expected = quarterTurn(expected, width, height);
            [width, height] = [height, width];
          }
          const image = spread(expected, width, width * 4 + gap * 4, 0xbb);
          bench.write(DESTINATION, new Uint8Array(image.length).fill(0xbb));
          expect(bench.run(rot, program(w, h, turns, gap * 4))).toBe(DONE);
          expectBytes(bench.read(DESTINATION, image.length), image);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('reads through the source stream, writes through the destination stream, and the two interleave', () => {
    const { bench, rot } = rotator();
    bench.run(rot, program(40, 40, 1));
    const { seen } = bench.port;
    expect(seen.every((a) => a.streamId === (a.isWrite ? 1 : 0))).toBe(true);
    const turnsOfDirection = seen.filter((a, i) => i > 0 && a.isWrite !== seen[i - 1]?.isWrite).length;
    expect(turnsOfDirection).toBe(17);
  });

  test.each([
    ['read', false],
    ['write', true],
  ])('a %s that fails ends the job with ERROR and its address', (_what, isWrite) => {
    const { bench, rot } = rotator();
    const victims: number[] = [];
    bench.port.verdict = (access) => {
      if (access.isWrite !== isWrite || bench.port.seen.length < 50) return undefined;
      victims.push(access.address);
      return 'faulted';
    };
    expect(bench.run(rot, program(40, 40, 3))).toBe(ERROR);
    expect(victims).toEqual([rot.read32(FAULT_ADDRESS.offset)]);
  });

  test('stalls on either side leave the result as it would be', () => {
    const { bench, rot } = rotator();
    const picture = noise(20 * 20 * 4, 5);
    bench.write(SOURCE, picture);
    let count = 0;
    bench.port.verdict = () => (count++ % 3 === 0 ? 'parked' : undefined);
    bench.start(rot, program(20, 20, 1));
    bench.world.clock.run();
    for (let rounds = 0; bench.port.parkedCount > 0 && rounds < 1000; rounds++) {
      bench.world.clock.schedule(10, 'resume', () => bench.port.resume('retry'));
      bench.world.clock.run();
    }
    expect(bench.isBusy(rot)).toBe(false);
    expectBytes(bench.read(DESTINATION, picture.length), quarterTurn(picture, 20, 20));
  });

  test('an empty picture is a configuration error', () => {
    const { bench, rot } = rotator();
    expect(bench.run(rot, program(0, 4, 0))).toBe(ERROR | CONFIG);
  });
});
