/** Random sequences of maps and unmaps against a flat map of pages that knows no table format. */
import { expect, test } from '@jest/globals';
import { isLabError, World } from '@iommu-lab/machine';
import fc from 'fast-check';
import {
  LINUX_V7S,
  MSM_VENDOR,
  ShortDescriptorTable,
  type LeafAttributes,
  type Translation,
} from '../src/index.ts';
import { FakeTableMemory } from './fake-table-memory.ts';

const PAGE = 0x1000;
const SPACE_START = 0xff00_0000 - 0x100_0000;
const SIZES = [0x1000, 0x10000, 0x100000, 0x1000000];

interface Mapped {
  readonly address: number;
  readonly write: boolean;
  /** First and last page of the leaf, numbered. */
  readonly leafStart: number;
  readonly leafPages: number;
}

/** 30 lines of truth: what each 4 KiB page is mapped to. */
class FlatMap {
  readonly pages = new Map<number, Mapped>();

  map(iova: number, address: number, pageSize: number, count: number, write: boolean): boolean {
    const start = iova / PAGE;
    const total = (pageSize * count) / PAGE;
    for (let i = 0; i < total; i++) if (this.pages.has(start + i)) return false;
    const leafPages = pageSize / PAGE;
    for (let i = 0; i < total; i++) {
      const leafStart = start + i - (i % leafPages);
      this.pages.set(start + i, { address: address + i * PAGE, write, leafStart, leafPages });
    }
    return true;
  }

  unmap(iova: number, sizeBytes: number): number {
    let removed = 0;
    for (let page = iova / PAGE; page < (iova + sizeBytes) / PAGE;) {
      const found = this.pages.get(page);
      if (found === undefined) break;
      for (let i = 0; i < found.leafPages; i++) this.pages.delete(found.leafStart + i);
      removed += found.leafPages * PAGE;
      page = found.leafStart + found.leafPages;
    }
    return removed;
  }
}

const step = fc
  .record({
    op: fc.constantFrom('map', 'map', 'unmap'),
    size: fc.constantFrom(0, 0, 0, 1, 1, 2, 2, 3),
    at: fc.integer({ min: 0, max: 0x3ff }),
    // A few places on purpose: neighbours and overlaps are what can go wrong.
    place: fc.constantFrom(0, 0x8_0000, 0xf_0000, 0x10_0000, 0xf0_0000, 0x100_0000, 0x170_0000),
    to: fc.integer({ min: 0, max: 0xffff }),
    count: fc.integer({ min: 1, max: 40 }),
    write: fc.boolean(),
  })
  .map((s) => {
    const pageSize = SIZES[s.size] as number;
    const offset = s.place + (s.at % 48) * (pageSize > PAGE ? 0x10000 : PAGE);
    const iova = SPACE_START + Math.floor((offset % 0x200_0000) / pageSize) * pageSize;
    const count = pageSize === 0x1000000 ? 1 : pageSize === 0x100000 ? 1 + (s.count % 3) : s.count;
    const address = Math.floor((s.to * 0x10000) / pageSize) * pageSize;
    return { ...s, pageSize, iova, count, address };
  })
  .filter((s) => s.address + s.pageSize * s.count <= 2 ** 32 && s.iova + s.pageSize * s.count <= 2 ** 32);

const outcomes = { mapped: 0, exists: 0, unmapped: 0, hole: 0 };

test.each([LINUX_V7S, MSM_VENDOR])(
  '$name: every page translates as the flat map says, after every step',
  (format) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 25, size: 'max' }), (steps) => {
        const memory = new FakeTableMemory();
        const table = new ShortDescriptorTable(new World(), memory, format);
        const flat = new FlatMap();
        const mappedAt: number[] = [];
        for (const s of steps) {
          if (s.op === 'map') {
            const attributes: LeafAttributes = {
              read: true,
              write: s.write,
              privileged: false,
              noExec: false,
              memory: 'normal-cacheable',
            };
            let succeeded = true;
            try {
              table.mapPages(s.iova, s.address, s.pageSize, s.count, attributes);
            } catch (error) {
              if (!isLabError(error, 'EEXIST')) throw error;
              succeeded = false;
            }
            expectSame(succeeded, flat.map(s.iova, s.address, s.pageSize, s.count, s.write));
            if (succeeded) mappedAt.push(s.iova);
            outcomes[succeeded ? 'mapped' : 'exists']++;
          } else {
            // Two in three unmaps begin where something was mapped once.
            const start = s.to % 3 === 0 ? s.iova : alignTo(mappedAt[s.to % mappedAt.length], s);
            const removed = table.unmapPages(start, s.pageSize, s.count, (at, bytes) =>
              memory.free(at, bytes),
            );
            expectSame(removed, flat.unmap(start, s.pageSize * s.count));
            outcomes[removed > 0 ? 'unmapped' : 'hole']++;
          }
          expect(memory.uncleaned()).toEqual([]);
          expect(memory.allocatedBytes).toBe(table.tableBytes);
          const pages = Array.from({ length: 40 }, (_, i) => s.iova + (i - 2) * PAGE);
          expect(pages.map((page) => seen(table.lookup(page + 0x123)))).toEqual(
            pages.map((page) => expected(flat.pages.get(page / PAGE))),
          );
        }
        const wrong = [...flat.pages].filter(
          ([page, mapped]) => table.lookup(page * PAGE)?.address !== mapped.address,
        );
        expect(wrong).toEqual([]);
        const leaves = new Set([...flat.pages.values()].map((mapped) => mapped.leafStart));
        for (const page of leaves)
          table.unmapPages(page * PAGE, PAGE, 1, (at, bytes) => memory.free(at, bytes));
        expect(memory.walkerWords().size).toBe(0);
        expect(memory.allocatedBytes).toBe(16384);
      }),
      { numRuns: 40 },
    );
  },
);

test('the sequences reach every outcome often enough to prove something', () => {
  expect(Math.min(...Object.values(outcomes))).toBeGreaterThan(20);
});

function expectSame(got: unknown, expected: unknown): void {
  expect(got).toBe(expected);
}

/** `iova` as a start for pages of the step's size, if there is one that fits; else the step's own. */
function alignTo(
  iova: number | undefined,
  s: { readonly iova: number; readonly pageSize: number; readonly count: number },
): number {
  const start = (iova ?? s.iova) - ((iova ?? s.iova) % s.pageSize);
  return start + s.pageSize * s.count <= 2 ** 32 ? start : s.iova;
}

function seen(found: Translation | undefined): string {
  if (found === undefined) return 'nothing';
  return `${found.address} ${found.attributes.write} ${found.pageSize}`;
}

function expected(mapped: Mapped | undefined): string {
  return mapped === undefined
    ? 'nothing'
    : `${mapped.address + 0x123} ${mapped.write} ${mapped.leafPages * PAGE}`;
}
