import { Device } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import { CpuCache, hex, type PhysAddr, PhysicalMemory, World } from '@iommu-lab/machine';
import { describe, expect, test } from '@jest/globals';
import { DmaLayer, getDmaOps } from '../src/index.ts';
import { FlatIommu } from './support/flat-iommu.ts';
import { ARENA, FIRST_IOVA, makeSystem } from './support/system.ts';

function makeLayer(defaultDomain: 'dma' | 'identity' | 'blocked' = 'dma') {
  const world = new World();
  const memory = new PhysicalMemory([{ base: ARENA, sizeBytes: 0x10000 }]);
  const cache = new CpuCache(world, memory, {
    lineBytes: 32,
    sets: 4,
    ways: 1,
    evictOneIn: 0,
    speculateOneIn: 0,
  });
  const iommu = new Iommu(world, { defaultDomain });
  iommu.registerInstance(new FlatIommu(world, memory, { isolation: 'shared' }));
  const frames = new FrameAllocator(world, [{ base: ARENA, sizeBytes: 0x10000 }]);
  const layer = new DmaLayer(world, { iommu, frames, memory: cache, maintenance: cache });
  const add = (name: string, isBehind = true): Device => {
    const device = new Device(name);
    if (isBehind) device.endpoints = [{ provider: 'flat', context: name, streamIds: [0] }];
    iommu.configure(device);
    layer.configure(device);
    return device;
  };
  return { add, layer };
}

describe('which way a device is mapped', () => {
  test('behind an IOMMU with a paging default domain: through it; else directly', () => {
    expect(getDmaOps(makeLayer('dma').add('rot')).kind).toBe('iommu');
    expect(getDmaOps(makeLayer('dma').add('usb', false)).kind).toBe('direct');
    expect(getDmaOps(makeLayer('identity').add('rot')).kind).toBe('direct');
    expect(getDmaOps(makeLayer('blocked').add('rot')).kind).toBe('direct');
  });

  test('devices of one group share the IOVA space', () => {
    const { add } = makeLayer();
    const first = getDmaOps(add('one')).mapSingle(ARENA, 64, 'to-device');
    const second = getDmaOps(add('two')).mapSingle(ARENA, 64, 'to-device');
    expect([first, second]).toEqual([FIRST_IOVA, FIRST_IOVA - 0x1000]);
  });
});

describe('what is reserved', () => {
  test('no mapping of the DMA API lies in a reserved region, and a boot frame buffer stays where it is', () => {
    const world = new World();
    const memory = new PhysicalMemory([{ base: ARENA, sizeBytes: 0x10000 }]);
    const frames = new FrameAllocator(world, [{ base: ARENA, sizeBytes: 0x10000 }]);
    const iommu = new Iommu(world);
    iommu.registerInstance(new FlatIommu(world, memory, { isolation: 'shared' }));
    const layer = new DmaLayer(world, { iommu, frames, memory: { cached: memory, uncached: memory } });
    const display = new Device('display');
    display.endpoints = [{ provider: 'flat', context: 'display', streamIds: [0] }];
    display.reservedRegions = [{ name: 'splash', kind: 'direct', iova: ARENA, sizeBytes: 0x2000 }];
    display.dmaMask = ARENA + 0x2fff;
    iommu.configure(display);
    layer.configure(display);
    const ops = getDmaOps(display);
    const mapped = [1, 2].map((page) =>
      ops.mapSingle((ARENA + page * 0x1000) as PhysAddr, 4096, 'to-device'),
    );
    expect(mapped).toEqual([ARENA + 0x2000, ARENA - 0x1000]);
    expect(iommu.defaultDomainOf(display)?.iovaToPhys(ARENA + 0x1004)).toBe(ARENA + 0x1004);
  });
});

describe('a device that is not configured', () => {
  test('has no operations: before, and after its driver is gone', () => {
    expect(() => getDmaOps(new Device('rot'))).toThrow(/^ENODEV: rot has no DMA operations/);
    const { bus, device } = makeSystem();
    bus.unbind(device);
    expect(() => getDmaOps(device)).toThrow('ENODEV');
  });

  test('what its driver left behind is reported', () => {
    const { bus, device, dma, events } = makeSystem();
    dma.mapSingle(ARENA, 64, 'to-device', { site: 'rot: source' });
    dma.allocCoherent(100);
    bus.unbind(device);
    expect(events.find((e) => e.name === 'dma:pending_at_release')?.fields).toEqual({
      device: 'rot',
      count: 2,
      size: 164,
      example: { dma_addr: hex(FIRST_IOVA), size: 64, kind: 'page', site: 'rot: source' },
    });
  });

  test('nothing is reported of one that cleaned up', () => {
    const { bus, device, dma, events } = makeSystem();
    dma.unmapSingle(dma.mapSingle(ARENA, 64, 'to-device'), 64, 'to-device');
    bus.unbind(device);
    expect(events.map((e) => e.name)).not.toContain('dma:pending_at_release');
  });
});
