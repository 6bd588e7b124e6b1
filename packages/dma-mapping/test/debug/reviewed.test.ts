/** What the checker makes of several lists at one address, of `needSync`, of bounced buffers, and of many mappings of one buffer. */
import { describe, expect, test } from '@jest/globals';
import { type Iova, physAddr } from '@iommu-lab/machine';
import { RangeIndex } from '../../src/debug/range-index.ts';
import type { SgEntry } from '../../src/index.ts';
import { makeRealScene } from './support/real-scene.ts';
import { at, BUFFER, makeScene, RAM } from './support/scene.ts';

const PAGE = 0x1000;
const FIRST: SgEntry = { address: BUFFER, length: 64 };
const MIDDLE: SgEntry = { address: at(BUFFER, PAGE), length: 64 };
const LAST: SgEntry = { address: at(BUFFER, 2 * PAGE), length: 64 };

describe('a sync of a list, with other mappings at its address', () => {
  test('is of the list with the same segments', () => {
    const { dma, debug, store, read } = makeRealScene('direct');
    const other = dma.mapSg([FIRST, MIDDLE], 'to-device');
    const list = dma.mapSg([FIRST, LAST], 'to-device');
    dma.syncSgForCpu(list, 'to-device');
    store(LAST.address, 4);
    dma.syncSgForDevice(list, 'to-device');
    expect(read(LAST.address, 4)).toMatchObject({ state: 'done', data: new Uint8Array(4).fill(0xc5) });
    dma.unmapSg(list, 'to-device');
    dma.unmapSg(other, 'to-device');
    expect(debug.reports).toEqual([]);
  });

  test('is of the list, and not of a single mapping', () => {
    const { dma, debug, store } = makeRealScene('direct');
    const single = dma.mapSingle(BUFFER, 64, 'to-device');
    const list = dma.mapSg([{ address: BUFFER, length: PAGE }], 'to-device');
    dma.syncSgForCpu(list, 'to-device');
    store(at(BUFFER, 128), 4);
    dma.syncSgForDevice(list, 'to-device');
    dma.unmapSg(list, 'to-device');
    dma.unmapSingle(single, 64, 'to-device');
    expect(debug.reports).toEqual([]);
  });

  test('is of all lists that cannot be told apart', () => {
    const { dma, debug, store } = makeRealScene('direct');
    const twins = [0, 1].map(() => dma.mapSg([FIRST, LAST], 'to-device'));
    dma.syncSgForCpu(twins[1] ?? [], 'to-device');
    store(LAST.address, 4);
    dma.syncSgForDevice(twins[1] ?? [], 'to-device');
    for (const twin of twins) dma.unmapSg(twin, 'to-device');
    expect(debug.reports).toEqual([]);
  });
});

describe('needSync', () => {
  test('is yes for what changes hands, also where the device snoops', () => {
    const { addDevice, debug, load } = makeRealScene('direct');
    const { dma } = addDevice('gpu', { isDmaCoherent: true });
    const address = dma.mapSingle(BUFFER, 64, 'from-device');
    expect(dma.needSync(at(address, 32))).toBe(true);
    if (dma.needSync(address)) dma.syncSingleForCpu(address, 64, 'from-device');
    load(BUFFER, 64);
    dma.unmapSingle(address, 64, 'from-device');
    expect(dma.needSync(address)).toBe(false);
    expect(debug.reports).toEqual([]);
  });

  test('is no where a sync would be a mistake or means nothing', () => {
    const { dma, addDevice } = makeRealScene('direct');
    expect(dma.needSync(dma.allocCoherent(64).dmaAddress)).toBe(false);
    expect(dma.needSync(dma.mapResource(physAddr(0x0400_0000), 16, 'to-device'))).toBe(false);
    const gpu = addDevice('gpu', { isDmaCoherent: true });
    expect(gpu.dma.needSync(dma.mapSingle(BUFFER, 64, 'to-device'))).toBe(false);
  });

  test('is what the operations say once the checker is off', () => {
    const { addDevice } = makeRealScene('direct', { maxEntries: 0 });
    const { dma } = addDevice('gpu', { isDmaCoherent: true });
    expect(dma.needSync(dma.mapSingle(BUFFER, 64, 'to-device'))).toBe(false);
  });
});

