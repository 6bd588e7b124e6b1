import { describe, expect, test } from '@jest/globals';
import type { MsmSmmuConfig } from '../src/index.ts';
import { underEveryReading } from './support/every-reading.ts';
import { SECOND, TABLE, regs, type Rig } from './support/rig.ts';
import { PAGE, SECTION, entriesOf, indexOf, tableOf } from './support/tlb-pins.ts';

type Geometry = Pick<MsmSmmuConfig, 'tlbEntries' | 'tlbWays' | 'tlbReplacement'>;

/** Pages 0 to 255 of the MiB at 0x00100000. */
function va(page: number): number {
  return 0x00100000 + page * 0x1000;
}

function target(page: number): number {
  return 0x40100000 + page * 0x1000;
}

/** Geometry of the TLB: what is kept, and what makes room. The index of an entry is way * sets + set. */
describe('TLB geometry', () => {
  underEveryReading((make) => {
    /** Bank 0 with small pages. */
    function mapped(geometry: Geometry, pages = 64): Rig {
      const rig = make(geometry);
      rig.attach(0);
      rig.first(0x00100000, SECOND | 1);
      for (let page = 0; page < pages; page++) rig.word(SECOND + page * 4, target(page) | PAGE);
      return rig;
    }

    /** Translates the pages in order; each must come out right. */
    function touch(rig: Rig, ...pages: number[]): void {
      for (const page of pages) expect(rig.probe(0, va(page)) >>> 12).toBe(target(page) >>> 12);
    }

    /** The index of each page that has an entry. */
    function held(rig: Rig, count: number): Record<number, number> {
      const result: Record<number, number> = {};
      for (let page = 0; page < count; page++) {
        const index = indexOf(rig, 0, va(page));
        if (index !== undefined) result[page] = index;
      }
      return result;
    }

    test('R25 one way: a page stays until another of its set comes', () => {
      const rig = mapped({ tlbEntries: 8, tlbWays: 1 });
      touch(rig, 0, 1, 2, 3, 4, 5, 6, 7);
      expect(held(rig, 16)).toEqual({ 0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7 });
      touch(rig, 10, 15);
      expect(held(rig, 16)).toEqual({ 0: 0, 1: 1, 10: 2, 3: 3, 4: 4, 5: 5, 6: 6, 15: 7 });
    });

    test('R25 fully associative: the oldest of all entries makes room', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 4 });
      touch(rig, 0, 8, 16, 24);
      expect(held(rig, 64)).toEqual({ 0: 0, 8: 1, 16: 2, 24: 3 });
      touch(rig, 3, 4, 0, 3);
      expect(held(rig, 64)).toEqual({ 3: 0, 4: 1, 0: 2, 24: 3 });
    });

    test('R25 sets of several ways: round robin in each set by itself', () => {
      const rig = mapped({ tlbEntries: 8, tlbWays: 2 });
      touch(rig, 1, 5, 2);
      expect(held(rig, 16)).toEqual({ 1: 1, 5: 5, 2: 2 });
      touch(rig, 9);
      expect(held(rig, 16)).toEqual({ 9: 1, 5: 5, 2: 2 });
      touch(rig, 13, 1);
      expect(held(rig, 16)).toEqual({ 1: 1, 13: 5, 2: 2 });
    });

    test('R25 a way that an invalidation freed is taken before anything is replaced', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 4 });
      touch(rig, 0, 1, 2, 3);
      rig.set(0, regs.TLBIVA, va(2));
      touch(rig, 9);
      expect(held(rig, 16)).toEqual({ 0: 0, 1: 1, 9: 2, 3: 3 });
    });

    test('R25 a section is found in the set that its own address bits name', () => {
      const rig = mapped({ tlbEntries: 8, tlbWays: 2 });
      for (let mib = 0; mib < 3; mib++) rig.first(0x00200000 + mib * 0x400000, 0x41000000 | SECTION);
      for (let mib = 0; mib < 3; mib++) rig.probe(0, 0x00200000 + mib * 0x400000 + 0x5000);
      // 0x002, 0x006 and 0x00a are all of set 2.
      expect(indexOf(rig, 0, 0x002ff000)).toBeUndefined();
      expect([indexOf(rig, 0, 0x0060f000), indexOf(rig, 0, 0x00a00000)]).toEqual([6, 2]);
    });

    test('R25 one entry is enough', () => {
      const rig = mapped({ tlbEntries: 1, tlbWays: 1 });
      touch(rig, 0, 1, 1, 0, 50);
      expect(held(rig, 64)).toEqual({ 50: 0 });
    });

    test('R25 256 entries all hold something', () => {
      const rig = mapped({ tlbEntries: 256, tlbWays: 8 }, 256);
      touch(rig, ...Array(256).keys());
      expect(Object.keys(held(rig, 256))).toHaveLength(256);
      expect([indexOf(rig, 0, va(0)), indexOf(rig, 0, va(255))]).toEqual([0, 255]);
      expect(entriesOf(rig, 256).size).toBe(256);
    });

    test('R25 random replacement: every page comes out right, and the same seed replaces the same', () => {
      const trail = (rig: Rig): number[] => {
        const seen: number[] = [];
        for (let page = 0; page < 40; page++) {
          touch(rig, page);
          seen.push(indexOf(rig, 0, va(page)) ?? -1);
        }
        return seen;
      };
      const random = { tlbEntries: 8, tlbWays: 8, tlbReplacement: 'random' } as const;
      const first = trail(mapped(random));
      expect(first.slice(0, 8)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(new Set(first.slice(8)).size).toBeGreaterThan(4);
      expect(first.every((index) => index >= 0 && index < 8)).toBe(true);
      const second = mapped(random);
      expect(trail(second)).toEqual(first);
      expect(trail(mapped({ ...random, tlbReplacement: 'round-robin' }))).not.toEqual(first);
      second.smmu.reset();
      second.attach(0);
      expect(trail(second)).toEqual(first);
    });

    test('R27 two banks compete for the same 64 entries, and each is answered by its own table only', () => {
      const rig = make();
      for (const bank of [0, 1]) {
        rig.attach(bank, { ttbr0: tableOf(bank) });
        rig.first(0x00100000, (SECOND + bank * 0x400) | 1, TABLE + bank * 0x4000);
        for (let page = 0; page < 256; page++) {
          rig.word(SECOND + bank * 0x400 + page * 4, (target(page) + bank * 0x100000) | PAGE);
        }
      }
      const answer = (bank: number, page: number): number => (rig.probe(bank, va(page)) >>> 12) - 0x40100;
      const wrong: string[] = [];
      const check = (bank: number, page: number): void => {
        const got = answer(bank, page);
        if (got !== bank * 256 + page) wrong.push(`bank ${bank} page ${page}: ${got}`);
      };
      const holds = (bank: number, page: number): boolean => indexOf(rig, bank, va(page)) !== undefined;
      const pages = [...Array(32).keys()];
      for (const page of pages) for (const bank of [0, 1]) check(bank, page);
      // 32 pages each fill it; nobody has lost one.
      expect(pages.every((page) => holds(0, page) && holds(1, page))).toBe(true);
      // 64 further pages of the one bank leave nothing of the other.
      for (let page = 64; page < 128; page++) check(0, page);
      expect(pages.some((page) => holds(0, page) || holds(1, page))).toBe(false);
      for (const page of pages) check(1, page);
      expect(wrong).toEqual([]);
    });
  });
});
