import { describe, expect, test } from '@jest/globals';
import { LabError } from '@iommu-lab/machine';
import {
  CAMERA,
  DISPLAY,
  type FrameBuffer,
  GFX2D,
  JPEG_ENCODER,
  type JobResult,
  ROTATOR,
  vfeDriver,
} from '../../src/drivers/index.ts';
import { DRIVERS, Platform } from '../support/platform.ts';

type Name = 'vfe' | 'rot' | 'mdp' | 'ijpeg';
type Done = (result: JobResult) => void;

/** One job of each driver that maps buffers. */
const JOBS: Readonly<Record<Name, (platform: Platform, done: Done) => void>> = {
  vfe: (p, done) => p.device('vfe').require(CAMERA).capture(frame(p), done),
  rot: (p, done) => p.device('rot').require(ROTATOR).rotate(frame(p), frame(p), 180, done),
  mdp: (p, done) => p.device('mdp').require(DISPLAY).show(frame(p), done),
  ijpeg: (p, done) => {
    const destination = { entries: p.buffer(0x4000, true), sizeBytes: 0x4000 };
    p.device('ijpeg').require(JPEG_ENCODER).encode(frame(p), destination, 50, done);
  },
};
const NAMES = Object.keys(JOBS) as Name[];

function frame(platform: Platform): FrameBuffer {
  return { width: 30, height: 50, strideBytes: 120, entries: platform.buffer(6000, true) };
}

describe.each(NAMES)('%s', (name) => {
  const start = JOBS[name];

  test('is EBUSY while a job runs, and free in the callback of the job', () => {
    const platform = new Platform('gathered');
    const results: JobResult[] = [];
    start(platform, (first) => {
      results.push(first);
      start(platform, (second) => results.push(second));
    });
    const mapped = platform.dma(name).mappedBytes;
    expect(() => start(platform, () => undefined)).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    expect(platform.dma(name).mappedBytes).toBe(mapped);
    platform.world.clock.run();
    expect(results.map((r) => r.ok)).toEqual([true, true]);
    expect(platform.dma(name).mappedBytes).toBe(0);
  });

  test('a failed access is a failed job with its address, all mappings released; the next job works', () => {
    const platform = new Platform('gathered');
    let victim: number | undefined;
    platform.port(name).verdict = ({ address }) => {
      if (victim !== undefined || platform.port(name).seen.length < 20) return undefined;
      victim = address;
      return 'faulted';
    };
    const results = platform.results<JobResult>((done) => start(platform, done));
    expect(results).toMatchObject([{ ok: false, address: victim }]);
    expect(platform.dma(name).mappedBytes).toBe(0);
    expect(platform.results<JobResult>((done) => start(platform, done))).toMatchObject([{ ok: true }]);
  });

  test('whichever step of mapping fails, nothing stays mapped and no job runs', () => {
    const platform = new Platform('gathered');
    const { failpoints } = platform.world;
    failpoints.reset();
    expect(platform.results<JobResult>((done) => start(platform, done))).toMatchObject([{ ok: true }]);
    const steps = [...failpoints.hits().values()].reduce((sum, hits) => sum + hits, 0);
    expect(steps).toBe({ vfe: 1, rot: 2, mdp: 1, ijpeg: 4 }[name]);
    const { seen } = platform.port(name);
    const before = seen.length;
    for (let step = 1; step <= steps; step++) {
      failpoints.failNth(step);
      expect(() => start(platform, () => undefined)).toThrow(LabError);
      failpoints.reset();
      expect(platform.dma(name).mappedBytes).toBe(0);
      platform.world.clock.run();
      expect(seen).toHaveLength(before);
    }
    expect(platform.results<JobResult>((done) => start(platform, done))).toMatchObject([{ ok: true }]);
  });

  test('a stalled access suspends the job until it is resumed', () => {
    const platform = new Platform('gathered');
    const port = platform.port(name);
    port.verdict = () => (port.seen.length === 10 ? 'parked' : undefined);
    const results: JobResult[] = [];
    start(platform, (result) => results.push(result));
    platform.world.clock.run();
    expect([results.length, port.parkedCount]).toEqual([0, 1]);
    expect(platform.dma(name).mappedBytes).toBeGreaterThan(0);
    platform.world.clock.schedule(0, 'resume', () => port.resume('retry'));
    platform.world.clock.run();
    expect(results).toMatchObject([{ ok: true }]);
  });

  test('unbinding in the middle of a job stops the device, releases the mappings and ends the job', () => {
    const platform = new Platform('gathered');
    const results: JobResult[] = [];
    start(platform, (result) => {
      results.push(result);
      expect(platform.dma(name).mappedBytes).toBe(0);
    });
    const { seen } = platform.port(name);
    platform.world.clock.runUntil(() => seen.length >= 10);
    platform.bus.unbind(platform.device(name));
    expect(results).toMatchObject([{ ok: false, message: expect.stringContaining('removed') }]);
    const before = seen.length;
    platform.world.clock.run();
    expect(seen).toHaveLength(before);
  });
});

