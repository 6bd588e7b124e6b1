/** How often an IOMMU is told to forget: once for each unmap in strict mode, once for each flush in deferred mode. */
import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import fc from 'fast-check';
import type { DmaOps } from '../../src/index.ts';
import { ARENA, Machine, PAGE } from './fixture.ts';

const list = [1, 7, 3, 9].map((page) => ({ address: physAddr(ARENA + page * PAGE), length: PAGE }));

const lives: readonly (readonly [string, (dma: DmaOps) => void])[] = [
  ['a page', (dma) => dma.unmapSingle(dma.mapSingle(ARENA, 8, 'to-device'), 8, 'to-device')],
  [
    '64 pages',
    (dma) => dma.unmapSingle(dma.mapSingle(ARENA, 64 * PAGE, 'to-device'), 64 * PAGE, 'to-device'),
  ],
  ['a resource', (dma) => dma.unmapResource(dma.mapResource(ARENA, 8, 'to-device'), 8, 'to-device')],
  ['a list of four pieces', (dma) => dma.unmapSg(dma.mapSg(list, 'to-device'), 'to-device')],
  ['coherent memory of eight scattered frames', (dma) => dma.freeCoherent(dma.allocCoherent(8 * PAGE))],
  ['noncontiguous memory', (dma) => dma.freeNoncontiguous(dma.allocNoncontiguous(8 * PAGE, 'to-device'))],
];

test.each(lives)('strict: one for %s', (_, live) => {
  const machine = new Machine();
  const { dma } = machine.add('rot');
  live(dma);
  expect(machine.invalidations('rot')).toBe(1);
});

test.each(lives)('deferred: none for %s until the flush, then one for all', (_, live) => {
  const machine = new Machine({ wiring: { invalidation: 'deferred' } });
  const { dma, device } = machine.add('rot');
  for (let i = 0; i < 5; i++) live(dma);
  expect(machine.invalidations('rot')).toBe(0);
  machine.layer.flush(device);
  expect(machine.invalidations('rot')).toBe(1);
  machine.layer.flush(device); // nothing waits
  machine.world.clock.advance(100_000_000);
  expect(machine.invalidations('rot')).toBe(1);
});

test('a list with holes at its boundaries is unmapped strictly, one for each piece, also where others wait', () => {
  for (const invalidation of ['strict', 'deferred'] as const) {
    const machine = new Machine({ wiring: { invalidation } });
    const { dma, device, read } = machine.add('rot');
    dma.setParameters({ segmentBoundaryMask: 2 * PAGE - 1 });
    const [first, second] = dma.mapSg(
      [list[0], { address: ARENA, length: 2 * PAGE }].map(
        (entry) => entry ?? { address: ARENA, length: PAGE },
      ),
      'to-device',
    );
    const addresses = [first?.address ?? 0, second?.address ?? 0];
    for (const address of addresses) expect(read(address, PAGE)).toBeDefined();
    dma.unmapSg(
      [first, second].map((segment) => segment ?? { address: addresses[0] as never, length: 0 }),
      'to-device',
    );
    expect(addresses.map((address) => read(address, 1))).toEqual([undefined, undefined]);
    expect([machine.invalidations('rot'), machine.layer.iovaReport(device)?.allocatedBytes]).toEqual([2, 0]);
  }
});

describe('property', () => {
  test('any run of unmaps, flushes and pauses: as many invalidations as flushes, no IOVA in two hands, all come back', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant('map' as const),
          pages: fc.integer({ min: 1, max: 5 }),
          cpu: fc.nat({ max: 2 }),
        }),
      },
      {
        weight: 5,
        arbitrary: fc.record({
          do: fc.constant('unmap' as const),
          pages: fc.nat({ max: 50 }),
          cpu: fc.nat({ max: 2 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant('pause' as const),
          pages: fc.nat({ max: 6 }),
          cpu: fc.constant(0),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant('flush' as const),
          pages: fc.constant(0),
          cpu: fc.constant(0),
        }),
      },
    );
    const met = { full: 0, timeout: 0, asked: 0, stale: 0 };
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }), (steps) => {
        const machine = new Machine({
          wiring: { invalidation: 'deferred', cpus: 3, flushQueue: { entries: 3, timeoutNs: 4 } },
        });
        const { dma, device, read } = machine.add('rot');
        const out: { address: ReturnType<DmaOps['mapSingle']>; bytes: number }[] = [];
        const gone: typeof out = [];
        for (const { do: what, pages, cpu } of steps) {
          machine.world.currentCpu = cpu;
          if (what === 'pause') machine.world.clock.advance(pages);
          else if (what === 'flush') machine.layer.flush(device);
          else if (what === 'map') {
            const bytes = pages * PAGE;
            const address = dma.mapSingle(ARENA, bytes, 'to-device');
            for (const other of [...out, ...gone.filter((g) => dma.isStale(g.address))]) {
              const isApart = other.address + other.bytes <= address || address + bytes <= other.address;
              if (!isApart) throw new Error('an IOVA is in two hands');
            }
            if (read(address, bytes) === undefined) throw new Error('mapped, and out of reach');
            out.push({ address, bytes });
          } else {
            const [mapping] = out.splice(pages % Math.max(1, out.length), 1);
            if (mapping === undefined) continue;
            dma.unmapSingle(mapping.address, mapping.bytes, 'to-device');
            gone.push(mapping);
            if (dma.isStale(mapping.address)) met.stale++;
          }
          // What is stale works, since the device has used it; what is not does not, unless it is mapped again.
          for (const { address } of gone) {
            const isMapped = out.some((o) => o.address <= address && address < o.address + o.bytes);
            const works = read(address, 1) !== undefined;
            if (works !== (isMapped || dma.isStale(address))) throw new Error('staleness told wrong');
          }
        }
        for (const { address, bytes } of out) dma.unmapSingle(address, bytes, 'to-device');
        machine.layer.flush(device);
        const report = machine.layer.iovaReport(device);
        const { full = 0, timeout = 0, asked = 0 } = report?.deferred?.flushes ?? {};
        expect(machine.invalidations('rot')).toBe(full + timeout + asked);
        expect([report?.allocatedBytes, report?.deferred?.pending]).toEqual([0, 0]);
        expect(report?.deferred?.ranges).toBe(gone.length + out.length);
        met.full += full;
        met.timeout += timeout;
        met.asked += asked;
      }),
      { numRuns: 100 },
    );
    for (const count of Object.values(met)) expect(count).toBeGreaterThan(20);
  });
});
