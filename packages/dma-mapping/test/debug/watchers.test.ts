/** What is seen of the CPU and of the bus. */
import { describe, expect, test } from '@jest/globals';
import type { PhysAddr } from '@iommu-lab/machine';
import type { DmaErrorKind } from '../../src/debug/dma-debug.ts';
import { at, BUFFER, type FakeScene, makeScene, SECOND } from './support/scene.ts';

function kindsOf({ debug }: FakeScene): readonly DmaErrorKind[] {
  return debug.reports.map(({ kind }) => kind);
}

describe('the CPU', () => {
  test('a loop of the same mistake is one report that counts', () => {
    const scene = makeScene();
    scene.dma.mapSingle(BUFFER, 64, 'to-device', { site: 'first' });
    scene.dma.mapSingle(SECOND, 64, 'to-device', { site: 'second' });
    for (let i = 0; i < 5; i++) scene.store(BUFFER + 4 * i);
    scene.store(SECOND);
    expect(scene.debug.reports).toMatchObject([
      { mapping: { site: 'first' }, times: 5 },
      { mapping: { site: 'second' }, times: 1 },
    ]);
    expect(scene.events.filter(({ name }) => name === 'dma:debug')).toHaveLength(2);
  });

  test('is named by number, or as whoever got its own view', () => {
    const scene = makeScene();
    scene.dma.mapSingle(BUFFER, 64, 'to-device');
    scene.world.currentCpu = 3;
    scene.store(BUFFER);
    scene.debug.watchCpu(scene.cpu, 'rot: driver').cached.write32(BUFFER, 1);
    expect(scene.debug.reports.map(({ culprit }) => culprit.site)).toContain('CPU 3');
    expect(scene.debug.reports.map(({ culprit }) => culprit.site)).toContain('rot: driver');
  });

  test('words are loads and stores too', () => {
    const scene = makeScene();
    scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.cpu.cached.read32(BUFFER);
    scene.cpu.uncached.write32(BUFFER, 1);
    expect(kindsOf(scene)).toEqual(['cpu-load-while-device-owns', 'cpu-store-while-device-owns']);
  });

  test('past the cache it dirties no line of a neighbour', () => {
    const scene = makeScene();
    scene.dma.mapSingle(at(BUFFER, 16), 16, 'from-device');
    scene.cpu.uncached.write32(BUFFER, 1);
    scene.debug.expectNoReports();
    scene.cpu.cached.write32(BUFFER, 1);
    expect(kindsOf(scene)).toEqual(['neighbour-in-line']);
  });

  test('a store is recorded before whoever acts right after it', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 64, 'to-device');
    scene.dma.syncSingleForCpu(address, 64, 'to-device');
    scene.world.interposer.observe((kind) => {
      if (kind === 'store') scene.read(address, 64);
    });
    scene.store(BUFFER);
    expect(kindsOf(scene)).toEqual(['missing-sync-for-device']);
  });

  test('stores that the next sync or the unmap throws away are reported there', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 64, 'bidirectional', { site: 'rot: frame' });
    for (let i = 0; i < 2; i++) {
      scene.dma.syncSingleForCpu(address, 64, 'bidirectional', 'rot: look');
      scene.store(BUFFER);
    }
    scene.dma.unmapSingle(address, 64, 'bidirectional', { site: 'rot: done' });
    expect(scene.debug.reports).toMatchObject([
      { kind: 'missing-sync-for-device', culprit: { site: 'rot: look' }, storedBy: { site: 'CPU 0' } },
      { kind: 'missing-sync-for-device', culprit: { site: 'rot: done' } },
    ]);
  });

  test('a driver that does its own maintenance is judged from its first sync on', () => {
    const scene = makeScene();
    const quiet = { skipCpuSync: true };
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device', quiet);
    scene.store(BUFFER, 64);
    scene.load(BUFFER, 64);
    scene.write(address, 64);
    scene.load(BUFFER, 64);
    scene.debug.expectNoReports();
    scene.dma.syncSingleForDevice(address, 64, 'from-device');
    scene.load(BUFFER);
    expect(kindsOf(scene)).toEqual(['cpu-load-while-device-owns']);
    scene.dma.unmapSingle(address, 64, 'from-device', quiet);
  });

  test('allocated memory is its own until the first sync, and coherent memory always', () => {
    const scene = makeScene();
    const buffer = scene.dma.allocNoncoherent(4096, 'bidirectional');
    scene.store(buffer.address, 64);
    scene.load(buffer.address, 64);
    scene.dma.syncSingleForDevice(buffer.dmaAddress, 4096, 'bidirectional');
    scene.read(buffer.dmaAddress, 64);
    scene.debug.expectNoReports();
    scene.load(buffer.address);
    expect(kindsOf(scene)).toEqual(['cpu-load-while-device-owns']);
  });

  test('what the device wrote after a look has to be synced before the next look', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.dma.syncSingleForCpu(address, 64, 'from-device');
    scene.load(BUFFER, 64);
    scene.write(at(address, 32), 32);
    scene.load(BUFFER, 32);
    scene.debug.expectNoReports();
    scene.load(BUFFER, 64);
    expect(kindsOf(scene)).toEqual(['cpu-load-while-device-owns']);
  });

  test('a buffer that two devices have must be had back from both', () => {
    const scene = makeScene();
    const other = scene.addDevice('jpeg');
    const [a, b] = [scene.dma, other.dma].map((dma) => dma.mapSingle(BUFFER, 64, 'to-device'));
    scene.dma.syncSingleForCpu(a as never, 64, 'to-device');
    scene.store(BUFFER);
    expect(scene.debug.reports).toMatchObject([{ kind: 'cpu-store-while-device-owns', device: 'jpeg' }]);
    scene.debug.clear();
    scene.dma.syncSingleForDevice(a as never, 64, 'to-device');
    other.dma.syncSingleForCpu(b as never, 64, 'to-device');
    scene.load(BUFFER);
    scene.debug.expectNoReports();
  });

  test('two buffers that share a line were reported when they were mapped, and are not again at each store', () => {
    const scene = makeScene();
    const first = scene.dma.mapSingle(BUFFER, 16, 'from-device');
    scene.dma.mapSingle(at(BUFFER, 16), 16, 'from-device');
    expect(kindsOf(scene)).toEqual(['overlapping-line']);
    scene.dma.syncSingleForCpu(first, 16, 'from-device');
    scene.store(BUFFER);
    expect(kindsOf(scene)).toEqual(['overlapping-line']);
  });

  test('a sync by address is one of all mappings there in its direction', () => {
    const scene = makeScene({ path: 'direct' });
    const address = scene.dma.mapSingle(BUFFER, 64, 'to-device');
    scene.dma.mapSingle(BUFFER, 64, 'to-device');
    scene.dma.syncSingleForCpu(address, 64, 'to-device');
    scene.store(BUFFER);
    expect(kindsOf(scene)).toEqual([]);
  });

  test('stores are not lost by an unmap that does no maintenance', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 64, 'bidirectional');
    scene.dma.syncSingleForCpu(address, 64, 'bidirectional');
    scene.store(BUFFER);
    scene.dma.unmapSingle(address, 64, 'bidirectional', { skipCpuSync: true });
    expect(kindsOf(scene)).toEqual([]);
  });
});

