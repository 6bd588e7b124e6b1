/** What the options of a mapping do: privileged, no CPU sync; and whether syncs are needed. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { codeOf } from '../support/code-of.ts';
import { ARENA, filled, HIGH, LOW_FRAMES, Machine, PAGE } from './fixture.ts';

describe('needSync', () => {
  test.each([
    ['direct', false, true],
    ['direct', true, false],
    ['iommu', false, true],
    ['iommu', true, false],
  ])('%s, snooping %p: %p', (behind, isCoherent, expected) => {
    const { dma } = new Machine().add('rot', { behind, isCoherent });
    const single = dma.mapSingle(ARENA, 100, 'to-device');
    const [segment] = dma.mapSg([{ address: physAddr(ARENA + PAGE), length: 8 }], 'to-device');
    const { dmaAddress } = dma.allocNoncoherent(100, 'to-device');
    const addresses = [single, single + 99, segment?.address ?? 0, dmaAddress] as (typeof single)[];
    expect(addresses.map((address) => dma.needSync(address))).toEqual(addresses.map(() => expected));
    expect(dma.needSync(dma.allocCoherent(8).dmaAddress)).toBe(false);
    dma.unmapSingle(single, 100, 'to-device');
    expect(dma.needSync(single)).toBe(false);
  });

  test('a device that snoops must sync what is bounced, and only that', () => {
    const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: 1 << 18 });
    const { dma, read } = machine.add('rot', { behind: 'direct', isCoherent: true, dmaMask: HIGH - 1 });
    const reached = dma.mapSingle(physAddr(HIGH - PAGE), 8, 'bidirectional');
    const bounced = dma.mapSingle(HIGH, 8, 'bidirectional');
    expect([dma.needSync(reached), dma.needSync(bounced)]).toEqual([false, true]);
    machine.cpuWrite(HIGH, filled(8, 7));
    expect(read(bounced, 8)).toEqual(filled(8, 0));
    dma.syncSingleForDevice(bounced, 8, 'bidirectional');
    expect(read(bounced, 8)).toEqual(filled(8, 7));
  });

  test('requireCoherent fails rather than bounce', () => {
    const machine = new Machine({ frames: LOW_FRAMES, bounceBytes: 1 << 18 });
    const { dma } = machine.add('rot', { behind: 'direct', isCoherent: true, dmaMask: HIGH - 1 });
    expect(codeOf(() => dma.mapSingle(HIGH, 8, 'to-device', { requireCoherent: true }))).toBe('EIO');
    expect(
      codeOf(() => dma.mapSingle(physAddr(HIGH - PAGE), 8, 'to-device', { requireCoherent: true })),
    ).toBe('done');
    expect(machine.bounce?.occupancy.mapped).toBe(0);
  });
});

describe('privileged', () => {
  test('marks the mapping for the IOMMU; others are not', () => {
    const machine = new Machine();
    const { dma, device } = machine.add('rot');
    dma.mapSingle(ARENA, 8, 'to-device', { privileged: true });
    dma.mapSg([{ address: ARENA, length: 8 }], 'to-device', { privileged: true });
    dma.allocCoherent(8, { privileged: true });
    dma.mapSingle(ARENA, 8, 'to-device');
    const records = machine.iommu.domainOf(device)?.mappings() ?? [];
    expect(records.filter(({ protection }) => protection.privileged === true)).toHaveLength(3);
    expect(records).toHaveLength(4);
  });
});

describe('skipCpuSync', () => {
  test.each(['direct', 'iommu'])(
    'neither the map nor the unmap touches the cache, each by its own option (%s)',
    (behind) => {
      const machine = new Machine();
      const { dma, read } = machine.add('rot', { behind });
      machine.cpuWrite(ARENA, filled(64, 1));
      const skipped = dma.mapSingle(ARENA, 64, 'bidirectional', { skipCpuSync: true });
      expect(machine.maintenance).toEqual([]);
      expect(read(skipped, 64)).toEqual(filled(64, 0)); // the store is in the cache still
      dma.syncSingleForDevice(skipped, 64, 'bidirectional');
      expect(read(skipped, 64)).toEqual(filled(64, 1));
      const before = machine.maintenance.length;
      dma.unmapSingle(skipped, 64, 'bidirectional', { skipCpuSync: true });
      expect(machine.maintenance).toHaveLength(before);
    },
  );
});
