/** How map calls fail: as an exception, as a value, as the few codes of `mapSgTable`; and what is left then: nothing. */
import { describe, expect, test } from '@jest/globals';
import { LabError, physAddr } from '@iommu-lab/machine';
import { DMA_MAPPING_ERROR, type DmaPath, type DmaSegment, type SgTable } from '../../src/index.ts';
import { codeOf } from '../support/code-of.ts';
import { ARENA, FIFO, FIRST_IOVA, Machine, PAGE } from './fixture.ts';

const tableOf = (...pages: number[]): SgTable => ({
  entries: pages.map((page) => ({ address: physAddr(ARENA + page * PAGE), length: PAGE })),
  segments: [],
});

/** A way to memory that fails as it is told. */
function failingWith(error: unknown): Partial<DmaPath> {
  return {
    kind: 'failing',
    map: () => {
      throw error;
    },
  };
}

describe('mapSgTable', () => {
  test.each([
    ['EINVAL', 'EINVAL'],
    ['ENOMEM', 'ENOMEM'],
    ['EOPNOTSUPP', 'EOPNOTSUPP'],
    ['EIO', 'EIO'],
    ['ENOSPC', 'ENOMEM'],
    ['ERANGE', 'EIO'],
    ['EEXIST', 'EIO'],
    ['ENODEV', 'EIO'],
  ] as const)('%s of the path is %s for the driver', (code, expected) => {
    const path = failingWith(new LabError(code, 'as told')) as DmaPath;
    const { dma } = new Machine({ wiring: { pathOf: () => path } }).add('rot');
    const table = tableOf(1, 2);
    expect(codeOf(() => dma.mapSgTable(table, 'to-device'))).toBe(expected);
    expect([table.segments, dma.mappedBytes]).toEqual([[], 0]);
  });

  test('what is no LabError is a defect and passes as it is', () => {
    const path = failingWith(new TypeError('a defect')) as DmaPath;
    const { dma } = new Machine({ wiring: { pathOf: () => path } }).add('rot');
    expect(() => dma.mapSgTable(tableOf(1), 'to-device')).toThrow(TypeError);
  });

  test('without IOVA space it is ENOMEM, with mapSg ENOSPC', () => {
    const { dma } = new Machine().add('rot', { aperture: { start: 0, last: 3 * PAGE - 1 } });
    const table = tableOf(1, 2, 3);
    expect(codeOf(() => dma.mapSg(table.entries, 'to-device'))).toBe('ENOSPC');
    expect(codeOf(() => dma.mapSgTable(table, 'to-device'))).toBe('ENOMEM');
    expect(table.segments).toEqual([]);
  });

  test('a table is mapped once at a time, keeps its segments while it is, and none afterwards', () => {
    const { dma, read } = new Machine().add('rot');
    const table = tableOf(1, 5);
    dma.mapSgTable(table, 'to-device');
    expect(table.segments).toEqual([
      { address: FIRST_IOVA - PAGE - ((FIRST_IOVA - PAGE) % (2 * PAGE)), length: 2 * PAGE },
    ]);
    const [{ address }] = table.segments as readonly [DmaSegment];
    expect(codeOf(() => dma.mapSgTable(table, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => dma.unmapSgTable(table, 'from-device'))).toBe('EINVAL');
    expect(read(address, 2 * PAGE)).toBeDefined();
    dma.unmapSgTable(table, 'to-device');
    expect([table.segments, dma.mappedBytes, read(address, 1)]).toEqual([[], 0, undefined]);
    expect(codeOf(() => dma.unmapSgTable(table, 'to-device'))).toBe('EINVAL');
    dma.mapSgTable(table, 'to-device');
    expect(table.segments).toHaveLength(1);
  });
});

describe('errorAsValue', () => {
  test('single, page and resource maps return the error value, which mappingError knows', () => {
    const { dma, device } = new Machine().add('rot', { behind: 'direct' });
    device.dmaMask = 0xfff;
    const options = { errorAsValue: true };
    const addresses = [
      dma.mapSingle(ARENA, 8, 'to-device', options),
      dma.mapPage(ARENA, 8, 8, 'to-device', options),
      dma.mapResource(FIFO, 8, 'to-device', options),
    ];
    expect(addresses).toEqual([DMA_MAPPING_ERROR, DMA_MAPPING_ERROR, DMA_MAPPING_ERROR]);
    expect(addresses.every((address) => dma.mappingError(address))).toBe(true);
    expect(dma.mappedBytes).toBe(0);
  });

  test('every kind of failure of the IOMMU way is a value too', () => {
    const machine = new Machine();
    const { dma } = machine.add('rot');
    for (const site of ['dma-mapping.iova', 'flat-iommu.table']) {
      machine.world.failpoints.failNth(1, site);
      expect(dma.mappingError(dma.mapSingle(ARENA, 8, 'to-device', { errorAsValue: true }))).toBe(true);
      machine.world.failpoints.reset();
    }
    const coherent = { errorAsValue: true, requireCoherent: true };
    expect(dma.mappingError(dma.mapSingle(ARENA, 8, 'to-device', coherent))).toBe(true);
    expect(dma.mappingError(dma.mapSingle(ARENA, 8, 'to-device'))).toBe(false);
  });

  test('misuse throws all the same', () => {
    const { dma } = new Machine().add('rot');
    const options = { errorAsValue: true };
    expect(codeOf(() => dma.mapSingle(ARENA, 0, 'to-device', options))).toBe('EINVAL');
    expect(codeOf(() => dma.mapPage(physAddr(ARENA + 1), 0, 8, 'to-device', options))).toBe('EINVAL');
    expect(codeOf(() => dma.mapSingle(ARENA, 8, 'none' as 'to-device', options))).toBe('EINVAL');
  });
});

describe('requireCoherent', () => {
  test.each(['direct', 'iommu'])(
    'a device that does not snoop gets EOPNOTSUPP from every map call (%s)',
    (behind) => {
      const machine = new Machine();
      const { dma } = machine.add('rot', { behind });
      const options = { requireCoherent: true };
      const table = tableOf(1);
      for (const map of [
        () => dma.mapSingle(ARENA, 8, 'to-device', options),
        () => dma.mapPage(ARENA, 0, 8, 'to-device', options),
        () => dma.mapResource(FIFO, 8, 'to-device', options),
        () => dma.mapSg(table.entries, 'to-device', options),
        () => dma.mapSgTable(table, 'to-device', options),
      ]) {
        expect(codeOf(map)).toBe('EOPNOTSUPP');
      }
      expect([dma.mappedBytes, table.segments, machine.maintenance]).toEqual([0, [], []]);
    },
  );

  test.each(['direct', 'iommu'])('one that snoops gets its mapping (%s)', (behind) => {
    const { dma, read } = new Machine().add('rot', { behind, isCoherent: true });
    const address = dma.mapSingle(ARENA, 8, 'to-device', { requireCoherent: true });
    expect(read(address, 8)).toBeDefined();
  });
});

test('a list one of whose entries the device cannot address is not mapped at all', () => {
  const machine = new Machine();
  const { dma } = machine.add('rot', { behind: 'direct', dmaMask: ARENA + 2 * PAGE - 1 });
  expect(codeOf(() => dma.mapSg(tableOf(0, 1, 2).entries, 'to-device'))).toBe('EIO');
  expect([dma.mappedBytes, machine.maintenance]).toEqual([0, []]);
});

test('an IOMMU that cannot drive the physical address is ERANGE, and the IOVA is free again', () => {
  const machine = new Machine();
  const { dma, device } = machine.add('rot');
  expect(codeOf(() => dma.mapSingle(physAddr(2 ** 33), 8, 'to-device'))).toBe('ERANGE');
  expect(machine.layer.iovaReport(device)?.allocatedBytes).toBe(0);
  expect(dma.mapSingle(ARENA, 8, 'to-device')).toBe(FIRST_IOVA);
});

describe.each(['direct', 'iommu'])('no direction (%s)', (behind) => {
  test('is EINVAL for every call that takes one', () => {
    const { dma } = new Machine().add('rot', { behind });
    const none = 'none' as 'to-device';
    const entries = tableOf(3, 4).entries;
    const single = dma.mapSingle(ARENA, 8, 'bidirectional');
    for (const run of [
      () => dma.mapSingle(ARENA, 8, none),
      () => dma.mapSg(entries, none),
      () => dma.unmapSingle(single, 8, none),
      () => dma.syncSingleForCpu(single, 8, none),
      () => dma.syncSingleForDevice(single, 8, none),
      () => dma.unmapSg(dma.mapSg(entries, 'bidirectional'), none),
    ]) {
      expect(codeOf(run)).toBe('EINVAL');
    }
  });

  // Fails: a bidirectional list is found whatever the direction is, and then invalidated or cleaned.
  test('for syncs of lists too', () => {
    const { dma } = new Machine().add('rot', { behind });
    const segments = dma.mapSg(tableOf(3, 4).entries, 'bidirectional');
    const none = 'none' as 'to-device';
    expect(codeOf(() => dma.syncSgForCpu(segments, none))).toBe('EINVAL');
    expect(codeOf(() => dma.syncSgForDevice(segments, none))).toBe('EINVAL');
  });
});
