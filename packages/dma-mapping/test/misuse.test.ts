/** Wrong calls are refused and change nothing: the right call works afterwards. */
import { describe, expect, test } from '@jest/globals';
import { type Iova, physAddr } from '@iommu-lab/machine';
import { codeOf } from './support/code-of.ts';
import { ARENA, makeSystem, type SystemOptions, type TestSystem } from './support/system.ts';

const OUT = physAddr(ARENA + 0x2010);

/** `run` is refused and neither the layer's state nor the log moved. */
function expectNoChange(system: TestSystem, run: () => unknown, code = 'EINVAL'): void {
  const before = {
    bytes: system.dma.mappedBytes,
    events: system.events.length,
    free: system.frames.freeBytes,
  };
  expect(codeOf(run)).toBe(code);
  expect({
    bytes: system.dma.mappedBytes,
    events: system.events.length,
    free: system.frames.freeBytes,
  }).toEqual(before);
}

describe.each<SystemOptions>([{ path: 'direct' }, { path: 'iommu' }])('$path', (options) => {
  test('a single mapping is taken back only as it was made, and once', () => {
    const system = makeSystem(options);
    const { dma } = system;
    const address = dma.mapSingle(OUT, 100, 'to-device', { site: 'test: buffer' });
    for (const wrong of [
      () => dma.unmapSingle(address, 99, 'to-device'),
      () => dma.unmapSingle(address, 100, 'from-device'),
      () => dma.unmapSingle(address, 100, 'bidirectional'),
      () => dma.unmapSingle((address + 4) as Iova, 96, 'to-device'),
      () => dma.unmapSingle((address + 0x4000) as Iova, 100, 'to-device'),
      () => dma.unmapSg([{ address, length: 100 }], 'to-device'),
      () => dma.unmapSg([], 'to-device'),
    ]) {
      expectNoChange(system, wrong);
    }
    dma.unmapSingle(address, 100, 'to-device');
    expectNoChange(system, () => dma.unmapSingle(address, 100, 'to-device'));
    expect(dma.mappedBytes).toBe(0);
  });

  test('a list is taken back only with the segments it was given as', () => {
    const system = makeSystem(options);
    const { dma } = system;
    const list = [
      { address: OUT, length: 32 },
      { address: physAddr(ARENA + 0x5000), length: 32 },
    ];
    const segments = dma.mapSg(list, 'from-device');
    expect(segments).toHaveLength(2);
    for (const wrong of [
      () => dma.unmapSg(segments.slice(0, 1), 'from-device'),
      () => dma.unmapSg([...segments].reverse(), 'from-device'),
      () => dma.unmapSg(segments, 'to-device'),
      () => dma.unmapSingle(segments[0]!.address, 32, 'from-device'),
      () => dma.syncSgForCpu(segments.slice(1), 'from-device'),
      () => dma.syncSgForDevice(segments, 'to-device'),
    ]) {
      expectNoChange(system, wrong);
    }
    dma.unmapSg(segments, 'from-device');
    expectNoChange(system, () => dma.unmapSg(segments, 'from-device'));
  });

  test('a sync stays inside a mapping and keeps its direction', () => {
    const system = makeSystem(options);
    const { dma } = system;
    const address = dma.mapSingle(OUT, 100, 'to-device');
    expectNoChange(system, () => dma.syncSingleForCpu(address, 101, 'to-device'));
    expectNoChange(system, () => dma.syncSingleForCpu((address - 1) as Iova, 10, 'to-device'));
    expectNoChange(system, () => dma.syncSingleForDevice(address, 10, 'from-device'));
    expectNoChange(system, () => dma.syncSingleForDevice(address, 0, 'to-device'));
    dma.syncSingleForDevice((address + 50) as Iova, 50, 'to-device');
    dma.unmapSingle(address, 100, 'to-device');
    expectNoChange(system, () => dma.syncSingleForCpu(address, 100, 'to-device'));
  });

  test('a bidirectional mapping may be synced for either direction', () => {
    const { dma } = makeSystem(options);
    const address = dma.mapSingle(OUT, 100, 'bidirectional');
    dma.syncSingleForCpu(address, 100, 'from-device');
    dma.syncSingleForDevice(address, 100, 'to-device');
    const segments = dma.mapSg([{ address: physAddr(ARENA), length: 8 }], 'bidirectional');
    dma.syncSgForDevice(segments, 'to-device');
    expect(dma.mappedBytes).toBe(108);
  });

  test('buffers that are none are refused', () => {
    const system = makeSystem(options);
    const { dma } = system;
    expectNoChange(system, () => dma.mapSingle(OUT, 0, 'to-device'));
    expectNoChange(system, () => dma.mapSingle(OUT, -1, 'to-device'));
    expectNoChange(system, () => dma.mapSingle(OUT, 1.5, 'to-device'));
    expectNoChange(system, () => dma.mapSingle(-4096 as typeof OUT, 10, 'to-device'));
    expectNoChange(system, () => dma.mapPage(OUT, 0, 10, 'to-device'));
    expectNoChange(system, () => dma.mapPage(ARENA, -1, 10, 'to-device'));
    expectNoChange(system, () => dma.mapSg([], 'to-device'));
    expectNoChange(system, () => dma.mapSg([{ address: OUT, length: 0 }], 'to-device'));
    expectNoChange(system, () => dma.allocCoherent(0));
  });

  test('a page and a single mapping are one kind', () => {
    const { dma } = makeSystem(options);
    const address = dma.mapPage(ARENA, 0x10, 0x20, 'to-device');
    dma.unmapSingle(address, 0x20, 'to-device');
    dma.unmapPage(dma.mapSingle(ARENA, 0x20, 'to-device'), 0x20, 'to-device');
    expect(dma.mappedBytes).toBe(0);
  });

  test('one buffer can be mapped several times', () => {
    const { dma } = makeSystem(options);
    const first = dma.mapSingle(OUT, 100, 'to-device');
    const second = dma.mapSingle(OUT, 50, 'to-device');
    dma.unmapSingle(first, 100, 'to-device');
    dma.unmapSingle(second, 50, 'to-device');
    expect(dma.mappedBytes).toBe(0);
  });

  test('a coherent buffer is freed once, by its own call, and is dead then', () => {
    const system = makeSystem(options);
    const { dma } = system;
    const other = makeSystem(options);
    const buffer = dma.allocCoherent(100);
    expectNoChange(system, () => dma.unmapSingle(buffer.dmaAddress, 100, 'bidirectional'));
    expectNoChange(system, () => dma.syncSingleForCpu(buffer.dmaAddress, 100, 'bidirectional'));
    expectNoChange(other, () => other.dma.freeCoherent(buffer));
    dma.freeCoherent(buffer);
    expectNoChange(system, () => dma.freeCoherent(buffer));
    expectNoChange(system, () => buffer.read32(0));
  });
});
