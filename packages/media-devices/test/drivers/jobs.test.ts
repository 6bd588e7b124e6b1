import { describe, expect, test } from '@jest/globals';
import { decode } from 'jpeg-js';
import {
  CAMERA,
  DISPLAY,
  type FrameBuffer,
  GFX2D,
  JPEG_ENCODER,
  type JobResult,
  type JpegResult,
  ROTATOR,
} from '../../src/drivers/index.ts';
import { expectBytes, noise, scenery } from '../support/pictures.ts';
import { Platform, SENSOR } from '../support/platform.ts';
import { psnr } from '../support/psnr.ts';

const OK: JobResult = { ok: true };

function frame(platform: Platform, width: number, height: number, isScattered = true): FrameBuffer {
  const strideBytes = width * 4;
  return { width, height, strideBytes, entries: platform.buffer(strideBytes * height, isScattered) };
}

describe('behind operations that gather', () => {
  test('the camera fills scattered pages, frame after frame', () => {
    const platform = new Platform('gathered');
    const camera = platform.device('vfe').require(CAMERA);
    expect([camera.width, camera.height]).toEqual([30, 50]);
    const buffer = frame(platform, 30, 50);
    for (const index of [0, 1]) {
      expect(platform.results<JobResult>((done) => camera.capture(buffer, done))).toEqual([OK]);
      expectBytes(platform.read(buffer.entries, 6000), SENSOR.frame(index));
    }
    expect(platform.dma('vfe').mappedBytes).toBe(0);
    expect(platform.sites('vfe')).toEqual(['vfe: frame', 'vfe: frame']);
  });

  test.each([
    [0, (x: number, y: number) => [x, y]],
    [90, (x: number, y: number) => [49 - y, x]],
    [180, (x: number, y: number) => [29 - x, 49 - y]],
    [270, (x: number, y: number) => [y, 29 - x]],
  ] as const)('the rotator turns by %d degrees', (degrees, place) => {
    const platform = new Platform('gathered');
    const source = frame(platform, 30, 50);
    const target = degrees % 180 === 0 ? frame(platform, 30, 50) : frame(platform, 50, 30);
    const picture = noise(6000, 3);
    platform.write(source.entries, picture);
    const rotator = platform.device('rot').require(ROTATOR);
    expect(platform.results<JobResult>((done) => rotator.rotate(source, target, degrees, done))).toEqual([
      OK,
    ]);
    const expected = new Uint8Array(6000);
    for (let i = 0; i < 1500; i++) {
      const [x, y] = place(i % 30, Math.floor(i / 30)) as [number, number];
      expected.set(picture.subarray(i * 4, i * 4 + 4), (y * target.width + x) * 4);
    }
    expectBytes(platform.read(target.entries, 6000), expected);
    expect(platform.dma('rot').mappedBytes).toBe(0);
    expect(platform.sites('rot')).toEqual(['rot: source', 'rot: destination']);
  });

  test('the display shows scattered pages', () => {
    const platform = new Platform('gathered');
    const buffer = frame(platform, 40, 40);
    const picture = noise(6400, 4);
    platform.write(buffer.entries, picture);
    const display = platform.device('mdp').require(DISPLAY);
    expect(platform.results<JobResult>((done) => display.show(buffer, done))).toEqual([OK]);
    expect(platform.shown).toHaveLength(1);
    expectBytes(platform.shown[0] as Uint8Array, picture);
    expect(platform.dma('mdp').mappedBytes).toBe(0);
  });

  test('a line that could not be read fails the show, once, after the rest of the frame was shown', () => {
    const platform = new Platform('gathered');
    const buffer = frame(platform, 40, 40);
    const picture = noise(6400, 5);
    platform.write(buffer.entries, picture);
    const port = platform.port('mdp');
    port.verdict = () => (port.seen.length === 3 ? 'faulted' : undefined);
    const display = platform.device('mdp').require(DISPLAY);
    const results = platform.results<JobResult>((done) => display.show(buffer, done));
    expect(results).toMatchObject([{ ok: false, address: port.seen[2]?.address }]);
    expectBytes(platform.shown[0] as Uint8Array, picture.fill(0, 320, 480));
  });
});

