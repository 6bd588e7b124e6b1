import { describe, expect, test } from '@jest/globals';
import { BUS_ERROR, SLAVE_ERROR } from '@iommu-lab/machine';
import { underEveryReading } from './support/every-reading.ts';
import { HTWDEEF, HTWSEEF, SL, TF } from './support/fault-bits.ts';
import { replaceWords } from './support/replaced-words.ts';
import { SECOND, TABLE, regs, type Rig } from './support/rig.ts';
import { PAGE, SECTION, TERMINATE } from './support/tlb-pins.ts';

const ASID = 3;
/** TTBR attributes of a walk that sees the CPU's cache. */
const SNOOPED = 0x6a;

function va(page: number): number {
  return 0x00100000 + page * 0x1000;
}

function target(page: number): number {
  return 0x41000000 + page * 0x1000;
}

/** Everything that empties the buffer; none of it means an entry of the pages below. */
const MAINTENANCE: readonly (readonly [name: string, write: (rig: Rig) => void])[] = [
  ['CTX_TLBIALL', (rig) => rig.set(2, regs.CTX_TLBIALL, 0)],
  ['TLBIASID', (rig) => rig.set(2, regs.TLBIASID, 0x77)],
  ['TLBIVA', (rig) => rig.set(2, regs.TLBIVA, 0x70000077)],
  ['TLBIVAA', (rig) => rig.set(2, regs.TLBIVAA, 0x70000000)],
  ['GLOBAL_TLBIALL', (rig) => rig.put(regs.GLOBAL_TLBIALL.offset, 0)],
  ['TLBIVMID', (rig) => rig.put(regs.TLBIVMID.offset, 31)],
];

