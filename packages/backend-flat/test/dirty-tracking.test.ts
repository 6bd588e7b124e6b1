/** Dirty tracking through the driver port: what was written since it was last cleared, and nothing else. */
import { describe, expect, test } from '@jest/globals';
import { Device } from '@iommu-lab/driver-core';
import { Gather, READ_ONLY, READ_WRITE, type PagingTable } from '@iommu-lab/iommu-core';
import { BusMaster, PhysicalMemory, World } from '@iommu-lab/machine';
import fc from 'fast-check';
import { createFlatIommu, ReservedTableMemory } from '../src/index.ts';

const PAGE = 0x4000;
const FIRST = 0x1000_0000;
const RAM = 0x8000_0000;
const PAGES = 4;

/** Two streams on one table, and a cache that is too small for all pages. */
function setUp(cachedEntries = 3) {
  const world = new World();
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: 0x20_0000 }]);
  const tables = new ReservedTableMemory(world, memory, RAM, 0x2_0000);
  const flat = createFlatIommu({ world, memory, tables, cachedEntries });
  const { instance, hardware } = flat;
  const endpoint = (stream: number) => flat.endpoint(stream);
  const table = instance.createPagingTable() as PagingTable &
    Required<Pick<PagingTable, 'visitDirty' | 'setDirtyTracking'>>;
  for (const stream of [0, 1]) instance.attach(endpoint(stream), { kind: 'paging', table }, undefined);
  const masters = [0, 1].map(
    (streamId) => new BusMaster(world, { name: `dma${streamId}`, streamId, port: hardware }),
  ) as [BusMaster, BusMaster];

  return {
    instance,
    endpoint,
    table,
    map: (page: number, protection = READ_WRITE): void => {
      table.mapPages(FIRST + page * PAGE, RAM + 0x10_0000 + page * PAGE, PAGE, 1, protection);
    },
    unmap: (page: number): void => {
      const gather = new Gather();
      table.unmapPages(FIRST + page * PAGE, PAGE, 1, gather);
      table.sync(gather);
    },
    write: (page: number, stream: 0 | 1 = 0) =>
      masters[stream].write(FIRST + page * PAGE + 0x1234, Uint8Array.of(1)).state,
    read: (page: number, stream: 0 | 1 = 0) =>
      masters[stream].read(FIRST + page * PAGE, new Uint8Array(4)).state,
    dirty: (clear: boolean, first = 0, count = PAGES): number[] => {
      const seen: number[] = [];
      const gather = new Gather();
      table.visitDirty(FIRST + first * PAGE, count * PAGE, clear, gather, (iova, pageSize) => {
        expect(pageSize).toBe(PAGE);
        seen.push((iova - FIRST) / PAGE);
      });
      table.sync(gather);
      return seen;
    },
  };
}

describe('dirty tracking', () => {
  test('is off at first: nothing is noted', () => {
    const { map, write, dirty } = setUp();
    map(0);
    expect([write(0), dirty(false)]).toEqual(['done', []]);
  });

  test('a page that was cached before tracking began is noted', () => {
    const { map, write, read, dirty, table } = setUp();
    map(0);
    expect([read(0), write(0)]).toEqual(['done', 'done']);
    table.setDirtyTracking(true);
    expect([write(0), dirty(false)]).toEqual(['done', [0]]);
  });

  test('only what lies in the range is visited and cleared, ascending', () => {
    const { map, write, dirty, table } = setUp();
    table.setDirtyTracking(true);
    for (const page of [3, 0, 1, 2]) {
      map(page);
      write(page);
    }
    expect(dirty(true, 1, 2)).toEqual([1, 2]);
    expect(dirty(false)).toEqual([0, 3]);
  });

  test('after a clear the next write counts, of whichever stream', () => {
    const { map, write, dirty, table } = setUp();
    table.setDirtyTracking(true);
    map(0);
    for (const stream of [0, 1] as const) write(0, stream);
    for (const stream of [0, 1] as const) {
      expect(dirty(true)).toEqual([0]);
      expect(dirty(true)).toEqual([]);
      expect(write(0, stream)).toBe('done');
    }
    expect(dirty(false)).toEqual([0]);
  });

  test('until the sync a write to a cleared page may go unnoted: what was visited covers it', () => {
    const { map, write, dirty, table } = setUp();
    table.setDirtyTracking(true);
    map(0);
    write(0);
    const gather = new Gather();
    table.visitDirty(FIRST, PAGE, true, gather, () => {});
    expect([write(0), dirty(false), gather.isEmpty]).toEqual(['done', [], false]);
    table.sync(gather);
    expect([write(0), dirty(false)]).toEqual(['done', [0]]);
  });

  test('a write that is refused is none', () => {
    const { map, write, dirty, table } = setUp();
    table.setDirtyTracking(true);
    map(0, READ_ONLY);
    expect([write(0), write(1), dirty(false)]).toEqual(['faulted', 'faulted', []]);
  });

  test('once it is off nothing more is noted, and it can be switched on again', () => {
    const { map, write, dirty, table } = setUp();
    table.setDirtyTracking(true);
    map(0);
    write(0);
    dirty(true);
    table.setDirtyTracking(false);
    expect([write(0), dirty(false)]).toEqual(['done', []]);
    table.setDirtyTracking(true);
    expect([write(0), dirty(false)]).toEqual(['done', [0]]);
  });

  test('a stream that comes later is tracked too, and one that has gone no more', () => {
    const { instance, endpoint, map, write, dirty, table } = setUp();
    const target = { kind: 'paging', table } as const;
    instance.release(endpoint(1), target);
    map(0);
    table.setDirtyTracking(true);
    expect(write(0, 1)).toBe('faulted');
    instance.attach(endpoint(1), target, undefined);
    expect([write(0, 1), dirty(true)]).toEqual(['done', [0]]);
    const plain = instance.createPagingTable();
    instance.attach(endpoint(1), { kind: 'paging', table: plain }, target);
    plain.mapPages(FIRST, RAM + 0x10_0000, PAGE, 1, READ_WRITE);
    expect([write(0, 1), dirty(true)]).toEqual(['done', []]);
    expect(plain.walk(FIRST)[0]?.meaning).toBe('16 KiB page at 0x80100000, read and write');
  });

  test('the walk tells a dirty page', () => {
    const { map, write, table } = setUp();
    table.setDirtyTracking(true);
    map(0);
    write(0);
    expect(table.walk(FIRST)[0]?.meaning).toBe('16 KiB page at 0x80100000, read and write, dirty');
  });
});