describe.each(['gathered', 'direct'] as const)('the JPEG encoder behind %s operations', (kind) => {
  test('encodes scattered pages into scattered pages', () => {
    const platform = new Platform(kind);
    const source = frame(platform, 64, 48);
    const picture = scenery(64, 48);
    platform.write(source.entries, picture);
    const destination = { entries: platform.buffer(8192, true), sizeBytes: 8192 };
    const encoder = platform.device('ijpeg').require(JPEG_ENCODER);
    const [result] = platform.results<JpegResult>((done) => encoder.encode(source, destination, 90, done));
    expect(result?.ok).toBe(true);
    const jpeg = platform.read(destination.entries, result?.lengthBytes ?? 0);
    expect(psnr(decode(jpeg, { useTArray: true }).data, picture)).toBeGreaterThan(30);
    expect(platform.dma('ijpeg').mappedBytes).toBe(0);
    expect(platform.sites('ijpeg')).toEqual(['ijpeg: source', 'ijpeg: destination', 'ijpeg: lists']);
  });

  test('a stream that does not fit is a failed job with length 0', () => {
    const platform = new Platform(kind);
    const source = frame(platform, 64, 48);
    const destination = { entries: platform.buffer(8192, true), sizeBytes: 700 };
    const encoder = platform.device('ijpeg').require(JPEG_ENCODER);
    const results = platform.results<JpegResult>((done) => encoder.encode(source, destination, 90, done));
    expect(results).toEqual([
      { ok: false, address: 0, lengthBytes: 0, message: expect.stringContaining('does not fit') },
    ]);
    expect(platform.dma('ijpeg').mappedBytes).toBe(0);
  });
});

describe('without an IOMMU', () => {
  test('a contiguous frame works', () => {
    const platform = new Platform('direct');
    const buffer = frame(platform, 30, 50, false);
    const camera = platform.device('vfe').require(CAMERA);
    expect(platform.results<JobResult>((done) => camera.capture(buffer, done))).toEqual([OK]);
    expectBytes(platform.read(buffer.entries, 6000), SENSOR.frame(0));
  });

  test('a scattered frame is EIO for the devices that address one range, and nothing stays mapped', () => {
    const platform = new Platform('direct');
    const scattered = frame(platform, 30, 50);
    const whole = frame(platform, 30, 50, false);
    const done = (): void => {
      throw new Error('no job was started');
    };
    const eio = expect.objectContaining({ code: 'EIO' });
    expect(() => platform.device('vfe').require(CAMERA).capture(scattered, done)).toThrow(eio);
    expect(() => platform.device('mdp').require(DISPLAY).show(scattered, done)).toThrow(eio);
    const rotator = platform.device('rot').require(ROTATOR);
    expect(() => rotator.rotate(whole, scattered, 0, done)).toThrow(eio);
    expect(() => rotator.rotate(scattered, whole, 0, done)).toThrow(eio);
    for (const name of ['vfe', 'mdp', 'rot']) expect(platform.dma(name).mappedBytes).toBe(0);
    platform.world.clock.run();
  });
});

describe('the 2D engine', () => {
  test('works on addresses its caller has mapped, and maps nothing itself', () => {
    const platform = new Platform('gathered');
    const gfx2d = platform.device('gfx2d').require(GFX2D);
    const pages = platform.buffer(8192, true);
    const dma = platform.dma('gfx2d');
    platform.write(pages, new Uint8Array(64).fill(200));
    const segments = dma.mapSg(pages, 'bidirectional');
    const address = segments[0]?.address ?? 0;
    const rectangle = { width: 4, height: 4, destination: { address: address + 4096, strideBytes: 64 } };
    const source = { address, strideBytes: 16 };
    const run = (job: Parameters<typeof gfx2d.run>[0]): Uint8Array => {
      dma.syncSgForDevice(segments, 'bidirectional');
      expect(platform.results<JobResult>((done) => gfx2d.run(job, done))).toEqual([OK]);
      dma.syncSgForCpu(segments, 'bidirectional');
      return platform.read(pages, 8192).subarray(4096);
    };
    const filled = run({ ...rectangle, kind: 'fill', colour: [1, 2, 3, 4] });
    expect(filled.subarray(0, 8)).toEqual(Uint8Array.of(1, 2, 3, 4, 1, 2, 3, 4));
    expect(run({ ...rectangle, kind: 'copy', source })[3 * 64 + 15]).toBe(200);
    run({ ...rectangle, kind: 'fill', colour: [0, 0, 0, 0] });
    expect(run({ ...rectangle, kind: 'blend', source, alpha: 51 })[0]).toBe(40);
    expect(platform.sites('gfx2d')).toHaveLength(1);
  });

  test('reports the address that failed', () => {
    const platform = new Platform('gathered');
    const gfx2d = platform.device('gfx2d').require(GFX2D);
    const destination = { address: 0x5000_0000, strideBytes: 16 };
    const job = { kind: 'fill', width: 4, height: 4, destination, colour: [0, 0, 0, 0] } as const;
    expect(platform.results<JobResult>((done) => gfx2d.run(job, done))).toEqual([
      { ok: false, address: 0x5000_0000, message: expect.stringContaining('0x50000000') },
    ]);
  });
});
