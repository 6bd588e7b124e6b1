/** What is particular to mapping through an IOMMU: isolation, whole granules, merging, masks. */
import { describe, expect, test } from '@jest/globals';
import { createFlatIommu, ReservedTableMemory } from '@iommu-lab/backend-flat';
import { Device } from '@iommu-lab/driver-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import { BusMaster, physAddr, PhysicalMemory, World } from '@iommu-lab/machine';
import { type DmaDirection, DmaLayer, getDmaOps } from '../src/index.ts';
import { codeOf } from './support/code-of.ts';
import { ARENA, filled, FIRST_IOVA, makeSystem } from './support/system.ts';

const PAGE = 4096;

describe('isolation', () => {
  test('the device reaches a buffer while it is mapped and not afterwards, whatever its TLB holds', () => {
    const { dma, deviceRead } = makeSystem();
    const address = dma.mapSingle(ARENA, 64, 'to-device');
    expect(deviceRead(address, 64)).toBeDefined();
    dma.unmapSingle(address, 64, 'to-device');
    expect(deviceRead(address, 64)).toBeUndefined();
    expect(deviceRead(ARENA, 64)).toBeUndefined();
  });

  test.each<[DmaDirection, boolean, boolean]>([
    ['to-device', true, false],
    ['from-device', false, true],
    ['bidirectional', true, true],
  ])('%s allows reads: %p, writes: %p', (direction, canRead, canWrite) => {
    const { dma, deviceRead, deviceWrite } = makeSystem();
    const address = dma.mapSingle(ARENA, 64, direction);
    expect(deviceRead(address, 64) !== undefined).toBe(canRead);
    expect(deviceWrite(address, filled(64, 1))).toBe(canWrite ? 'done' : 'faulted');
  });

  test('accesses of a snooping device are cacheable, those of another are not', () => {
    for (const isCoherent of [true, false]) {
      const { dma, device, iommu } = makeSystem({ isCoherent });
      dma.mapSingle(ARENA, 64, 'to-device');
      const [record] = iommu.defaultDomainOf(device)?.mappings() ?? [];
      expect(record?.protection.cacheable ?? false).toBe(isCoherent);
    }
  });
});

describe('placing', () => {
  test('the address keeps the offset in the granule and whole granules are mapped', () => {
    const { dma, device, iommu } = makeSystem();
    const address = dma.mapSingle(physAddr(ARENA + 0xff8), 16, 'to-device');
    expect(address % PAGE).toBe(0xff8);
    const [record] = iommu.defaultDomainOf(device)?.mappings() ?? [];
    expect(record).toMatchObject({ iova: address - 0xff8, address: ARENA, sizeBytes: 2 * PAGE });
    expect(dma.mappedBytes).toBe(16);
  });

  test('addresses go from the top of the mask down', () => {
    const { dma } = makeSystem();
    expect(dma.mapSingle(ARENA, 64, 'to-device')).toBe(FIRST_IOVA);
    dma.setMask(0xffffff);
    expect(dma.mapSingle(ARENA, 64, 'to-device')).toBe(0xfff000);
    expect(dma.allocCoherent(64).dmaAddress).toBe(0xffe000);
    dma.setCoherentMask(0xfffff);
    expect(dma.allocCoherent(64).dmaAddress).toBe(0xff000);
    expect(dma.mapSingle(ARENA, 64, 'to-device')).toBe(0xffd000);
  });

  test('the aperture limits them too; without space it is ENOSPC', () => {
    const { dma } = makeSystem({ apertureLast: 3 * PAGE - 1 });
    const addresses = [1, 2].map(() => dma.mapSingle(ARENA, 64, 'to-device'));
    expect(addresses).toEqual([2 * PAGE, PAGE]);
    expect(codeOf(() => dma.mapSingle(ARENA, 64, 'to-device'))).toBe('ENOSPC');
    for (const address of addresses) dma.unmapSingle(address, 64, 'to-device');
    expect(dma.mapSingle(ARENA, 64, 'to-device')).toBe(PAGE); // what came back last is what a magazine gives first
  });

  test('a device that runs over the end of its first buffer faults at the address behind it, not at 0', () => {
    const { dma, deviceWrite, faultAddress } = makeSystem();
    const address = dma.mapSingle(ARENA, PAGE, 'from-device');
    expect(deviceWrite(address, filled(PAGE + 4, 1))).toBe('faulted');
    expect(faultAddress()).toBe(address + PAGE);
  });

  test('a mask that is lowered for one mapping and raised again leaves the mappings above it as they were', () => {
    const { dma, deviceWrite, iommu, device } = makeSystem();
    const high = dma.mapSingle(ARENA, 64, 'from-device');
    dma.setMask(0xffffff);
    const low = dma.mapSingle(physAddr(ARENA + PAGE), 64, 'from-device');
    expect([high, low]).toEqual([FIRST_IOVA, 0xfff000]);
    expect(deviceWrite(high, filled(64, 1))).toBe('done');
    dma.unmapSingle(high, 64, 'from-device');
    expect(deviceWrite(high, filled(64, 1))).toBe('faulted');
    dma.setMask(0xffffffff);
    expect(dma.mapSingle(ARENA, 64, 'from-device')).toBe(high);
    dma.unmapSingle(high, 64, 'from-device');
    dma.unmapSingle(low, 64, 'from-device');
    expect([dma.mappedBytes, iommu.domainOf(device)?.mappings()]).toEqual([0, []]);
  });

  test('a mask below the first address is refused and the old one stays', () => {
    const { dma, device } = makeSystem();
    expect(codeOf(() => dma.setMask(0xfff))).toBe('EIO');
    expect(codeOf(() => dma.setMask(0xffff0000))).toBe('EINVAL');
    expect(codeOf(() => dma.setCoherentMask(-1))).toBe('EINVAL');
    expect([device.dmaMask, device.coherentDmaMask]).toEqual([0xffffffff, 0xffffffff]);
  });
});

