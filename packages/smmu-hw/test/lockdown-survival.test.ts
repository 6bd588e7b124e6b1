import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { SECOND, regs, type Rig } from './support/rig.ts';
import { GLOBAL_PAGE, PAGE, TERMINATE, indexOf, lock, setLockControl } from './support/tlb-pins.ts';

const ASID = 9;

function va(page: number): number {
  return 0x00100000 + page * 0x1000;
}

function target(page: number): number {
  return 0x41000000 + page * 0x1000;
}

/** TLBLCKR bit and the operation it is for; what of a locked entry the operation takes away with the bit 0. */
const OPERATIONS: readonly (readonly [name: string, bit: number, write: (rig: Rig) => void])[] = [
  ['CTX_TLBIALL', 2, (rig) => rig.set(0, regs.CTX_TLBIALL, 0)],
  ['TLBIASID', 4, (rig) => rig.set(0, regs.TLBIASID, ASID)],
  ['TLBIVAA', 8, (rig) => rig.set(0, regs.TLBIVAA, va(3))],
];

describe('locked entries at TLB maintenance', () => {
  underEveryReading((make, readings) => {
    const locks = readings.lockdown === 'entries';

    /** Bank 0: pages 0 to 7 mapped; 16 entries in 4 sets. */
    function mapped(config: { tlbEntries?: number; tlbWays?: number } = {}, bits = PAGE): Rig {
      const rig = make({ tlbEntries: 16, tlbWays: 4, ...config });
      rig.attach(0, { asid: ASID, actlr: TERMINATE });
      rig.route(0, 0);
      rig.first(0x00100000, SECOND | 1);
      for (let page = 0; page < 8; page++) rig.word(SECOND + page * 4, target(page) | bits);
      return rig;
    }

    test('R18 TLBIVAA with its bit 1 spares an entry that is locked in a way of its own set as well', () => {
      const rig = mapped();
      setLockControl(rig, 0, 8);
      lock(rig, 0, va(3), 3);
      rig.set(0, regs.TLBIVAA, va(3));
      expect(indexOf(rig, 0, va(3))).toBe(locks ? 3 : undefined);
    });

    test.each(OPERATIONS)(
      'R18 a locked entry survives %s if the bit in TLBLCKR is 1',
      (name, bit, invalidate) => {
        for (const survive of [0, bit, 14 & ~bit, 14]) {
          const rig = mapped();
          lock(rig, 0, va(3), 0);
          rig.probe(0, va(4));
          setLockControl(rig, 0, survive);
          invalidate(rig);
          const isHeld = locks && (survive & bit) !== 0;
          expect([name, survive, indexOf(rig, 0, va(3))]).toEqual([name, survive, isHeld ? 0 : undefined]);
          expect(indexOf(rig, 0, va(4)) !== undefined).toBe(name === 'TLBIVAA');
        }
      },
    );

    test('R18 the bits of the bank that is written decide', () => {
      const rig = mapped();
      rig.attach(1, { asid: ASID });
      setLockControl(rig, 0, 14);
      setLockControl(rig, 1, 0);
      lock(rig, 0, va(3), 0);
      rig.set(0, regs.TLBIASID, ASID);
      expect(indexOf(rig, 0, va(3))).toBe(locks ? 0 : undefined);
      rig.set(1, regs.TLBIASID, ASID);
      expect(indexOf(rig, 0, va(3))).toBeUndefined();
    });

    test('R18 TLBIVA drops a locked entry whatever the bits', () => {
      const rig = mapped();
      setLockControl(rig, 0, 14);
      lock(rig, 0, va(3), 0);
      rig.set(0, regs.TLBIVA, va(3) | ASID);
      expect(indexOf(rig, 0, va(3))).toBeUndefined();
    });

    test('R18 an index whose locked entry was dropped is free for ordinary entries', () => {
      const rig = mapped({ tlbEntries: 4, tlbWays: 4 });
      for (const index of [0, 1, 2, 3]) lock(rig, 0, va(index), index);
      rig.set(0, regs.TLBIVA, va(2) | ASID);
      rig.probe(0, va(6));
      expect(indexOf(rig, 0, va(6))).toBe(2);
      // The others are not: what comes next can only replace that one.
      rig.probe(0, va(7));
      expect(indexOf(rig, 0, va(6))).toBe(locks ? undefined : 2);
    });

    test('R19 locked entries survive GLOBAL_TLBIALL and TLBIVMID by CR, or not at all', () => {
      const byCr = locks && readings.globalInvalidateLocked === 'by-cr';
      for (const [bit, offset] of [
        [0x80, regs.GLOBAL_TLBIALL.offset],
        [0x100, regs.TLBIVMID.offset],
      ] as const) {
        for (const cr of [0x40, 0x40 | bit, 0x1c0 & ~bit, 0x1c0]) {
          const rig = mapped({}, GLOBAL_PAGE);
          setLockControl(rig, 0, 14);
          lock(rig, 0, va(3), 0);
          rig.probe(0, va(4));
          rig.put(regs.CR.offset, cr);
          rig.put(offset, 0);
          const isHeld = byCr && (cr & bit) !== 0;
          expect([cr, indexOf(rig, 0, va(3))]).toEqual([cr, isHeld ? 0 : undefined]);
          expect(indexOf(rig, 0, va(4))).toBeUndefined();
        }
      }
    });

    test('R22 a locked global entry at TLBIASID', () => {
      for (const survive of [0, 4]) {
        const rig = mapped({}, GLOBAL_PAGE);
        lock(rig, 0, va(3), 0);
        setLockControl(rig, 0, survive);
        rig.set(0, regs.TLBIASID, ASID);
        const isHeld = readings.asidInvalidateGlobals === 'kept' || (locks && survive === 4);
        expect(indexOf(rig, 0, va(3)) !== undefined).toBe(isHeld);
      }
    });
  });
});