describe('a device that every mapping is bounced for', () => {
  test.each(['single', 'list'])('never touches the line next to its buffer (%s)', (kind) => {
    const { dma, debug, store } = makeRealScene('bounce');
    const entry = { address: at(BUFFER, 16), length: 16 };
    const segments =
      kind === 'list'
        ? dma.mapSg([entry], 'from-device')
        : [{ address: dma.mapSingle(entry.address, 16, 'from-device'), length: 16 }];
    store(BUFFER, 4);
    const second = dma.mapSingle(at(BUFFER, 4), 8, 'from-device');
    expect(debug.reports).toEqual([]);
    dma.unmapSingle(second, 8, 'from-device');
    for (const { address } of segments) {
      if (kind === 'list') dma.unmapSg(segments, 'from-device');
      else dma.unmapSingle(address, 16, 'from-device');
    }
    expect(debug.reports).toEqual([]);
  });

  test('is reported where two of its buffers have a byte in common', () => {
    const { dma, debug } = makeRealScene('bounce');
    dma.mapSingle(BUFFER, 17, 'from-device');
    dma.mapSingle(at(BUFFER, 16), 16, 'from-device');
    expect(debug.reports.map(({ kind }) => kind)).toEqual(['overlapping-line']);
  });

  test('is reported where a buffer in the line is written in place: the copy back dirties it', () => {
    const { dma, addDevice, debug } = makeRealScene('bounce');
    addDevice('jpeg').dma.mapSingle(BUFFER, 16, 'from-device');
    dma.mapSingle(at(BUFFER, 16), 16, 'from-device');
    expect(debug.reports.map(({ kind }) => kind)).toEqual(['overlapping-line']);
  });

  test('and one that is not is told of both', () => {
    const { dma, debug, store } = makeRealScene('direct');
    dma.mapSingle(at(BUFFER, 16), 8, 'from-device');
    store(BUFFER, 4);
    dma.mapSingle(at(BUFFER, 24), 8, 'from-device');
    expect(debug.reports.map(({ kind }) => kind)).toEqual(['neighbour-in-line', 'overlapping-line']);
  });
});

describe('one buffer mapped many times at one address', () => {
  test('is taken back oldest first, without a look at the rest', () => {
    const { dma, debug } = makeScene({ path: 'direct' });
    const sites = ['rot: 1', 'rot: 2', 'rot: 3'];
    const addresses = sites.map((site): Iova => dma.mapSingle(BUFFER, 64, 'to-device', { site }));
    const left = (): readonly string[] => debug.liveMappings().map(({ site }) => site);
    addresses.forEach((address, before) => {
      dma.unmapSingle(address, 64, 'to-device');
      expect(left()).toEqual(sites.slice(before + 1));
    });
    expect(debug.reports).toEqual([]);
  });

  test('findAt stops at the first that passes, and finds no other', () => {
    const index = new RangeIndex<{ readonly start: number; readonly end: number }>();
    const ranges = Array.from({ length: 100 }, (_, i) => ({ start: RAM, end: RAM + 1 + i }));
    for (const range of ranges) index.add(range);
    let looks = 0;
    const look = (range: { readonly end: number }): boolean => ++looks > 0 && range.end >= RAM + 3;
    expect(index.findAt(RAM, look)).toBe(ranges[2]);
    expect(looks).toBe(3);
    expect(index.findAt(RAM + 99, () => true)).toBe(ranges[99]);
    expect(index.findAt(RAM + 100, () => true)).toBeUndefined();
    expect(index.findAt(RAM - 1, () => true)).toBeUndefined();
  });
});
