import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HISTORY_LIMIT, MappingJournal, READ_WRITE } from '../src/index.ts';
import { mustEqual } from './must-equal.ts';

const PAGES = 32;

interface Page {
  readonly address: number;
  readonly by: string;
}

interface PastPage extends Page {
  readonly unmappedBy: string;
}

/** One entry a page: what is there, what was there. Knows no ranges. */
class PageOracle {
  readonly now: (Page | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  readonly past: (PastPage | undefined)[] = Array.from({ length: PAGES }, () => undefined);
}

const command = fc.record({
  kind: fc.constantFrom('map', 'unmap'),
  start: fc.integer({ min: 0, max: PAGES - 1 }),
  count: fc.integer({ min: 1, max: 8 }),
});

const LATE = HISTORY_LIMIT + 500;

describe('the journal', () => {
  test('agrees with a record kept page by page', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const journal = new MappingJournal();
        const oracle = new PageOracle();
        commands.forEach(({ kind, start, count }, n) => {
          const size = Math.min(count, PAGES - start);
          const pages = Array.from({ length: size }, (_, i) => start + i);
          if (kind === 'map') {
            const isFree = pages.every((p) => oracle.now[p] === undefined);
            mustEqual(journal.firstOverlap(start, size) === undefined, isFree);
            if (!isFree) return;
            const address = 1000 * (n + 1);
            journal.add({
              iova: start,
              address,
              sizeBytes: size,
              protection: READ_WRITE,
              by: `${n}`,
              atNs: n,
            });
            pages.forEach((p, i) => (oracle.now[p] = { address: address + i, by: `${n}` }));
          } else {
            const gone = pages.filter((p) => oracle.now[p] !== undefined);
            mustEqual(journal.remove(start, size, `${n}`, n), gone.length);
            for (const p of gone) {
              oracle.past[p] = { ...(oracle.now[p] as Page), unmappedBy: `${n}` };
              oracle.now[p] = undefined;
            }
          }
          check(journal, oracle);
        });
      }),
    );
  });

  test('can tell what stood at an earlier position', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const journal = new MappingJournal();
        const snapshots: { order: number; pages: readonly (string | undefined)[] }[] = [];
        for (const { kind, start, count } of commands) {
          if (kind === 'unmap') journal.remove(start, count, 'x', 0);
          else if (journal.firstOverlap(start, count) === undefined)
            journal.add({
              iova: start,
              address: 0,
              sizeBytes: count,
              protection: READ_WRITE,
              by: `${snapshots.length}`,
              atNs: 0,
            });
          const pages = Array.from({ length: PAGES + 8 }, (_, p) => journal.find(p)?.by);
          snapshots.push({ order: journal.order, pages });
        }
        for (const { order, pages } of snapshots) {
          const active = journal.activeAt(order);
          const seen = pages.map((_, p) => active.find((r) => p >= r.iova && p < r.iova + r.sizeBytes)?.by);
          expect(seen).toEqual(pages);
        }
      }),
    );
  });

  test('agrees with a sorted list of many mappings, wherever they come and go', () => {
    let mostLive = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 1, max: 6 }), fc.boolean()), {
          minLength: 300,
          maxLength: 900,
          size: 'max',
        }),
        (steps) => {
          const journal = new MappingJournal();
          // By page, of a space beyond 32 bits; naive on purpose.
          let oracle: { page: number; pages: number; n: number }[] = [];
          const iovaOf = (page: number): number => 2 ** 33 + page * 0x1000;
          steps.forEach(([page, pages, isUnmap], n) => {
            const end = page + pages;
            const hit = oracle.filter((m) => m.page < end && m.page + m.pages > page);
            const lowest = hit.reduce((low, m) => Math.min(low, m.page), Infinity);
            const found = journal.firstOverlap(iovaOf(page), pages * 0x1000);
            mustEqual(found?.iova, hit.length === 0 ? undefined : iovaOf(lowest));
            if (isUnmap && n % 3 === 0) {
              journal.remove(iovaOf(page), pages * 0x1000, 'x', n);
              oracle = oracle.flatMap((m) => {
                if (!hit.includes(m)) return [m];
                const below = { ...m, pages: page - m.page };
                const above = { ...m, page: end, pages: m.page + m.pages - end };
                return [below, above].filter((part) => part.pages > 0);
              });
            } else if (hit.length === 0) {
              journal.add({
                iova: iovaOf(page),
                address: 0,
                sizeBytes: pages * 0x1000,
                protection: READ_WRITE,
                by: `${n}`,
                atNs: n,
              });
              oracle.push({ page, pages, n });
            }
          });
          mostLive = Math.max(mostLive, oracle.length);
          oracle.sort((a, b) => a.page - b.page);
          expect(journal.live.map((r) => [r.iova, r.sizeBytes, r.by])).toEqual(
            oracle.map((m) => [iovaOf(m.page), m.pages * 0x1000, `${m.n}`]),
          );
        },
      ),
      { numRuns: 15 },
    );
    expect(mostLive).toBeGreaterThan(100); // several levels of the tree
  });

  test('keeps the map call of a record that was cut', () => {
    const journal = new MappingJournal();
    journal.add({ iova: 10, address: 110, sizeBytes: 10, protection: READ_WRITE, by: 'a', atNs: 0 });
    journal.remove(13, 2, 'b', 1);
    expect(journal.live.map((r) => [r.iova, r.address, r.sizeBytes, r.whole])).toEqual([
      [10, 110, 3, { iova: 10, address: 110, sizeBytes: 10 }],
      [15, 115, 5, { iova: 10, address: 110, sizeBytes: 10 }],
    ]);
  });

  test('forgets the oldest of a bounded history', () => {
    const journal = new MappingJournal();
    for (let n = 0; n < HISTORY_LIMIT + 10; n++) {
      journal.add({ iova: n, address: 0, sizeBytes: 1, protection: READ_WRITE, by: 'a', atNs: 0 });
      journal.remove(n, 1, 'b', 0);
    }
    expect(journal.history.map((r) => r.iova)).toEqual(
      Array.from({ length: HISTORY_LIMIT }, (_, i) => i + 10),
    );
    expect([journal.lastUnmapped(9), journal.lastUnmapped(10)?.iova]).toEqual([undefined, 10]);
  });
});

