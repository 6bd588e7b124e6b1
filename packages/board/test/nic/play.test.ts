import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { NIC_MODES, type NicMode, type System } from '../../src/index.ts';
import { ignoreInvalidations } from '../support.ts';
import { play, SETTINGS } from './support.ts';

/** What its last two writes are to a checker: the packet is the stack's by then. */
const LATE = ['access-in-lazy-window', 'device-use-after-unmap'];

describe.each(NIC_MODES)('a NIC whose DMA is %s', (mode) => {
  test('carries any packets through any ring, and its driver makes no mistake', () => {
    const settings = fc.record({
      seed: fc.integer({ min: 0, max: 1000 }),
      packetBytes: fc.integer({ min: 64, max: 4096 }),
      ringEntries: fc.integer({ min: 2, max: 40 }),
      coherent: fc.boolean(),
    });
    fc.assert(
      fc.property(settings, (some) => {
        const { run, system } = play(mode, { ...some, packets: 20 });
        expect(run.problems).toEqual([]);
        const kinds = system.dmaDebug?.reports.map(({ kind }) => kind) ?? [];
        expect(kinds.filter((kind) => !LATE.includes(kind))).toEqual([]);
        expect(kinds.length).toBeGreaterThan(0);
        system.expectNothingMapped();
      }),
      { numRuns: 6 },
    );
  });
});

describe('what moving packets takes', () => {
  const counts = Object.fromEntries(NIC_MODES.map((mode) => [mode, play(mode).run.counts])) as Record<
    NicMode,
    ReturnType<typeof play>['run']['counts']
  >;
  const packets = 2 * SETTINGS.packets;

  test('every packet is mapped and unmapped', () => {
    expect(NIC_MODES.map((mode) => counts[mode].unmaps)).toEqual([packets, packets, packets, packets]);
  });

  test('direct: no table, no invalidation, no copy', () => {
    expect(counts.direct).toMatchObject({
      tableStores: 0,
      invalidations: 0,
      iovasCached: 0,
      iovasTree: 0,
      bounceSlots: 0,
      copiedBytes: 0,
      tlbHits: 0,
      tlbMisses: 0,
      walkReads: 0,
    });
  });

  test('strict: an invalidation for each unmap; an entry is stored and cleared; a packet is walked for once', () => {
    expect(counts.strict.invalidations).toBe(packets);
    expect(counts.strict.tableStores).toBe(2 * packets);
    expect(counts.strict.iovasCached + counts.strict.iovasTree).toBe(packets);
    expect(counts.strict.tlbMisses).toBeGreaterThanOrEqual(packets);
    // A descriptor is read and written back, and the packet is moved.
    expect(counts.strict.tlbHits + counts.strict.tlbMisses).toBe(3 * packets);
    expect(counts.strict.walkReads).toBe(2 * counts.strict.tlbMisses);
  });

  test('deferred: as many stores, at most one invalidation for each flush', () => {
    const { run } = play('deferred', { packets: 600, ringEntries: 256, warmUpPackets: 300 });
    // And two for a table, when the last entry of one has gone and the next is needed.
    expect(run.counts.tableStores - 2 * run.counts.unmaps).toBeGreaterThanOrEqual(0);
    expect(run.counts.tableStores - 2 * run.counts.unmaps).toBeLessThan(10);
    expect(run.counts.invalidations).toBeGreaterThan(0);
    expect(run.counts.invalidations).toBeLessThanOrEqual(run.window?.flushes ?? 0);
    // A flush queue of 256: what comes back from one flush serves until the next, so the tree is left alone.
    expect(run.counts.iovasTree).toBeLessThan(run.counts.iovasCached / 100);
  });

  test('bounce: what is sent is copied once, what is received twice, since the old bytes go in first', () => {
    expect(counts.bounce.copiedBytes).toBe(SETTINGS.packets * SETTINGS.packetBytes * 3);
    expect(counts.bounce.bounceSlots).toBe(packets);
  });

  test('cache lines: of a received packet before and after, of a sent one before; none where the device snoops', () => {
    const lines = Math.ceil(SETTINGS.packetBytes / 32);
    for (const mode of NIC_MODES) {
      expect([mode, counts[mode].cacheLines]).toEqual([mode, SETTINGS.packets * 3 * lines]);
      expect([mode, play(mode, { coherent: true }).run.counts.cacheLines]).toEqual([mode, 0]);
    }
  });
});

describe('a device that writes into a packet it has given back', () => {
  test.each([
    ['direct', 'overwritten', 'overwritten'],
    ['strict', 'stopped', 'stopped'],
    ['deferred', 'overwritten', 'stopped'],
    ['bounce', 'elsewhere', 'elsewhere'],
  ] as const)('%s: the packet is %s at once, %s after a flush', (mode, atOnce, later) => {
    for (const coherent of [false, true]) {
      expect(play(mode, { coherent }).run.lateWrites).toEqual({ atOnce, later });
    }
  });

  test('deferred: the window is as long as it takes to unmap a ring of 256, or the timer', () => {
    const full = play('deferred', { packets: 300 }).run.window;
    expect(full?.longestNs).toBe((256 / 2) * SETTINGS.packetNs);
    expect(full?.meanReachable).toBeGreaterThan(100);
    const timed = play('deferred', { packetNs: 1_000_000 }).run.window;
    expect(timed?.longestNs).toBe(10_000_000);
  });
});

describe('what is broken shows', () => {
  test('without cache maintenance packets arrive or leave with wrong bytes', () => {
    const { run } = play('direct', {}, ({ cache }) => {
      cache.clean = () => undefined;
    });
    expect(run.problems).toContainEqual(expect.stringMatching(/answers came out with wrong bytes$/));
    const stale = play('direct', {}, ({ cache }) => {
      cache.invalidate = () => undefined;
    });
    expect(stale.run.problems).toContainEqual(expect.stringMatching(/packets arrived with wrong bytes$/));
  });

  test('without invalidations the IOMMU stops no late write, and packets go where others were', () => {
    const { run } = play('strict', {}, (system) => ignoreInvalidations(system, 'jpegd'));
    expect(run.problems).toContainEqual(expect.stringMatching(/wrong bytes$/));
  });

  test('an access that is stopped stops the NIC, and all that is lost is counted', () => {
    const { run } = play('strict', {}, unmapRings);
    expect(run.problems).toContainEqual(expect.stringMatching(/^the .* at 0x\w+ did not get through$/));
    expect(run.problems).toContainEqual(expect.stringMatching(/^\d+ packets were lost on their way in$/));
    expect(run.lateWrites).toBeUndefined();
  });
});

/** Somebody takes the NIC's rings from its domain with the twentieth packet. */
function unmapRings({ world, iommu }: System): void {
  let unmaps = 0;
  world.events.subscribe(({ name, fields }) => {
    if (name !== 'dma:unmap_page' || fields['device'] !== 'nic' || ++unmaps !== 20) return;
    for (const domain of iommu.domains.filter((d) => d.name === 'dma:nic')) {
      for (const { by, iova, sizeBytes } of domain.mappings()) {
        if (by.endsWith(' ring')) domain.unmap(iova, sizeBytes, 'saboteur');
      }
    }
  });
}