describe('probe and remove', () => {
  test('a client that keeps the object of a driver that was removed gets ENODEV, in the last callback already', () => {
    const platform = new Platform('gathered');
    const camera = platform.device('vfe').require(CAMERA);
    const again = (): void => camera.capture(frame(platform), () => undefined);
    const enodev = expect.objectContaining({ code: 'ENODEV' });
    let calls = 0;
    camera.capture(frame(platform), () => {
      calls++;
      expect(again).toThrow(enodev);
    });
    platform.bus.unbind(platform.device('vfe'));
    expect(again).toThrow(enodev);
    expect(platform.dma('vfe').mappedBytes).toBe(0);
    platform.world.clock.run();
    expect([calls, platform.port('vfe').seen.length]).toEqual([1, 0]);
  });

  test('each driver serves its own device, publishes its object, and takes it away', () => {
    const platform = new Platform('gathered');
    const slots = [CAMERA, ROTATOR, DISPLAY, GFX2D, JPEG_ENCODER];
    platform.bus.devices.forEach((device, i) => {
      expect(device.driver).toBe(DRIVERS[i]);
      expect(slots.map((slot) => device.get<unknown>(slot) !== undefined)).toEqual(
        slots.map((_, n) => n === i),
      );
      platform.bus.unbind(device);
      expect(slots.every((slot) => device.get<unknown>(slot) === undefined)).toBe(true);
    });
  });

  test('a device can be bound again after it was unbound in the middle of a job', () => {
    const platform = new Platform('gathered');
    JOBS.vfe(platform, () => undefined);
    const vfe = platform.device('vfe');
    platform.bus.unbind(vfe);
    platform.bus.bind(vfe, vfeDriver);
    expect(platform.results<JobResult>((done) => JOBS.vfe(platform, done))).toMatchObject([{ ok: true }]);
  });

  test.each([
    ['frame too large for its pages', { height: 500 }],
    ['stride below a line', { strideBytes: 100 }],
    ['no lines', { height: 0 }],
  ])('%s is EINVAL before anything is mapped', (_what, change) => {
    const platform = new Platform('gathered');
    const display = platform.device('mdp').require(DISPLAY);
    const bad = { ...frame(platform), ...change };
    expect(() => display.show(bad, () => undefined)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(platform.sites('mdp')).toEqual([]);
  });

  test('a frame of another size than the sensor, a wrong destination, quality and alpha out of range are EINVAL', () => {
    const platform = new Platform('gathered');
    const einval = expect.objectContaining({ code: 'EINVAL' });
    const ignore = (): void => undefined;
    const other: FrameBuffer = { ...frame(platform), width: 29 };
    const camera = platform.device('vfe').require(CAMERA);
    expect(() => camera.capture(other, ignore)).toThrow(einval);
    const rotator = platform.device('rot').require(ROTATOR);
    expect(() => rotator.rotate(frame(platform), frame(platform), 90, ignore)).toThrow(einval);
    const encoder = platform.device('ijpeg').require(JPEG_ENCODER);
    const stream = { entries: platform.buffer(4096, true), sizeBytes: 4096 };
    expect(() => encoder.encode(frame(platform), stream, 101, ignore)).toThrow(einval);
    expect(() => encoder.encode(frame(platform), { ...stream, sizeBytes: 4097 }, 50, ignore)).toThrow(einval);
    const gfx2d = platform.device('gfx2d').require(GFX2D);
    const place = { address: 0, strideBytes: 16 };
    const blend = {
      kind: 'blend',
      width: 4,
      height: 4,
      destination: place,
      source: place,
      alpha: 256,
    } as const;
    expect(() => gfx2d.run(blend, ignore)).toThrow(einval);
    expect(() => gfx2d.run({ ...blend, alpha: 1, source: { ...place, address: 2 } }, ignore)).toThrow(einval);
    expect(() =>
      gfx2d.run({ ...blend, alpha: 1, destination: { ...place, address: 0xffff_fff0 } }, ignore),
    ).toThrow(einval);
  });
});
