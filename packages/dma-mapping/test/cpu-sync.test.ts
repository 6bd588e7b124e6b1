/** Each hand-over of a buffer does the cache maintenance it needs; each test goes red without one of them. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import type { DmaDirection } from '../src/index.ts';
import { ARENA, filled, makeSystem, type SystemOptions, type TestSystem } from './support/system.ts';

const SIZE = 128;
const ALL_EVICTED = 8 * 32;

/** Reads so much else that no line of the buffer stays: dirty ones are written back. */
function evictAll(system: TestSystem): void {
  system.cpuRead(ARENA + 0x8000, ALL_EVICTED);
}

describe.each<SystemOptions>([{ path: 'direct' }, { path: 'iommu' }])(
  'a device that does not snoop ($path)',
  (options) => {
    describe.each<DmaDirection>(['to-device', 'bidirectional'])('%s', (direction) => {
      test('mapping cleans: the device reads what the CPU stored', () => {
        const system = makeSystem(options);
        system.cpuWrite(ARENA, filled(SIZE, 7));
        const address = system.dma.mapSingle(ARENA, SIZE, direction);
        expect(system.deviceRead(address, SIZE)).toEqual(filled(SIZE, 7));
      });

      test('sync for the device cleans', () => {
        const system = makeSystem(options);
        const address = system.dma.mapSingle(ARENA, SIZE, direction);
        system.dma.syncSingleForCpu(address, SIZE, direction);
        system.cpuWrite(ARENA, filled(SIZE, 7));
        system.dma.syncSingleForDevice(address, SIZE, direction);
        expect(system.deviceRead(address, SIZE)).toEqual(filled(SIZE, 7));
      });

      test('sync of a list for the device cleans every piece', () => {
        const system = makeSystem(options);
        const list = [
          { address: ARENA, length: 64 },
          { address: physAddr(ARENA + 0x3000), length: 64 },
        ];
        const segments = system.dma.mapSg(list, direction);
        system.dma.syncSgForCpu(segments, direction);
        for (const { address, length } of list) system.cpuWrite(address, filled(length, 7));
        system.dma.syncSgForDevice(segments, direction);
        for (const { address } of segments) expect(system.deviceRead(address, 64)).toEqual(filled(64, 7));
      });
    });

    test('mapping from-device invalidates: no dirty line is evicted over what the device wrote', () => {
      const system = makeSystem(options);
      system.cpuWrite(ARENA, filled(SIZE, 1));
      const address = system.dma.mapSingle(ARENA, SIZE, 'from-device');
      system.deviceWrite(address, filled(SIZE, 9));
      evictAll(system);
      system.dma.unmapSingle(address, SIZE, 'from-device');
      expect(system.cpuRead(ARENA, SIZE)).toEqual(filled(SIZE, 9));
    });

    describe.each<DmaDirection>(['from-device', 'bidirectional'])('%s', (direction) => {
      test('unmapping invalidates: the CPU does not hit lines filled while the device wrote', () => {
        const system = makeSystem(options);
        const address = system.dma.mapSingle(ARENA, SIZE, direction);
        system.cpuRead(ARENA, SIZE);
        system.deviceWrite(address, filled(SIZE, 9));
        system.dma.unmapSingle(address, SIZE, direction);
        expect(system.cpuRead(ARENA, SIZE)).toEqual(filled(SIZE, 9));
      });

      test('unmapping a list invalidates every piece', () => {
        const system = makeSystem(options);
        const list = [
          { address: ARENA, length: 64 },
          { address: physAddr(ARENA + 0x3040), length: 64 },
        ];
        const segments = system.dma.mapSg(list, direction);
        for (const { address, length } of list) system.cpuRead(address, length);
        for (const { address, length } of segments) system.deviceWrite(address, filled(length, 9));
        system.dma.unmapSg(segments, direction);
        for (const { address } of list) expect(system.cpuRead(address, 64)).toEqual(filled(64, 9));
      });

      test('sync of a list for the CPU invalidates every piece', () => {
        const system = makeSystem(options);
        const list = [
          { address: ARENA, length: 64 },
          { address: physAddr(ARENA + 0x3040), length: 64 },
        ];
        const segments = system.dma.mapSg(list, direction);
        for (const { address, length } of list) system.cpuRead(address, length);
        for (const { address, length } of segments) system.deviceWrite(address, filled(length, 9));
        system.dma.syncSgForCpu(segments, direction);
        for (const { address } of list) expect(system.cpuRead(address, 64)).toEqual(filled(64, 9));
      });

      test('sync of part of it for the CPU invalidates that part', () => {
        const system = makeSystem(options);
        const address = system.dma.mapSingle(ARENA, SIZE, direction);
        system.cpuRead(ARENA, SIZE);
        system.deviceWrite(address, filled(SIZE, 9));
        system.dma.syncSingleForCpu((address + 32) as typeof address, 64, direction);
        expect(system.cpuRead(ARENA + 32, 64)).toEqual(filled(64, 9));
      });
    });

    test.each([0, 1, 5, 31, 32, 33])(
      'stores beside a buffer at offset %i survive in shared lines',
      (offset) => {
        for (let size = 1; size <= 70; size++) {
          const system = makeSystem(options);
          const buffer = physAddr(ARENA + 64 + offset);
          system.cpuWrite(ARENA + 64, filled(256, 5));
          const address = system.dma.mapSingle(buffer, size, 'from-device');
          system.deviceWrite(address, filled(size, 9));
          system.dma.unmapSingle(address, size, 'from-device');
          const expected = filled(256, 5).fill(9, offset, offset + size);
          expect(system.cpuRead(ARENA + 64, 256)).toEqual(expected);
        }
      },
    );

    test('with skipCpuSync the cache is left alone', () => {
      const system = makeSystem(options);
      system.cpuWrite(ARENA, filled(SIZE, 7));
      const address = system.dma.mapSingle(ARENA, SIZE, 'bidirectional', { skipCpuSync: true });
      expect(system.cache.lineState(ARENA)).toBe('dirty');
      system.dma.unmapSingle(address, SIZE, 'bidirectional', { skipCpuSync: true });
      expect(system.cache.lineState(ARENA)).toBe('dirty');
    });
  },
);

test('a device that snoops needs no maintenance', () => {
  const system = makeSystem({ path: 'direct', isCoherent: true });
  const steps: string[] = [];
  system.world.interposer.observe((kind) => steps.push(kind));
  const address = system.dma.mapSingle(ARENA, SIZE, 'bidirectional');
  system.dma.syncSingleForCpu(address, SIZE, 'bidirectional');
  system.dma.syncSingleForDevice(address, SIZE, 'bidirectional');
  system.dma.unmapSingle(address, SIZE, 'bidirectional');
  expect(steps).toEqual([]);
});

test('a mapping that fails leaves the CPU its stores', () => {
  const system = makeSystem({ path: 'iommu' });
  system.cpuWrite(ARENA, filled(SIZE, 7));
  system.world.failpoints.failNth(1, 'dma-mapping.iova');
  expect(() => system.dma.mapSingle(ARENA, SIZE, 'from-device')).toThrow('ENOSPC');
  expect(system.cpuRead(ARENA, SIZE)).toEqual(filled(SIZE, 7));
});
