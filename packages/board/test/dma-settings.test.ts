import { describe, expect, test } from '@jest/globals';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { createSystem, type DmaSettings } from '../src/index.ts';

const CONTEXT = 'gfx2d1_2d1';

/** A device writes a word into a buffer that was unmapped before. @returns whether it got through */
function writesAfterUnmap(dma: DmaSettings): { readonly now: boolean; readonly afterFlush: boolean } {
  const system = createSystem({ dma });
  const { device, master } = system.addDevice('engine', { context: CONTEXT });
  const ops = getDmaOps(device);
  const address = ops.mapSingle(system.frames.allocate(), 64, 'from-device');
  expect(master.write(address, Uint8Array.of(1)).state).toBe('done');
  ops.unmapSingle(address, 64, 'from-device');
  expect(ops.isStale(address)).toBe(dma.invalidation === 'deferred');
  const now = master.write(address, Uint8Array.of(2)).state === 'done';
  system.dma.flush(device);
  expect(ops.isStale(address)).toBe(false);
  return { now, afterFlush: master.write(address, Uint8Array.of(3)).state === 'done' };
}

describe('invalidation', () => {
  test('is strict unless asked otherwise', () => {
    expect(writesAfterUnmap({})).toEqual({ now: false, afterFlush: false });
    expect(writesAfterUnmap({ invalidation: 'strict' })).toEqual({ now: false, afterFlush: false });
  });

  test('may be deferred', () => {
    expect(writesAfterUnmap({ invalidation: 'deferred' })).toEqual({ now: true, afterFlush: false });
  });
});

describe('bounce buffers', () => {
  test('there are none unless asked for', () => {
    const system = createSystem();
    expect(system.bouncePool).toBeUndefined();
    expect(getDmaOps(system.addDevice('x').device).kind).toBe('direct');
  });

  test('available ones serve what a device does not reach', () => {
    const system = createSystem({ dma: { bounce: 'available' } });
    const { device } = system.addDevice('x');
    const ops = getDmaOps(device);
    const buffer = system.frames.allocate();
    expect(ops.mapSingle(buffer, 64, 'to-device')).toBe(buffer);
    expect(system.bouncePool?.occupancy.mapped).toBe(0);
    device.busDmaLimit = buffer - 1;
    expect(ops.mapSingle(buffer, 64, 'to-device')).toBeLessThan(buffer);
    expect(system.bouncePool?.occupancy.mapped).toBe(1);
  });

  test('forced ones serve every buffer of a device without IOMMU, and none of one behind an IOMMU', () => {
    const system = createSystem({ dma: { bounce: 'forced', bounceBytes: 1 << 20 } });
    expect(system.bouncePool?.occupancy.bytes).toBe(1 << 20);
    const buffer = system.frames.allocate();
    getDmaOps(system.addDevice('y', { context: CONTEXT }).device).mapSingle(buffer, 64, 'to-device');
    expect(system.bouncePool?.occupancy.mapped).toBe(0);
    const ops = getDmaOps(system.addDevice('x').device);
    expect(ops.kind).toBe('bounce');
    expect(ops.mapSingle(buffer, 64, 'to-device')).not.toBe(buffer);
    expect(system.bouncePool?.occupancy.mapped).toBe(1);
  });
});

describe('debugging', () => {
  test('is off unless asked for', () => {
    expect(createSystem().dmaDebug).toBeUndefined();
  });

  test('sees calls, the CPU in kernel memory, and every master, the built-in ones too', () => {
    const system = createSystem({ dma: { debug: true } });
    const { device, master } = system.addDevice('engine', { context: CONTEXT });
    const ops = getDmaOps(device);
    const buffer = system.frames.allocate();
    const address = ops.mapSingle(buffer, 64, 'from-device');
    system.kernelMemory.cpu.read(buffer, new Uint8Array(4));
    ops.unmapSingle(address, 64, 'from-device');
    master.write(address, Uint8Array.of(1));
    system.masterOf('vfe').write(0x1000, Uint8Array.of(1));
    const kinds = system.dmaDebug?.reports.map((report) => `${report.device}: ${report.kind}`);
    expect(kinds).toEqual([
      'engine: cpu-load-while-device-owns',
      'engine: device-use-after-unmap',
      'vfe: device-access-never-mapped',
    ]);
  });
});

describe('a device without IOMMU', () => {
  test('drives physical addresses, past the cache of the CPU or through it', () => {
    const system = createSystem();
    const buffer = system.frames.allocate();
    system.cache.cached.write(buffer, Uint8Array.of(7));
    const seen = (isDmaCoherent: boolean): number => {
      const { device, master } = system.addDevice(`x${isDmaCoherent}`, { isDmaCoherent });
      expect([device.endpoints, device.isDmaCoherent]).toEqual([[], isDmaCoherent]);
      const byte = new Uint8Array(1);
      expect(master.read(buffer, byte).state).toBe('done');
      return byte[0] as number;
    };
    expect([seen(false), seen(true)]).toEqual([0, 7]);
    expect(system.addDevice('x').master.read(0x1000, new Uint8Array(1)).state).toBe('faulted');
  });
});

test('the checker says nothing of a device while it is attached to a domain of its own', () => {
  const system = createSystem({ dma: { debug: true } });
  const { device, master } = system.addDevice('engine', { context: CONTEXT });
  const domain = system.iommu.allocPagingDomain(device);
  system.iommu.attach(domain, device);
  domain.map(0x10000, system.frames.allocate(), 4096, { read: true, write: true });
  expect(master.write(0x10000, Uint8Array.of(1)).state).toBe('done');
  expect(system.dmaDebug?.reports).toEqual([]);
  system.iommu.detach(domain, device);
  master.write(0x10000, Uint8Array.of(1));
  expect(system.dmaDebug?.reports.map(({ kind }) => kind)).toEqual(['device-access-never-mapped']);
});