test('a domain reads what its devices wrote, and starts without what was written before', () => {
  const world = new World();
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: 0x20_0000 }]);
  const tables = new ReservedTableMemory(world, memory, RAM, 0x8_0000);
  const flat = createFlatIommu({ world, memory, tables });
  const device = new Device('dma');
  device.endpoints = [flat.endpoint(0)];
  flat.iommu.configure(device);
  const domain = flat.iommu.allocPagingDomain(device);
  domain.map(FIRST, RAM + 0x10_0000, 2 * PAGE, READ_WRITE);
  flat.iommu.attach(domain, device);
  const master = new BusMaster(world, { name: 'dma', streamId: 0, port: flat.hardware });
  const write = (page: number) => master.write(FIRST + page * PAGE, Uint8Array.of(1));
  const pages = (options = {}) => domain.readDirty(FIRST, 2 * PAGE, options);
  domain.setDirtyTracking(true);
  write(0);
  domain.setDirtyTracking(false);
  domain.setDirtyTracking(true);
  expect(pages()).toEqual([]);
  write(1);
  expect([pages({ clear: true }), pages()]).toEqual([[{ iova: FIRST + PAGE, sizeBytes: PAGE }], []]);
  write(1);
  expect(pages()).toEqual([{ iova: FIRST + PAGE, sizeBytes: PAGE }]);
});

test('random use: exactly the pages that were written since their last clear, by a set of numbers', () => {
  const page = fc.nat(PAGES - 1);
  const stream = fc.constantFrom(0 as const, 1 as const);
  const mostly = fc.integer({ min: 0, max: 4 }).map((n) => n > 0);
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('map' as const), page, isWritable: mostly }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('unmap' as const), page }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), page, stream }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('read' as const), page, stream }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('track' as const), isOn: mostly }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('look' as const), page, clear: mostly }) },
  );
  const steps = fc.array(step, { minLength: 20, maxLength: 60 });
  const seen = { dirty: 0, clean: 0 };
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 4 }), (sequence, cachedEntries) => {
      const bench = setUp(cachedEntries);
      /** Whether each mapped page may be written. */
      const mapped = new Map<number, boolean>();
      const written = new Set<number>();
      let isOn = true;
      const answers: [got: unknown, expected: unknown][] = [];
      const compare = (got: unknown, expected: unknown): void => void answers.push([got, expected]);
      bench.table.setDirtyTracking(true);
      for (const s of sequence) {
        if (s.kind === 'map') {
          if (mapped.has(s.page)) continue;
          bench.map(s.page, s.isWritable ? READ_WRITE : READ_ONLY);
          mapped.set(s.page, s.isWritable);
        } else if (s.kind === 'unmap') {
          bench.unmap(s.page);
          mapped.delete(s.page);
          written.delete(s.page);
        } else if (s.kind === 'read') {
          compare(bench.read(s.page, s.stream), mapped.has(s.page) ? 'done' : 'faulted');
        } else if (s.kind === 'write') {
          const isAllowed = mapped.get(s.page) === true;
          compare(bench.write(s.page, s.stream), isAllowed ? 'done' : 'faulted');
          if (isAllowed && isOn) written.add(s.page);
        } else if (s.kind === 'track') {
          bench.table.setDirtyTracking(s.isOn);
          ({ isOn } = s);
        } else {
          const expected = [...written].filter((p) => p >= s.page).sort((a, b) => a - b);
          compare(bench.dirty(s.clear, s.page, PAGES - s.page), expected);
          seen[expected.length > 0 ? 'dirty' : 'clean']++;
          if (s.clear) for (const p of expected) written.delete(p);
        }
      }
      expect(answers.map(([got]) => got)).toEqual(answers.map(([, expected]) => expected));
    }),
    { numRuns: 200 },
  );
  // Neither outcome is rare, or little was tried.
  expect(Math.min(seen.dirty, seen.clean)).toBeGreaterThan(100);
});