test('the history agrees with a list that is cut at its front, at every length', () => {
  const journal = new MappingJournal();
  const oracle: { iova: number; order: number }[] = [];
  for (let n = 0; n < LATE; n++) {
    // Each address comes again, so that the newest record over it must be told from older ones.
    const iova = (n * 7) % 400;
    journal.add({ iova, address: 0, sizeBytes: 1, protection: READ_WRITE, by: `${n}`, atNs: 0 });
    journal.remove(iova, 1, 'b', n);
    oracle.push({ iova, order: n });
    if (n % 97 !== 0 && n !== LATE - 1) continue;
    const kept = oracle.slice(-HISTORY_LIMIT);
    expect(journal.history.map((r) => [r.iova, r.unmappedAtNs])).toEqual(kept.map((r) => [r.iova, r.order]));
    for (let at = 0; at < 400; at++) {
      const last = kept.findLast((r) => r.iova === at);
      mustEqual(journal.lastUnmapped(at)?.unmappedAtNs, last?.order);
    }
  }
});

function check(journal: MappingJournal, oracle: PageOracle): void {
  const live = oracle.now.map((page, p) => {
    const record = journal.find(p);
    expect(record && { address: record.address + p - record.iova, by: record.by }).toEqual(page);
    const last = journal.lastUnmapped(p);
    expect(
      last && { address: last.address + p - last.iova, by: last.by, unmappedBy: last.unmappedBy },
    ).toEqual(oracle.past[p]);
    return page === undefined ? 0 : 1;
  });
  expect(journal.liveBytes).toBe(live.reduce((a: number, b) => a + b, 0));
  const { live: records } = journal;
  for (let i = 1; i < records.length; i++) {
    const [a, b] = [records[i - 1], records[i]];
    expect(a !== undefined && b !== undefined && a.iova + a.sizeBytes <= b.iova).toBe(true);
  }
}
