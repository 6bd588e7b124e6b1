import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { SECOND, regs, type Rig } from './support/rig.ts';
import { PAGE, TERMINATE, entryAt, indexOf, lock, setLockControl } from './support/tlb-pins.ts';

const ASID = 9;

function va(page: number): number {
  return 0x00100000 + page * 0x1000;
}

function target(page: number): number {
  return 0x41000000 + page * 0x1000;
}

describe('TLB lockdown', () => {
  underEveryReading((make, readings) => {
    const locks = readings.lockdown === 'entries';

    /** Bank 0: pages 0 to 63 mapped; 16 entries in 4 sets. */
    function mapped(config: { tlbEntries?: number; tlbWays?: number } = {}): Rig {
      const rig = make({ tlbEntries: 16, tlbWays: 4, ...config });
      rig.attach(0, { asid: ASID, actlr: TERMINATE });
      rig.route(0, 0);
      rig.first(0x00100000, SECOND | 1);
      for (let page = 0; page < 64; page++) rig.word(SECOND + page * 4, target(page) | PAGE);
      return rig;
    }

    function touch(rig: Rig, first: number, last: number): void {
      for (let page = first; page <= last; page++) {
        expect(rig.probe(0, va(page)) >>> 12).toBe(target(page) >>> 12);
      }
    }

    test('R17 a V2P with LKE=1 loads the index it names, whatever the set, and the entry is found there', () => {
      const rig = mapped();
      for (const [page, index, ordinary] of [
        [3, 0, 3],
        [8, 13, 0],
        [7, 15, 7],
      ] as const) {
        expect(lock(rig, 0, va(page), index) >>> 12).toBe(target(page) >>> 12);
        expect([page, indexOf(rig, 0, va(page))]).toEqual([page, locks ? index : ordinary]);
        rig.word(target(page), 0x100 + page);
        expect(rig.load(0, va(page))).toBe(0x100 + page);
      }
    });

    test('R17 all four V2P lock', () => {
      [regs.V2PPR, regs.V2PPW, regs.V2PUR, regs.V2PUW].forEach((probe, index) => {
        const rig = mapped({ tlbEntries: 16, tlbWays: 1 });
        lock(rig, 0, va(index), 15 - index, probe);
        expect(indexOf(rig, 0, va(index))).toBe(locks ? 15 - index : index);
      });
    });

    test('R17 a locked entry is not replaced, an ordinary one is', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 4 });
      lock(rig, 0, va(0), 0);
      rig.probe(0, va(1));
      touch(rig, 2, 30);
      expect(indexOf(rig, 0, va(0))).toBe(locks ? 0 : undefined);
      expect(indexOf(rig, 0, va(1))).toBeUndefined();
      // Its descriptor is gone; it goes on answering.
      rig.word(SECOND, 0);
      expect(rig.load(0, va(0))).toBe(locks ? 0 : undefined);
    });

    test('R17 another lock at the index replaces it, and drops what was there', () => {
      const rig = mapped();
      lock(rig, 0, va(0), 6);
      lock(rig, 0, va(1), 6);
      expect(indexOf(rig, 0, va(1))).toBe(locks ? 6 : 1);
      expect(indexOf(rig, 0, va(0))).toBe(locks ? undefined : 0);
      rig.probe(0, va(3));
      expect(indexOf(rig, 0, va(3))).toBe(3);
      lock(rig, 0, va(2), 3);
      expect(indexOf(rig, 0, va(3))).toBe(locks ? undefined : 3);
      expect(indexOf(rig, 0, va(2))).toBe(locks ? 3 : 2);
    });

    test('R17 locking a page that has an ordinary entry moves the entry', () => {
      const rig = mapped();
      rig.probe(0, va(1));
      expect(indexOf(rig, 0, va(1))).toBe(1);
      expect(lock(rig, 0, va(1), 10) >>> 12).toBe(target(1) >>> 12);
      expect(indexOf(rig, 0, va(1))).toBe(locks ? 10 : 1);
      expect(entryAt(rig, 1).isValid).toBe(!locks);
      expect(rig.probe(0, va(1)) & 1).toBe(0);
    });

    test('R17 a lock takes nothing away but what stood at its index', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 1 });
      touch(rig, 0, 3);
      lock(rig, 0, va(5), 3);
      const held = [0, 1, 2, 3, 5].filter((page) => indexOf(rig, 0, va(page)) !== undefined);
      expect(held).toEqual(locks ? [0, 1, 2, 5] : [0, 2, 3, 5]);
    });

    test('R17 locking the same page at the same index again changes nothing', () => {
      const rig = mapped();
      setLockControl(rig, 0, 2);
      lock(rig, 0, va(1), 10);
      lock(rig, 0, va(1), 10);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(indexOf(rig, 0, va(1))).toBe(locks ? 10 : undefined);
    });

    test('R17 a V2P that fails locks nothing', () => {
      const rig = mapped();
      setLockControl(rig, 0, 2);
      rig.word(SECOND + 5 * 4, target(5) | 0xc16);
      const isChecked = readings.probeRights === 'checked';
      expect(lock(rig, 0, va(5), 3, regs.V2PUW) & 1).toBe(isChecked ? 1 : 0);
      expect(lock(rig, 0, va(200), 2) & 1).toBe(1);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(indexOf(rig, 0, va(5))).toBe(locks && !isChecked ? 3 : undefined);
      expect(indexOf(rig, 0, va(200))).toBeUndefined();
    });

    test('R17 an index that the TLB does not have loads an ordinary entry', () => {
      const rig = mapped();
      setLockControl(rig, 0, 2);
      lock(rig, 0, va(1), 16);
      expect(indexOf(rig, 0, va(1))).toBe(1);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(indexOf(rig, 0, va(1))).toBeUndefined();
    });

    test('R17 LKE=0 locks nothing; LKE is the bank’s own', () => {
      const rig = mapped();
      rig.attach(1, { asid: ASID });
      setLockControl(rig, 0, 2);
      setLockControl(rig, 1, 3);
      rig.set(0, regs.V2PUR, va(1) | 12);
      expect(indexOf(rig, 0, va(1))).toBe(1);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(indexOf(rig, 0, va(1))).toBeUndefined();
    });

    test('R17 ordinary entries keep off the indices below FLOOR', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 4 });
      setLockControl(rig, 0, 2 << 8);
      touch(rig, 0, 9);
      const inUse = [0, 1, 2, 3].map((index) => entryAt(rig, index).isValid);
      expect(inUse).toEqual(locks ? [false, false, true, true] : [true, true, true, true]);
      lock(rig, 0, va(20), 1);
      touch(rig, 0, 9);
      expect(indexOf(rig, 0, va(20))).toBe(locks ? 1 : undefined);
      expect(entryAt(rig, 0).isValid).toBe(!locks);
    });

    test('R17 FLOOR counts indices, so it takes one way after the other from all sets', () => {
      const rig = mapped({ tlbEntries: 8, tlbWays: 2 });
      setLockControl(rig, 0, 6 << 8);
      touch(rig, 0, 15);
      const inUse = [...Array(8).keys()].filter((index) => entryAt(rig, index).isValid);
      expect(inUse).toEqual(locks ? [6, 7] : [0, 1, 2, 3, 4, 5, 6, 7]);
    });

    test('R17 where FLOOR or locks leave no way, the translation is used and not kept', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 2 });
      setLockControl(rig, 0, 4 << 8);
      rig.word(target(0), 0x77);
      expect(rig.load(0, va(0))).toBe(0x77);
      expect(indexOf(rig, 0, va(0))).toBe(locks ? undefined : 0);
      setLockControl(rig, 0, 0);
      for (const index of [0, 2]) lock(rig, 0, va(10 + index), index);
      rig.set(0, regs.TLBIVA, va(0) | ASID);
      expect(rig.load(0, va(0))).toBe(0x77);
      expect(indexOf(rig, 0, va(0)) === undefined).toBe(locks);
      rig.probe(0, va(1));
      expect(indexOf(rig, 0, va(1))).toBeDefined();
    });

    test('R59 a locked entry is shown like any other', () => {
      const rig = mapped();
      lock(rig, 0, va(3), 12);
      const index = locks ? 12 : 3;
      expect(entryAt(rig, index)).toMatchObject({
        isValid: true,
        va: va(3),
        pa: target(3),
        asid: ASID,
        isGlobal: false,
        size: 0,
        rights: 15,
      });
    });
  });
});
