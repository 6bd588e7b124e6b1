/** The checker as a whole: reports, dump, release, running out of entries. */
import { expect, test } from '@jest/globals';
import { Device } from '@iommu-lab/driver-core';
import { isLabError } from '@iommu-lab/machine';
import { codeOf } from '../support/code-of.ts';
import { at, BUFFER, makeScene, SECOND } from './support/scene.ts';

test('expectNoReports throws the full text of everything that was found', () => {
  const { debug, dma, store } = makeScene();
  debug.expectNoReports();
  const address = dma.mapSingle(BUFFER, 64, 'to-device', { site: 'rot: frame' });
  store(BUFFER);
  store(BUFFER);
  dma.unmapSingle(address, 32, 'to-device', { site: 'rot: done' });
  let thrown: unknown;
  try {
    debug.expectNoReports();
  } catch (error) {
    thrown = error;
  }
  expect(isLabError(thrown, 'EFAULT') && thrown.details).toEqual({
    kinds: ['cpu-store-while-device-owns', 'unmap-wrong-size'],
  });
  expect(String(thrown)).toContain('[cpu-store-while-device-owns, 2 times] rot: "CPU 0"');
  expect(String(thrown)).toContain('"rot: done" at 0 ns takes back 32 bytes');
  debug.clear();
  debug.expectNoReports();
  store(SECOND);
});

test('stacks are kept of both sides where they are asked for', () => {
  const { debug, dma } = makeScene({ debug: { stacks: true } });
  const address = dma.mapSingle(BUFFER, 64, 'to-device');
  dma.unmapSingle(address, 32, 'to-device');
  const [report] = debug.reports;
  expect(report?.mapping?.stack).toContain('dma-debug.test.ts');
  expect(report?.culprit.stack).toContain('dma-debug.test.ts');
  const plain = makeScene();
  plain.dma.mapSingle(BUFFER, 64, 'to-device');
  expect(plain.debug.liveMappings()[0]).not.toHaveProperty('stack');
});

test('the dump has all that is mapped, and whether its map was checked', () => {
  const { debug, dma } = makeScene();
  const address = dma.mapSingle(BUFFER, 64, 'to-device', { site: 'rot: frame', errorAsValue: true });
  dma.allocCoherent(4096, { site: 'rot: commands' });
  expect(debug.liveMappings()).toMatchObject([
    { device: 'rot', type: 'single', address, sizeBytes: 64, memory: BUFFER, isErrorUnchecked: true },
    { device: 'rot', type: 'coherent', site: 'rot: commands', sizeBytes: 4096, isErrorUnchecked: false },
  ]);
  dma.mappingError(address);
  expect(debug.liveMappings()[0]).toMatchObject({ isErrorUnchecked: false });
});

test('what a driver left is reported once, with every site, and is no business of the next driver', () => {
  const { debug, dma, device, fake, store } = makeScene();
  const address = dma.mapSingle(BUFFER, 64, 'to-device', { site: 'rot: frame' });
  dma.mapSingle(SECOND, 64, 'to-device', { site: 'rot: palette' });
  debug.released(device);
  expect(debug.reports).toMatchObject([
    { kind: 'left-at-release', left: [{ site: 'rot: frame' }, { site: 'rot: palette' }] },
  ]);
  debug.clear();
  const next = debug.wrap(device, fake);
  debug.released(device);
  debug.expectNoReports();
  // The device still reaches it.
  store(BUFFER);
  next.unmapSingle(address, 64, 'to-device', { site: 'rot: again' });
  expect(debug.reports).toMatchObject([
    { kind: 'cpu-store-while-device-owns', mapping: { site: 'rot: frame' } },
    { kind: 'unmap-not-mapped', text: expect.stringContaining('an earlier driver left') },
  ]);
});

test('a device that was never wrapped leaves nothing', () => {
  const { debug } = makeScene();
  debug.released(new Device('jpeg'));
  expect(debug.reports).toEqual([]);
});

test('out of entries everything goes through unchecked, and nothing is believed any more', () => {
  const { debug, dma, fake, store } = makeScene({ debug: { maxEntries: 1 } });
  const buffer = dma.allocCoherent(4096);
  expect(debug.isOn).toBe(true);
  const address = dma.mapSingle(BUFFER, 64, 'to-device');
  expect(debug.reports).toMatchObject([{ kind: 'out-of-entries', kernelClass: 24 }]);
  expect(debug).toMatchObject({ isOn: false });
  expect(debug.liveMappings()).toEqual([]);
  store(BUFFER);
  expect(codeOf(() => dma.unmapSingle(address, 32, 'to-device'))).toBe('EINVAL');
  dma.unmapSingle(address, 64, 'to-device');
  dma.freeCoherent(buffer);
  const segments = dma.mapSg([{ address: BUFFER, length: 64 }], 'from-device');
  dma.syncSgForCpu(segments, 'from-device');
  dma.unmapSg(segments, 'from-device');
  const space = dma.tryAllocIova(BUFFER, 4096) ?? (undefined as never);
  dma.linkIova(space, BUFFER, 0, 4096, 'to-device');
  dma.syncIova(space, 0, 4096);
  dma.unlinkIova(space, 0, 4096, 'to-device');
  dma.destroyIova(space, 0, 'to-device');
  expect(debug.reports).toHaveLength(1);
  expect(fake.mappedBytes).toBe(0);
});

test('an entry that cannot be had turns it off as well', () => {
  const { world, debug, dma } = makeScene();
  world.failpoints.failNth(1, 'dma-mapping.debug-entry');
  const address = dma.mapSingle(BUFFER, 64, 'to-device');
  expect(debug.reports).toMatchObject([{ kind: 'out-of-entries' }]);
  dma.unmapSingle(address, 64, 'to-device');
});

test('overlaps of whole lists are found line by line, and once for each pair', () => {
  const { debug, dma } = makeScene();
  dma.mapSg(
    [
      { address: BUFFER, length: 64 },
      { address: SECOND, length: 256 },
    ],
    'from-device',
  );
  dma.mapSingle(at(SECOND, 100), 64, 'bidirectional');
  expect(debug.reports).toMatchObject([{ kind: 'overlapping-line', address: SECOND + 96 }]);
  // Who reads loses nothing.
  dma.mapSingle(at(SECOND, 128), 64, 'to-device');
  expect(debug.reports).toHaveLength(1);
});

test('the last line of a new mapping counts as well as its first', () => {
  const { debug, dma } = makeScene();
  dma.mapSingle(at(BUFFER, 80), 16, 'from-device');
  dma.mapSingle(BUFFER, 72, 'from-device');
  expect(debug.reports).toMatchObject([{ kind: 'overlapping-line', address: BUFFER + 64 }]);
});

test('two lists that meet twice are one report', () => {
  const { debug, dma } = makeScene();
  const list = [BUFFER, SECOND].map((address) => ({ address, length: 64 }));
  dma.mapSg(list, 'from-device');
  dma.mapSg(list, 'from-device');
  expect(debug.reports).toHaveLength(1);
});

test('a line that is mapped too often is reported once, when it becomes so', () => {
  const { debug, dma } = makeScene();
  for (let i = 0; i < 12; i++) dma.mapSingle(BUFFER, 32, 'from-device', { ignoreSharedLines: true });
  expect(debug.reports.map(({ kind }) => kind)).toEqual(['too-many-overlaps']);
});
