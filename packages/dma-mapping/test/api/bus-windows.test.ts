/** A bus with `dma-ranges`: where a device without an IOMMU finds memory through its windows. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import { codeOf } from '../support/code-of.ts';
import { ARENA, ARENA_BYTES, Machine, PAGE, pattern } from './fixture.ts';

const RAM_BYTES = 2 * ARENA_BYTES;
const RAM_END = ARENA + RAM_BYTES;
const ALL_RAM = { busStart: 0x80000000, cpuStart: ARENA, sizeBytes: RAM_BYTES };

describe('one window onto all of RAM', () => {
  test('the device address is the bus address; bytes go where they belong both ways', () => {
    const machine = new Machine();
    const { dma, read, write } = machine.add('rot', { behind: 'direct', dmaRanges: [ALL_RAM] });
    machine.cpuWrite(ARENA + 0x1234, pattern(100, 1));
    const address = dma.mapSingle(physAddr(ARENA + 0x1234), 100, 'bidirectional');
    expect(address).toBe(0x80001234);
    expect(read(address, 100)).toEqual(pattern(100, 1));
    expect(write(address, pattern(100, 9))).toBe(true);
    dma.unmapSingle(address, 100, 'bidirectional');
    expect(machine.cpuRead(ARENA + 0x1234, 100)).toEqual(pattern(100, 9));
  });

  test('lists, syncs of parts and coherent memory follow the window', () => {
    const machine = new Machine();
    const { dma, read, write } = machine.add('rot', { behind: 'direct', dmaRanges: [ALL_RAM] });
    const segments = dma.mapSg(
      [
        { address: physAddr(ARENA + PAGE), length: 64 },
        { address: physAddr(ARENA + 8), length: 64 },
      ],
      'from-device',
    );
    expect(segments.map(({ address }) => address)).toEqual([0x80001000, 0x80000008]);
    const buffer = dma.allocCoherent(100);
    buffer.write(50, pattern(50, 2));
    expect(read(buffer.dmaAddress + 50, 50)).toEqual(pattern(50, 2));
    expect(write(segments[1]?.address ?? 0, pattern(64, 3))).toBe(true);
    dma.syncSingleForCpu(segments[1]?.address ?? buffer.dmaAddress, 32, 'from-device');
    expect(machine.cpuRead(ARENA + 8, 32)).toEqual(pattern(64, 3).subarray(0, 32));
  });

  test('the mask, and the limit of the bus, are about bus addresses', () => {
    const { dma, device } = new Machine().add('rot', { behind: 'direct', dmaRanges: [ALL_RAM] });
    device.dmaMask = 0x7fffffff; // reaches all of RAM by its physical address
    expect(codeOf(() => dma.mapSingle(ARENA, 8, 'to-device'))).toBe('EIO');
    device.dmaMask = 0xffffffff;
    device.busDmaLimit = 0x80000fff;
    expect(dma.mapSingle(physAddr(ARENA + 0xff8), 8, 'to-device')).toBe(0x80000ff8);
    expect(codeOf(() => dma.mapSingle(physAddr(ARENA + 0xff8), 9, 'to-device'))).toBe('EIO');
    expect(codeOf(() => dma.allocCoherent(8))).toBe('ENOMEM');
  });

  test('the required mask is that of the bus address of the last byte of RAM', () => {
    const low = { busStart: 0, cpuStart: ARENA, sizeBytes: RAM_BYTES };
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: [low] });
    expect([dma.requiredMask, dma.isAddressingLimited]).toEqual([RAM_BYTES - 1, false]);
    dma.setMask(RAM_BYTES - 1);
    expect(dma.mapSingle(physAddr(RAM_END - 8), 8, 'to-device')).toBe(RAM_BYTES - 8);
    expect(dma.isAddressingLimited).toBe(false);
    dma.setMask(RAM_BYTES / 2 - 1);
    expect(dma.isAddressingLimited).toBe(true);
  });
});

describe('several windows', () => {
  const windows = [
    { busStart: 0xc0000000, cpuStart: ARENA, sizeBytes: 0x10000 },
    { busStart: 0x20000000, cpuStart: ARENA + 0x20000, sizeBytes: 0x10000 },
  ];

  test('each byte by its own; in a gap, or over the end of a window, it is EIO and nothing is mapped', () => {
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: windows });
    expect(dma.mapSingle(physAddr(ARENA + 0xfff8), 8, 'to-device')).toBe(0xc000fff8);
    expect(dma.mapSingle(physAddr(ARENA + 0x20000), 8, 'to-device')).toBe(0x20000000);
    const before = dma.mappedBytes;
    for (const [start, size] of [
      [ARENA + 0xfff8, 9],
      [ARENA + 0x10000, 8],
      [ARENA + 0x1fff8, 16],
      [ARENA + 0x30000, 1],
    ] as const) {
      expect(codeOf(() => dma.mapSingle(physAddr(start), size, 'to-device'))).toBe('EIO');
    }
    expect([dma.mappedBytes, dma.isAddressingLimited]).toEqual([before, true]);
  });

  // Fails: one window is asked for all of RAM. dma_direct_all_ram_mapped goes on in the next window where one ends.
  test('windows that meet and hold all of RAM together leave nothing out of reach', () => {
    const halves = [
      { busStart: 0x80000000, cpuStart: ARENA, sizeBytes: ARENA_BYTES },
      { busStart: 0x10000000, cpuStart: ARENA + ARENA_BYTES, sizeBytes: ARENA_BYTES },
    ];
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: halves });
    expect(dma.mapSingle(physAddr(RAM_END - 8), 8, 'to-device')).toBe(0x10000000 + ARENA_BYTES - 8);
    expect(dma.isAddressingLimited).toBe(false);
  });

  // Fails, as the kernel's dma_direct_get_required_mask would: it is the mask of the last byte of RAM, not of the highest address.
  test('the required mask reaches every window, not only the one of the last byte of RAM', () => {
    const halves = [
      { busStart: 0x80000000, cpuStart: ARENA, sizeBytes: ARENA_BYTES },
      { busStart: 0x10000000, cpuStart: ARENA + ARENA_BYTES, sizeBytes: ARENA_BYTES },
    ];
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: halves });
    dma.setMask(dma.requiredMask);
    expect(codeOf(() => dma.mapSingle(ARENA, 8, 'to-device'))).toBe('done');
  });

  // Fails with ENOMEM: the lowest run of frames is all that is tried, also where it is the higher ones that are in a window.
  test('memory for a coherent buffer is found where a window is', () => {
    const upper = { busStart: 0, cpuStart: ARENA + ARENA_BYTES + 0x10000, sizeBytes: 0x10000 };
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: [upper] });
    expect(codeOf(() => dma.allocCoherent(8))).toBe('done');
  });
});

describe('setMask', () => {
  const upper = (busStart: number) => ({ busStart, cpuStart: ARENA + ARENA_BYTES, sizeBytes: ARENA_BYTES });

  // Fails: where the first page of RAM is in no window any mask is accepted.
  test('a mask below every window reaches nothing: EIO', () => {
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: [upper(0x80000000)] });
    expect(codeOf(() => dma.setMask(0x7fffffff))).toBe('EIO');
  });

  // Fails: the first page of RAM alone decides. (The kernel takes every mask from 32 bits on.)
  test('a mask that reaches one of the windows reaches something', () => {
    const lower = { busStart: 0x80000000, cpuStart: ARENA as number, sizeBytes: ARENA_BYTES };
    const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges: [lower, upper(0)] });
    expect(codeOf(() => dma.setMask(0x7fffffff))).toBe('done');
  });
});

test('property: an address is what the only window that holds all of the buffer makes of it', () => {
  const window = fc.record({
    pages: fc.integer({ min: 1, max: 6 }),
    gap: fc.nat({ max: 3 }),
    bus: fc.nat({ max: 40 }),
  });
  fc.assert(
    fc.property(
      fc.array(window, { minLength: 1, maxLength: 4 }),
      fc.nat({ max: 40 * PAGE }),
      fc.integer({ min: 1, max: 3 * PAGE }),
      fc.nat({ max: 60 }),
      (shapes, offset, sizeBytes, limitPages) => {
        let cpu = ARENA as number;
        const dmaRanges = shapes.map(({ pages, gap, bus }) => {
          const range = { busStart: bus * PAGE, cpuStart: cpu + gap * PAGE, sizeBytes: pages * PAGE };
          cpu = range.cpuStart + range.sizeBytes;
          return range;
        });
        const busDmaLimit = limitPages * PAGE;
        const { dma } = new Machine().add('rot', { behind: 'direct', dmaRanges, busDmaLimit });
        const buffer = physAddr(ARENA + offset);
        // Byte by byte: all must go through the same window, and no bus address may be above the limit.
        let expected: number | string = 'EIO';
        for (const { busStart, cpuStart, sizeBytes: bytes } of dmaRanges) {
          const last = buffer + sizeBytes - 1;
          const isInside = buffer >= cpuStart && last < cpuStart + bytes;
          if (isInside && last - cpuStart + busStart <= busDmaLimit) expected = buffer - cpuStart + busStart;
        }
        let mapped: number | string = 0;
        const code = codeOf(() => {
          mapped = dma.mapSingle(buffer, sizeBytes, 'to-device');
        });
        expect(code === 'done' ? mapped : code).toBe(expected);
      },
    ),
    { numRuns: 300 },
  );
});