/** A block is 8 descriptors, so pages 0 to 7 are one of the second level and MiB 0 to 7 one of the first. */
describe('block fetch buffer', () => {
  underEveryReading((make, readings) => {
    /** Banks 0 and 1 on one table with the buffer on; pages `mapped` are mapped. */
    function fetching(mapped: readonly number[], config: { fetchBlocks?: number; bfbcr?: number } = {}): Rig {
      const rig = make({ fetchBlocks: config.fetchBlocks ?? 4 });
      for (const bank of [0, 1]) {
        rig.attach(bank, { asid: ASID + bank, actlr: TERMINATE });
        rig.set(bank, regs.BFBCR, config.bfbcr ?? 1);
        rig.route(bank, bank);
      }
      // Bank 2 is there for its maintenance registers; it has a VMID of its own.
      rig.attach(2, { cbacr: 30 << 16 });
      rig.first(va(0), SECOND | 1);
      for (const page of mapped) map(rig, page);
      return rig;
    }

    function map(rig: Rig, page: number, to = page): void {
      rig.word(SECOND + page * 4, target(to) | PAGE);
      rig.word(target(to), 0x100 + to);
    }

    test('R26 a new mapping is not seen until maintenance, if its block was fetched before', () => {
      const rig = fetching([0]);
      expect(rig.load(0, va(0))).toBe(0x100);
      map(rig, 1);
      map(rig, 8);
      expect(rig.load(0, va(1))).toBeUndefined();
      expect(rig.get(0, regs.FSR)).toBe(TF | SL);
      // Page 8 is of the next block, which nobody fetched.
      expect(rig.load(0, va(8))).toBe(0x108);
      rig.put(regs.GLOBAL_TLBIALL.offset, 0);
      expect(rig.load(0, va(1))).toBe(0x101);
    });

    test('R26 every maintenance operation empties the buffer, whatever entries it means', () => {
      for (const [name, maintain] of MAINTENANCE) {
        const rig = fetching([0]);
        rig.load(0, va(0));
        map(rig, 1);
        maintain(rig);
        expect([name, rig.load(0, va(1))]).toEqual([name, 0x101]);
      }
    });

    test('R26 other register writes leave the buffer alone', () => {
      const rig = fetching([0]);
      rig.load(0, va(0));
      map(rig, 1);
      map(rig, 2);
      rig.set(0, regs.CONTEXTIDR, 0x99);
      rig.set(0, regs.TTBR0, TABLE);
      rig.set(0, regs.FSR, 0xffffffff);
      rig.put(regs.TLBRSW.offset, 0);
      expect(rig.load(0, va(1))).toBeUndefined();
      expect(rig.probe(1, va(2)) & 1).toBe(1);
    });

    test('R26 a changed mapping of the block is translated by the descriptor that was fetched', () => {
      const rig = fetching([0, 2]);
      rig.load(0, va(0));
      map(rig, 2, 40);
      expect(rig.load(0, va(2))).toBe(0x102);
      rig.word(SECOND + 2 * 4, 0);
      rig.set(0, regs.TLBIASID, ASID);
      expect(rig.load(0, va(2))).toBeUndefined();
    });

    test('R26 the first level is fetched in blocks as well', () => {
      const rig = fetching([0]);
      rig.load(0, va(0));
      rig.first(0x00700000, 0x41000000 | SECTION);
      rig.first(0x00800000, 0x41000000 | SECTION);
      expect(rig.load(0, 0x00700000)).toBeUndefined();
      expect(rig.get(0, regs.FSR)).toBe(TF);
      expect(rig.load(0, 0x00800000)).toBe(0x100);
      rig.set(0, regs.TLBIVA, 0x00700000 | ASID);
      expect(rig.load(0, 0x00700000)).toBe(0x100);
    });

    test('R26 a replaced TLB entry is loaded again from the block', () => {
      const rig = make({ fetchBlocks: 1, tlbEntries: 1, tlbWays: 1 });
      rig.attach(0, { actlr: TERMINATE });
      rig.set(0, regs.BFBCR, 1);
      rig.route(0, 0);
      rig.first(va(0), SECOND | 1);
      for (const page of [0, 1]) map(rig, page);
      rig.load(0, va(0));
      map(rig, 0, 20);
      rig.load(0, va(1));
      expect(rig.load(0, va(0))).toBe(0x100);
    });

    test('R26 BFBDFE=0: nothing is fetched ahead, and what another bank fetched is not used', () => {
      const off = fetching([0], { bfbcr: 0xfe });
      off.load(0, va(0));
      map(off, 1);
      expect(off.load(0, va(1))).toBe(0x101);
      const mixed = fetching([0]);
      mixed.set(1, regs.BFBCR, 0);
      mixed.load(0, va(0));
      map(mixed, 1);
      expect(mixed.load(1, va(1))).toBe(0x101);
    });

    test('R26 an instance without the buffer sees a new mapping at once', () => {
      const rig = fetching([0], { fetchBlocks: 0 });
      rig.load(0, va(0));
      map(rig, 1);
      expect(rig.load(0, va(1))).toBe(0x101);
    });

    test('R26 banks with BFBDFE=1 are answered from one buffer', () => {
      const rig = fetching([0]);
      rig.load(0, va(0));
      map(rig, 1);
      expect(rig.load(1, va(1))).toBeUndefined();
      expect(rig.get(1, regs.FSR)).toBe(TF | SL);
    });

    test('R26 R54 walks through the CPU’s cache and past it have blocks of their own', () => {
      const rig = fetching([0]);
      rig.set(1, regs.TTBR0, TABLE | SNOOPED);
      rig.load(0, va(0));
      map(rig, 1);
      expect(rig.load(1, va(1))).toBe(0x101);
      map(rig, 2);
      expect(rig.load(1, va(2))).toBeUndefined();
      rig.put(regs.GLOBAL_TLBIALL.offset, 0);
      rig.cacheWord(SECOND + 3 * 4, target(3) | PAGE);
      expect(rig.load(0, va(3))).toBeUndefined();
      expect(rig.probe(1, va(3)) >>> 12).toBe(target(3) >>> 12);
    });

    test('R26 a level has as many blocks as configured, replaced in turn', () => {
      const rig = fetching([0, 8, 16], { fetchBlocks: 2 });
      const isSeen = (page: number): boolean => (rig.probe(0, va(page)) & 1) === 0;
      for (const page of [0, 8]) rig.load(0, va(page));
      for (const page of [1, 2, 9, 10, 11]) map(rig, page);
      expect([isSeen(1), isSeen(9)]).toEqual([false, false]);
      // The third replaces the first, and that one, read again, the second.
      rig.load(0, va(16));
      expect([isSeen(10), isSeen(2), isSeen(11)]).toEqual([false, true, true]);
    });

    test('R26 first-level blocks do not push out second-level ones', () => {
      const rig = fetching([0], { fetchBlocks: 1 });
      rig.load(0, va(0));
      rig.first(0x00800000, 0x41000000 | SECTION);
      rig.load(0, 0x00800000);
      map(rig, 1);
      expect(rig.load(0, va(1))).toBeUndefined();
    });

    test('R41 the access flag that the walker sets stands in memory and in the block', () => {
      const rig = make({ fetchBlocks: 2, tlbEntries: 1, tlbWays: 1 });
      rig.attach(0, { actlr: TERMINATE, sctlr: 0xf });
      rig.set(0, regs.BFBCR, 1);
      rig.route(0, 0);
      const updates = readings.hardwareAccessFlag === 'updates';
      const young = (target(0) | PAGE) & ~0x10;
      rig.second(va(0), young);
      rig.second(va(1), target(1) | PAGE);
      expect(rig.load(0, va(0))).toBe(updates ? 0 : undefined);
      expect(rig.peek(SECOND)).toBe(updates ? young | 0x10 : young);
      // The entry goes, the block stays: it has the flag, so nothing is written this time.
      rig.load(0, va(1));
      rig.word(SECOND, young);
      expect(rig.load(0, va(0))).toBe(updates ? 0 : undefined);
      expect(rig.peek(SECOND)).toBe(young);
    });

    test('R41 R26 the flag goes into no descriptor but the one that was fetched: one that replaced it in memory stays', () => {
      for (const changed of [0, target(40) | PAGE, (target(40) | PAGE) & ~0x10]) {
        const rig = make({ fetchBlocks: 2 });
        rig.attach(0, { actlr: TERMINATE, sctlr: 0xf });
        rig.set(0, regs.BFBCR, 1);
        rig.route(0, 0);
        rig.second(va(0), target(0) | PAGE);
        rig.second(va(1), (target(1) | PAGE) & ~0x10);
        rig.word(target(1), 0x101);
        expect(rig.load(0, va(0))).toBe(0);
        rig.word(SECOND + 4, changed);
        expect(rig.load(0, va(1))).toBe(readings.hardwareAccessFlag === 'updates' ? 0x101 : undefined);
        expect(rig.peek(SECOND + 4)).toBe(changed >>> 0);
      }
    });

    test('R60 invalid neighbours in a block raise no fault and no interrupt', () => {
      const rig = fetching([3]);
      expect(rig.load(0, va(3))).toBe(0x103);
      expect(rig.get(0, regs.FSR)).toBe(0);
      expect(rig.secureLine.isHigh || rig.nonSecureLine.isHigh).toBe(false);
    });

    test('R60 a neighbour that memory refuses is a fault when it is asked for, and not before', () => {
      const rig = fetching([0, 2]);
      rig.refused.add(SECOND + 4);
      expect(rig.load(0, va(0))).toBe(0x100);
      expect(rig.get(0, regs.FSR)).toBe(0);
      expect(rig.load(0, va(2))).toBe(0x102);
      expect(rig.probe(0, va(1))).toBe(HTWSEEF | SL | 1);
      rig.set(0, regs.FSR, 0xffffffff);
      expect(rig.load(0, va(1))).toBeUndefined();
      expect(rig.get(0, regs.FSR)).toBe(HTWSEEF | SL);
    });

    test('R60 a hole of memory beside a descriptor, at both levels', () => {
      for (const answer of [BUS_ERROR, SLAVE_ERROR]) {
        const cause = answer === BUS_ERROR ? HTWDEEF : HTWSEEF;
        const rig = fetching([0]);
        rig.first(0x00300000, 0x41000000 | SECTION);
        replaceWords(rig, new Set([SECOND + 4, TABLE, TABLE + 8]), answer);
        expect(rig.load(0, va(0))).toBe(0x100);
        expect(rig.load(0, 0x00300000)).toBe(0x100);
        expect(rig.get(0, regs.FSR)).toBe(0);
        expect(rig.load(0, va(1))).toBeUndefined();
        expect(rig.get(0, regs.FSR)).toBe(cause | SL);
        rig.set(0, regs.FSR, 0xffffffff);
        expect(rig.load(0, 0x00200000)).toBeUndefined();
        expect(rig.get(0, regs.FSR)).toBe(cause);
      }
    });

    test('R60 the last block before the end of memory is fetched like any other', () => {
      const rig = fetching([]);
      const second = 0xc00;
      for (const page of [255]) rig.second(va(page), target(page) | PAGE, second);
      rig.word(target(255), 0x77);
      expect(rig.load(0, va(255))).toBe(0x77);
      rig.word(second + 254 * 4, target(254) | PAGE);
      expect(rig.load(0, va(254))).toBeUndefined();
    });
  });
});