describe('scatter lists', () => {
  const at = (page: number, offset: number, length: number) => ({
    address: physAddr(ARENA + page * PAGE + offset),
    length,
  });

  test.each([
    ['whole pages are one segment', [at(5, 0, PAGE), at(2, 0, PAGE), at(9, 0, 2 * PAGE)], [4 * PAGE]],
    [
      'a ragged head and tail do not matter',
      [at(5, 100, PAGE - 100), at(2, 0, PAGE), at(9, 0, 7)],
      [2 * PAGE - 93],
    ],
    ['an end inside a granule ends the segment', [at(5, 0, 100), at(2, 0, PAGE)], [100, PAGE]],
    ['a start inside a granule starts one', [at(5, 0, PAGE), at(2, 4, 100), at(3, 0, 8)], [PAGE, 100, 8]],
    ['one entry is one segment', [at(5, 12, 30)], [30]],
  ])('%s', (_, entries, lengths) => {
    const { dma, deviceRead, cpuWrite, iommu, device } = makeSystem();
    entries.forEach((entry, i) => cpuWrite(entry.address, filled(entry.length, i + 1)));
    const segments = dma.mapSg(entries, 'to-device');
    expect(segments.map((s) => s.length)).toEqual(lengths);
    const seen = segments.flatMap((s) => [...(deviceRead(s.address, s.length) ?? [])]);
    expect(seen).toEqual(entries.flatMap((entry, i) => [...filled(entry.length, i + 1)]));
    dma.unmapSg(segments, 'to-device');
    expect(iommu.defaultDomainOf(device)?.mappings()).toEqual([]);
  });

  test('part of a segment can be synced across the boundary of its pieces', () => {
    const system = makeSystem();
    const entries = [at(5, 0, PAGE), at(2, 0, PAGE)];
    const [segment] = system.dma.mapSg(entries, 'bidirectional');
    const start = physAddr(ARENA + 6 * PAGE - 32);
    system.cpuWrite(start, filled(32, 3));
    system.cpuWrite(ARENA + 2 * PAGE, filled(32, 4));
    const address = ((segment?.address ?? 0) + PAGE - 32) as NonNullable<typeof segment>['address'];
    system.dma.syncSingleForDevice(address, 64, 'to-device');
    expect(system.deviceRead(address, 64)).toEqual(Uint8Array.from([...filled(32, 3), ...filled(32, 4)]));
  });
});

describe('a range somebody else unmapped part of', () => {
  test('is never handed out again, and reported', () => {
    const { dma, device, iommu, events } = makeSystem();
    const address = dma.mapSingle(ARENA, 4 * PAGE, 'to-device');
    iommu.defaultDomainOf(device)?.unmap(address + PAGE, PAGE);
    dma.unmapSingle(address, 4 * PAGE, 'to-device');
    expect(events.map((e) => e.name)).toContain('dma:iova_quarantined');
    expect(dma.mapSingle(ARENA, 4 * PAGE, 'to-device')).toBe(address - 4 * PAGE);
  });
});

describe('an IOMMU whose granule is larger than a frame', () => {
  const GRANULE = 16 * 1024;

  test('whole granules are mapped, and coherent memory is made of them', () => {
    const world = new World();
    const memory = new PhysicalMemory([{ base: ARENA, sizeBytes: 0x100000 }]);
    const tables = new ReservedTableMemory(world, memory, ARENA, 0x40000);
    const flat = createFlatIommu({ world, memory, tables });
    const frames = new FrameAllocator(world, [{ base: ARENA + 0x40000, sizeBytes: 0xc0000 }]);
    const layer = new DmaLayer(world, {
      iommu: flat.iommu,
      frames,
      memory: { cached: memory, uncached: memory },
    });
    const device = new Device('camera');
    device.endpoints = [flat.endpoint(0)];
    flat.iommu.configure(device);
    layer.configure(device);
    const dma = getDmaOps(device);
    const master = new BusMaster(world, { name: 'camera', streamId: 0, port: flat.hardware });

    const page = physAddr(ARENA + 0x43000);
    memory.write(page, filled(64, 3));
    const address = dma.mapSingle(page, 64, 'to-device');
    expect(address % GRANULE).toBe(0x3000);
    const seen = new Uint8Array(64);
    expect(master.read(address, seen).state).toBe('done');
    expect(seen).toEqual(filled(64, 3));

    const free = frames.freeBytes;
    const buffer = dma.allocCoherent(GRANULE + 1);
    expect(free - frames.freeBytes).toBe(2 * GRANULE);
    buffer.write(GRANULE - 4, filled(5, 7));
    expect(master.read(buffer.dmaAddress + GRANULE - 4, seen.subarray(0, 5)).state).toBe('done');
    expect(seen.subarray(0, 5)).toEqual(filled(5, 7));
    dma.freeCoherent(buffer);
    expect(frames.freeBytes).toBe(free);
  });
});
