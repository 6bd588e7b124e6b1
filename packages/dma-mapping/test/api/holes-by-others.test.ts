/**
 * Somebody else unmapped part of what is mapped here. When the rest is given back, the device reaches no byte of it any more,
 * also behind the hole, and the IOVAs are never handed out again.
 */
import { describe, expect, test } from '@jest/globals';
import { type Iova, physAddr } from '@iommu-lab/machine';
import type { DmaOps } from '../../src/index.ts';
import { ARENA, type Attached, deferredMachine, filled, Machine, PAGE, useOnce } from './fixture.ts';

const MS = 1_000_000;
/** 64 pages, the first and last of which are never handed out. */
const PAGES = 64;
/** The allocator's ranges are powers of two as long as they are small: this is for 5 pages, and for 5 with a hole. */
const SPACE_BYTES = 8 * PAGE;
const APERTURE = { start: 0, last: PAGES * PAGE - 1 };

interface Given {
  /** Every page that the device reaches, ascending. */
  readonly pages: readonly number[];
  readonly giveBack: () => void;
}

const at = (page: number) => physAddr(ARENA + page * PAGE);
const pagesFrom = (address: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => address + i * PAGE);

function givenList(dma: DmaOps, boundary: number): Given {
  dma.setParameters({ segmentBoundaryMask: boundary });
  const entries = [
    { address: at(1), length: 3 * PAGE },
    { address: at(7), length: 2 * PAGE },
  ];
  const segments = dma.mapSg(entries, 'bidirectional');
  const pages = segments.flatMap(({ address, length }) => pagesFrom(address, length / PAGE));
  return { pages, giveBack: () => dma.unmapSg(segments, 'bidirectional') };
}

function given(address: number, giveBack: () => void): Given {
  return { pages: pagesFrom(address, 5), giveBack };
}

/** All have five pages. */
const KINDS: Readonly<Record<string, (dma: DmaOps) => Given>> = {
  'a coherent buffer': (dma) => {
    const buffer = dma.allocCoherent(5 * PAGE);
    return given(buffer.dmaAddress, () => dma.freeCoherent(buffer));
  },
  'a noncoherent buffer': (dma) => {
    const buffer = dma.allocNoncoherent(5 * PAGE, 'bidirectional');
    return given(buffer.dmaAddress, () => dma.freeNoncoherent(buffer));
  },
  'a noncontiguous buffer': (dma) => {
    const buffer = dma.allocNoncontiguous(5 * PAGE, 'bidirectional');
    return given(buffer.dmaAddress, () => dma.freeNoncontiguous(buffer));
  },
  'a single mapping': (dma) => {
    const address = dma.mapSingle(at(1), 5 * PAGE, 'bidirectional');
    return given(address, () => dma.unmapSingle(address, 5 * PAGE, 'bidirectional'));
  },
  'a list': (dma) => givenList(dma, 0xffffffff),
  'a list with a hole of its own': (dma) => givenList(dma, 4 * PAGE - 1),
};

const HOLES: readonly (readonly number[])[] = [[0], [2], [4], [1, 3], [0, 4], [0, 1, 2, 3, 4]];

function makeHoles(
  machine: Machine,
  { device }: Attached,
  pages: readonly number[],
  hole: readonly number[],
) {
  const domain = machine.iommu.dmaMappingsOf(device);
  for (const n of hole) expect(domain?.unmap(pages[n] as Iova, PAGE)).toBe(PAGE);
}

/** Takes all IOVA space there is, page by page. */
function takeAll(dma: DmaOps): number[] {
  const taken: number[] = [];
  for (;;) {
    const reservation = dma.tryAllocIova(ARENA, PAGE);
    if (reservation === undefined) return taken.sort((a, b) => a - b);
    taken.push(reservation.address);
  }
}

describe.each(['strict', 'deferred'] as const)('%s', (invalidation) => {
  describe.each(Object.keys(KINDS))('%s', (kind) => {
    test.each(HOLES.map((hole) => [hole.join(), hole] as const))('pages %s', (_name, hole) => {
      const machine = new Machine({ wiring: { invalidation } });
      const rot = machine.add('rot', { aperture: APERTURE });
      const free = machine.frames.freeBytes;
      const { pages, giveBack } = (KINDS[kind] as (dma: DmaOps) => Given)(rot.dma);
      expect(pages).toHaveLength(5);
      for (const page of pages) expect(rot.read(page, PAGE)).toBeDefined();
      makeHoles(machine, rot, pages, hole);
      giveBack();
      expect(pages.filter((page) => rot.read(page, 1) !== undefined)).toEqual([]);
      expect(pages.filter((page) => rot.write(page, filled(1, 0xee)))).toEqual([]);
      expect(pages.filter((page) => rot.dma.isStale(page as Iova))).toEqual([]);
      expect(machine.iommu.domainOf(rot.device)?.mappings()).toEqual([]);
      expect([rot.dma.mappedBytes, machine.frames.freeBytes]).toEqual([0, free]);
      const reports = machine.events.filter(({ name }) => name === 'dma:iova_quarantined');
      // What is unmapped in several calls is reported by each that met a hole.
      expect(reports.length).toBeGreaterThan(0);
      expect(reports.length).toBeLessThanOrEqual(kind === 'a list with a hole of its own' ? 2 : 1);
      for (const { fields } of reports) {
        expect(fields).toMatchObject({ device: 'rot' });
        const start = Number(fields['dma_addr']);
        const end = start + Number(fields['size']);
        expect(hole.some((n) => (pages[n] as number) >= start && (pages[n] as number) < end)).toBe(true);
      }
      machine.layer.flush(rot.device);
      machine.world.clock.advance(100 * MS);
      expect(machine.layer.iovaReport(rot.device)?.allocatedBytes).toBe(SPACE_BYTES);
      const first = pages[0] as number;
      const taken = takeAll(rot.dma);
      expect(taken).toHaveLength(PAGES - 2 - SPACE_BYTES / PAGE);
      expect(taken.filter((address) => address >= first && address < first + SPACE_BYTES)).toEqual([]);
    });
  });
});

test('deferred: what waited is flushed with it, no longer stale, back in use, and counted once', () => {
  const machine = deferredMachine();
  const rot = machine.add('rot');
  const deferred = () => machine.layer.iovaReport(rot.device)?.deferred;
  const address = rot.dma.mapSingle(at(8), 3 * PAGE, 'bidirectional');
  const waiting = useOnce(rot);
  machine.world.clock.advance(MS);
  expect([rot.dma.isStale(waiting), rot.read(waiting, 1) !== undefined]).toEqual([true, true]);
  makeHoles(machine, rot, pagesFrom(address, 3), [1]);
  rot.dma.unmapSingle(address, 3 * PAGE, 'bidirectional');
  expect([rot.dma.isStale(waiting), rot.read(waiting, 1)]).toEqual([false, undefined]);
  const counted = { ranges: 1, longestNs: MS, totalNs: MS, pending: 0 };
  expect(deferred()).toMatchObject(counted);
  machine.world.clock.advance(100 * MS);
  machine.layer.flush(rot.device);
  expect(deferred()).toMatchObject({ ...counted, flushes: { full: 0, timeout: 0, asked: 1 } });
  expect(machine.layer.iovaReport(rot.device)?.allocatedBytes).toBe(4 * PAGE);
  expect(useOnce(rot)).toBe(waiting);
});
