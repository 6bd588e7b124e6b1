/** Masks and limits: what they say, and where mappings lie because of them. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { codeOf } from '../support/code-of.ts';
import { ARENA, ARENA_BYTES, FIRST_IOVA, LOW_FRAMES, Machine, PAGE } from './fixture.ts';

const NO_LIMIT = Number.MAX_SAFE_INTEGER;
const GIB4 = 2 ** 32;

describe('an IOMMU whose aperture reaches above 32 bits', () => {
  const aperture = { start: 0, last: 2 ** 36 - 1 };

  test('a device with a larger mask is mapped below 4 GiB first, from the last granule on', () => {
    const { dma } = new Machine().add('rot', { aperture, dmaMask: 2 ** 36 - 1 });
    expect(dma.mapSingle(ARENA, 8, 'to-device')).toBe(GIB4 - PAGE);
  });

  // Leaves 64 pages below 4 GiB: one range of 40, which no magazine takes.
  const reservedRegions = [
    { name: 'low', kind: 'reserved' as const, iova: physAddr(0), sizeBytes: GIB4 - 64 * PAGE },
  ];
  const SIZE = 40 * PAGE;

  test('once there is no space below 4 GiB it goes above, and stays there when there is space again', () => {
    const machine = new Machine();
    const { dma, read } = machine.add('rot', { aperture, dmaMask: 2 ** 36 - 1, reservedRegions });
    const low = dma.mapSingle(ARENA, SIZE, 'to-device');
    expect(low).toBe(GIB4 - 64 * PAGE);
    const high = dma.mapSingle(ARENA, SIZE, 'to-device');
    expect(high).toBe(2 ** 36 - 64 * PAGE);
    expect(read(high, SIZE)).toBeDefined();
    dma.unmapSingle(low, SIZE, 'to-device');
    expect(dma.mapSingle(ARENA, SIZE, 'to-device')).toBe(2 ** 36 - 128 * PAGE);
  });

  test("the flag is the device's own: another one of the group starts below 4 GiB", () => {
    const machine = new Machine();
    const shared = { behind: 'shared', aperture, dmaMask: 2 ** 36 - 1 };
    const one = machine.add('one', { ...shared, reservedRegions });
    const two = machine.add('two', shared);
    const low = one.dma.mapSingle(ARENA, SIZE, 'to-device');
    expect(one.dma.mapSingle(ARENA, SIZE, 'to-device')).toBeGreaterThan(GIB4);
    one.dma.unmapSingle(low, SIZE, 'to-device');
    expect(two.dma.mapSingle(ARENA, SIZE, 'to-device')).toBe(low);
  });

  test('a 32-bit device never gets more than it can drive, whatever the others do', () => {
    const reservedRegions = [
      { name: 'low', kind: 'reserved' as const, iova: physAddr(0), sizeBytes: GIB4 - PAGE },
    ];
    const { dma } = new Machine().add('rot', { aperture, reservedRegions });
    expect(dma.mapSingle(ARENA, 8, 'to-device')).toBe(GIB4 - PAGE);
    expect(codeOf(() => dma.mapSingle(ARENA, 8, 'to-device'))).toBe('ENOSPC');
  });
});

test('the streaming mask is for maps and reservations, the coherent one for allocations; setMask sets both', () => {
  const { dma, device } = new Machine().add('rot');
  dma.setStreamingMask(0xffffff);
  dma.setCoherentMask(0xfffff);
  expect([device.dmaMask, device.coherentDmaMask]).toEqual([0xffffff, 0xfffff]);
  expect(dma.mapSingle(ARENA, 8, 'to-device')).toBe(0xfff000);
  expect(dma.tryAllocIova(ARENA, 8)?.address).toBe(0xffe000);
  expect(dma.allocCoherent(8).dmaAddress).toBe(0xff000);
  expect(dma.allocNoncontiguous(8, 'to-device').dmaAddress).toBe(0xfe000);
  dma.setMask(0xffffffff);
  expect([device.dmaMask, device.coherentDmaMask]).toEqual([0xffffffff, 0xffffffff]);
  expect(dma.mapSingle(ARENA, 8, 'to-device')).toBe(FIRST_IOVA);
});

test.each(['direct', 'iommu'])('a mask that is none or reaches nothing changes nothing (%s)', (behind) => {
  const { dma, device } = new Machine().add('rot', { behind });
  for (const set of ['setMask', 'setStreamingMask', 'setCoherentMask'] as const) {
    for (const mask of [-1, 1.5, 0xffff0000, 2 ** 60, Number.NaN]) {
      expect(codeOf(() => dma[set](mask))).toBe('EINVAL');
    }
    expect(codeOf(() => dma[set](0xfff))).toBe('EIO');
  }
  expect([device.dmaMask, device.coherentDmaMask]).toEqual([0xffffffff, 0xffffffff]);
});

test('parameters of an engine that are none are EINVAL and change nothing', () => {
  const { dma, device } = new Machine().add('rot');
  const before = device.dmaParameters;
  for (const changes of [{ maxSegmentBytes: 0 }, { segmentBoundaryMask: 5 }, { minAlignMask: -1 }]) {
    expect(codeOf(() => dma.setParameters(changes))).toBe('EINVAL');
  }
  expect(device.dmaParameters).toEqual(before);
  dma.setParameters({ maxSegmentBytes: 512 });
  expect(device.dmaParameters).toEqual({ ...before, maxSegmentBytes: 512 });
});

describe('limits', () => {
  test('directly: the mask for all of RAM, no merging, no limit of size', () => {
    const { dma } = new Machine().add('rot', { behind: 'direct' });
    expect(dma).toMatchObject({
      requiredMask: 0x7fffffff,
      isAddressingLimited: false,
      maxMappingSize: NO_LIMIT,
      optMappingSize: NO_LIMIT,
      mergeBoundary: 0,
    });
    dma.setStreamingMask(0x7fffffff);
    expect(dma.isAddressingLimited).toBe(false);
  });

  test('directly out of reach: limited; with a pool a map is sure of what the pool can bounce', () => {
    const dmaMask = ARENA + ARENA_BYTES - 1;
    const bare = new Machine().add('rot', { behind: 'direct', dmaMask });
    expect([bare.dma.isAddressingLimited, bare.dma.maxMappingSize]).toEqual([true, NO_LIMIT]);
    const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: 1 << 18 });
    const { dma } = machine.add('rot', { behind: 'direct', dmaMask });
    expect([dma.maxMappingSize, dma.optMappingSize]).toEqual([1 << 18, 1 << 18]);
    dma.setParameters({ minAlignMask: 0xfff });
    expect(dma.maxMappingSize).toBe((1 << 18) - PAGE);
    dma.setStreamingMask(0xffffffff);
    expect(dma.maxMappingSize).toBe(NO_LIMIT);
  });

  test.each([PAGE, 4 * PAGE])(
    'behind an IOMMU with granules of %d: 32 bits, 32 granules, merging on granules',
    (granule) => {
      const { dma } = new Machine().add('rot', { granule });
      expect(dma).toMatchObject({
        requiredMask: 0xffffffff,
        isAddressingLimited: false,
        maxMappingSize: NO_LIMIT,
        optMappingSize: 32 * granule,
        mergeBoundary: granule - 1,
      });
      dma.setStreamingMask(0x7fffffff);
      expect(dma.isAddressingLimited).toBe(true);
    },
  );

  test('the limit of the bus counts as the mask does', () => {
    for (const behind of ['direct', 'iommu']) {
      const { dma } = new Machine().add('rot', { behind, busDmaLimit: 0x3fffffff });
      expect(dma.isAddressingLimited).toBe(true);
    }
  });
});
