/** A bus with `dma-ranges` in front of an IOMMU: its windows are where IOVAs may lie. */
import { expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { codeOf } from '../support/code-of.ts';
import { ARENA, Machine, PAGE } from './fixture.ts';

/** Addresses of one-page mappings until there is no space. */
function allPages(machine: Machine, setup: Parameters<Machine['add']>[1], name = 'rot'): number[] {
  const { dma, read } = machine.add(name, setup);
  const addresses: number[] = [];
  for (;;) {
    const address = dma.mapSingle(ARENA, 8, 'to-device', { errorAsValue: true });
    if (dma.mappingError(address)) return addresses;
    expect(read(address, 8)).toBeDefined();
    addresses.push(address / PAGE);
  }
}

test('every IOVA lies in a window; the gaps are never handed out; memory may be anywhere', () => {
  const dmaRanges = [
    { busStart: 0x20 * PAGE, cpuStart: 0, sizeBytes: 3 * PAGE },
    { busStart: 0x10 * PAGE, cpuStart: 0x70000000, sizeBytes: 2 * PAGE },
  ];
  expect(allPages(new Machine(), { dmaRanges })).toEqual([0x22, 0x21, 0x20, 0x11, 0x10]);
});

test('a window that begins at bus address 0 does not give IOVA 0 away', () => {
  const dmaRanges = [{ busStart: 0, cpuStart: 0, sizeBytes: 3 * PAGE }];
  expect(allPages(new Machine(), { dmaRanges })).toEqual([2, 1]);
});

test('windows may overlap and be listed in any order', () => {
  const dmaRanges = [
    { busStart: 0x12 * PAGE, cpuStart: 0, sizeBytes: 2 * PAGE },
    { busStart: 0x10 * PAGE, cpuStart: 0, sizeBytes: 3 * PAGE },
  ];
  expect(allPages(new Machine(), { dmaRanges })).toEqual([0x13, 0x12, 0x11, 0x10]);
});

test('window, aperture and limit of the bus all hold', () => {
  const setup = {
    dmaRanges: [{ busStart: 0x10 * PAGE, cpuStart: 0, sizeBytes: 0x20 * PAGE }],
    aperture: { start: 0x18 * PAGE, last: 0x20 * PAGE - 2 },
  };
  expect(allPages(new Machine(), setup)).toEqual([0x1e, 0x1d, 0x1c, 0x1b, 0x1a, 0x19, 0x18]);
  expect(allPages(new Machine(), { ...setup, busDmaLimit: 0x1a * PAGE - 1 })).toEqual([0x19, 0x18]);
});

test('no window that meets the aperture is EFAULT, and the device has no operations', () => {
  const machine = new Machine();
  const dmaRanges = [{ busStart: 2 ** 33, cpuStart: ARENA, sizeBytes: PAGE }];
  expect(codeOf(() => machine.add('rot', { dmaRanges }))).toBe('EFAULT');
  const touching = [{ busStart: 0, cpuStart: ARENA, sizeBytes: 16 * PAGE }];
  const aperture = { start: 16 * PAGE, last: 0xfffff };
  expect(codeOf(() => new Machine().add('rot', { dmaRanges: touching, aperture }))).toBe('EFAULT');
});

test('in a group each member reserves its gaps for all of them', () => {
  const machine = new Machine();
  const shared = { behind: 'shared' };
  const window = (page: number, pages: number) => [
    { busStart: page * PAGE, cpuStart: 0, sizeBytes: pages * PAGE },
  ];
  machine.add('one', { ...shared, dmaRanges: window(0x10, 4) });
  expect(allPages(machine, { ...shared, dmaRanges: window(0x12, 8) }, 'two')).toEqual([0x13, 0x12]);
});

test('a reserved region inside a window stays reserved', () => {
  const setup = {
    dmaRanges: [{ busStart: 0x10 * PAGE, cpuStart: 0, sizeBytes: 4 * PAGE }],
    reservedRegions: [
      { name: 'hole', kind: 'reserved' as const, iova: physAddr(0x11 * PAGE), sizeBytes: 2 * PAGE },
    ],
  };
  expect(allPages(new Machine(), setup)).toEqual([0x13, 0x10]);
});
