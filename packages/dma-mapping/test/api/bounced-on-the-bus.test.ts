/** Bounce buffers are as the device needs them on its bus, or there are none: EIO, and the pool is as it was. */
import { describe, expect, test } from '@jest/globals';
import { hex, physAddr } from '@iommu-lab/machine';
import { DMA_MAPPING_ERROR, type DmaOps } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, type DeviceSetup, filled, HIGH, LOW_FRAMES, Machine } from './fixture.ts';

const WINDOW_BYTES = HIGH - ARENA;
const VALUE = { errorAsValue: true };

function lowDevice(setup: DeviceSetup) {
  const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: 1 << 18 });
  return { machine, ...machine.add('low', { behind: 'direct', ...setup }) };
}

/** Each way to map that may fail does with EIO, or its error value. */
function expectRefused(
  { dma, machine }: { readonly dma: DmaOps; readonly machine: Machine },
  length: number,
) {
  const entries = [{ address: HIGH, length }];
  expect(codeOf(() => dma.mapSingle(HIGH, length, 'to-device'))).toBe('EIO');
  expect(dma.mapSingle(HIGH, length, 'to-device', VALUE)).toBe(DMA_MAPPING_ERROR);
  expect(codeOf(() => dma.mapSg(entries, 'to-device'))).toBe('EIO');
  expect(codeOf(() => dma.mapSgTable({ entries, segments: [] }, 'to-device'))).toBe('EIO');
  expect(dma.mappedBytes).toBe(0);
  expect(machine.bounce?.occupancy).toMatchObject({ mappings: 0, usedSlots: 0, refused: 0 });
  expect(machine.namesOf('swiotlb:full')).toEqual([]);
}

describe('a bus that moves addresses', () => {
  test.each([0x8000, 0x2800, 0xf800, 0x10000])(
    'by %i: no bounce buffer crosses the segment boundary as the bus sees it; where none can lie so, ENOMEM',
    (busStart) => {
      const { machine, dma, read } = lowDevice({
        dmaRanges: [{ busStart, cpuStart: ARENA, sizeBytes: WINDOW_BYTES }],
      });
      dma.setParameters({ segmentBoundaryMask: 0xffff });
      const codes = new Set<string>();
      const crossing: string[] = [];
      for (const length of [0x10000, 0x6000, 0x2000, 0x800]) {
        machine.cpuWrite(HIGH + length - 16, filled(16, length >> 11));
        for (let round = 0; round < 12; round++) {
          const code = codeOf(() => {
            const address = dma.mapSingle(HIGH, length, 'to-device');
            const last = address + length - 1;
            if (address >>> 16 !== last >>> 16) crossing.push(`${hex(address)}..${hex(last)}`);
            expect(read(last - 15, 16)).toEqual(filled(16, length >> 11));
            dma.unmapSingle(address, length, 'to-device');
          });
          codes.add(code);
        }
      }
      expect(crossing).toEqual([]);
      // Where the bus keeps the boundaries of memory there is always room.
      if (busStart % 0x10000 !== 0) codes.delete('ENOMEM');
      expect([...codes]).toEqual(['done']);
      expect(machine.bounce?.occupancy.usedSlots).toBe(0);
    },
  );

  test('the low bits that the device looks at are those of the buffer, else EIO', () => {
    for (const [busStart, codes] of [
      [0x1000, ['done']],
      [0x800, ['done', 'EIO']],
    ] as const) {
      const { dma, machine } = lowDevice({
        dmaRanges: [{ busStart, cpuStart: ARENA, sizeBytes: WINDOW_BYTES }],
      });
      dma.setParameters({ minAlignMask: 0xfff });
      const seen = codeOf(() => {
        const address = dma.mapSingle(physAddr(HIGH + 0x10), 0x100, 'to-device');
        expect(address & 0xfff).toBe(0x10);
        dma.unmapSingle(address, 0x100, 'to-device');
      });
      expect(codes).toContain(seen);
      expect(machine.bounce?.occupancy.usedSlots).toBe(0);
    }
  });
});

describe('no bounce buffer could ever serve', () => {
  test('the pool lies above what the device reaches', () => {
    const machine = new Machine({ bounceBytes: 1 << 18 });
    expectRefused({ machine, ...machine.add('low', { behind: 'direct', busDmaLimit: HIGH - 1 }) }, 64);
  });

  test('the buffer would end above what the device reaches wherever it lay', () => {
    const machine = new Machine({ bounceBytes: 1 << 18 });
    const lowest = machine.bounce?.lowestAddress ?? 0;
    const attached = machine.add('low', { behind: 'direct', busDmaLimit: lowest + 0xfff });
    machine.cpuWrite(HIGH + 0x60000, filled(16, 1));
    const far = physAddr(HIGH + 0x60000);
    attached.dma.unmapSingle(attached.dma.mapSingle(far, 0x1000, 'to-device'), 0x1000, 'to-device');
    expect(codeOf(() => attached.dma.mapSingle(far, 0x1001, 'to-device'))).toBe('EIO');
    expect(attached.dma.mapSingle(far, 0x1001, 'to-device', VALUE)).toBe(DMA_MAPPING_ERROR);
  });

  test('the buffer is longer than the segment boundary', () => {
    const low = lowDevice({ busDmaLimit: HIGH - 1 });
    low.dma.setParameters({ segmentBoundaryMask: 0xfff });
    low.dma.unmapSingle(low.dma.mapSingle(HIGH, 0x1000, 'to-device'), 0x1000, 'to-device');
    expectRefused(low, 0x1001);
    expectRefused(low, 0x2000);
  });
});