describe('a device', () => {
  test('that runs on past the last page of a mapping is told from one that strays', () => {
    const scene = makeScene();
    const address = scene.dma.mapSingle(BUFFER, 4096, 'from-device', { site: 'rot: frame' });
    scene.write(address, 8192);
    expect(scene.debug.reports).toMatchObject([
      {
        kind: 'device-access-out-of-mapping',
        iova: address + 4096,
        outcome: 'faulted',
        mapping: { site: 'rot: frame' },
      },
    ]);
    scene.write(at(address, 4096), 64);
    expect(kindsOf(scene)).toEqual(['device-access-out-of-mapping', 'device-access-never-mapped']);
  });

  test('each use of an address is held against the mapping of its time', () => {
    const scene = makeScene();
    for (const site of ['first', 'second']) {
      const address = scene.dma.mapSingle(BUFFER, 64, 'from-device', { site });
      scene.write(address, 64);
      scene.dma.unmapSingle(address, 64, 'from-device', { site: `${site} done` });
      scene.wait(10);
    }
    scene.write(0xc000_0000, 64);
    expect(scene.debug.reports).toMatchObject([
      { kind: 'device-use-after-unmap', mapping: { site: 'second' }, unmappedBy: { site: 'second done' } },
    ]);
  });

  test('an access that is held is judged when it is held, and again when it is retried', () => {
    const scene = makeScene({ path: 'stall' });
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.dma.unmapSingle(address, 64, 'from-device');
    const transfer = scene.write(address, 64);
    expect(scene.debug.reports).toMatchObject([
      { kind: 'device-use-after-unmap', outcome: 'parked', times: 1 },
    ]);
    scene.fake.parked.shift()?.resume('terminate');
    expect(transfer.state).toBe('faulted');

    // Held, and what it waits for is mapped meanwhile: the retry is right.
    scene.debug.clear();
    const early = scene.read(0xc000_2000, 64);
    const late = scene.dma.mapSingle(SECOND, 64, 'to-device');
    scene.fake.parked.shift()?.resume('retry');
    expect(early.state).toBe('done');
    expect(kindsOf(scene)).toEqual(['device-access-never-mapped']);
    scene.dma.unmapSingle(late, 64, 'to-device');
  });

  test('through without an IOMMU it says so', () => {
    const scene = makeScene({ path: 'direct' });
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.dma.unmapSingle(address, 64, 'from-device');
    scene.write(address, 64);
    expect(scene.debug.reports).toMatchObject([
      { kind: 'device-use-after-unmap', outcome: 'done', text: expect.stringContaining('it went through') },
    ]);
  });

  test('that nobody claims is not watched', () => {
    const scene = makeScene();
    const port = scene.debug.watchBus(scene.fake, () => undefined);
    const access = {
      address: 0x10,
      data: new Uint8Array(4),
      offset: 0,
      length: 4,
      isWrite: false,
      streamId: 9,
      attributes: { isPrivileged: false, isInstruction: false, isSecure: false },
      masterName: 'other',
      resume: () => undefined,
    };
    expect(port.access(access)).toBe('faulted');
    scene.debug.expectNoReports();
  });

  test('accesses in the lazy window are counted, with their age', () => {
    const scene = makeScene({ path: 'lazy' });
    const address = scene.dma.mapSingle(BUFFER, 64, 'from-device');
    scene.dma.unmapSingle(address, 64, 'from-device');
    for (const ns of [100, 400]) {
      scene.wait(ns);
      scene.write(address, 64);
    }
    expect(scene.debug).toMatchObject({ staleAccesses: 2, longestStaleNs: 500 });
    scene.fake.flush();
    scene.write(address, 64);
    expect(kindsOf(scene)).toEqual(['access-in-lazy-window', 'device-use-after-unmap']);
    expect(scene.debug.staleAccesses).toBe(2);
  });

  test('bytes of a list count through its pieces', () => {
    const scene = makeScene();
    const entries = [
      { address: SECOND, length: 48 },
      { address: BUFFER, length: 64 },
    ];
    const segments = scene.dma.mapSg(entries, 'to-device');
    scene.dma.syncSgForCpu(segments, 'to-device');
    scene.store((BUFFER + 16) as PhysAddr);
    scene.read(segments[0]?.address ?? 0, 48);
    scene.read(segments[1]?.address ?? 0, 16);
    scene.debug.expectNoReports();
    scene.read(at(segments[1]?.address ?? (0 as never), 16), 4);
    expect(scene.debug.reports).toMatchObject([
      { kind: 'missing-sync-for-device', text: expect.stringContaining('offset 64') },
    ]);
  });
});
