import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { SECOND, TABLE, regs, type Rig } from './support/rig.ts';
import {
  GLOBAL_SECTION,
  PAGE,
  READ_ONLY_PAGE,
  SECTION,
  SHARED_VA,
  TERMINATE,
  banks,
  entryAt,
  indexOf,
  loadAll,
  tableOf,
} from './support/tlb-pins.ts';

const TF = 0x2;
const TF_SECOND = 0x10002;

describe('TLB entries', () => {
  underEveryReading((make, readings) => {
    const areBanksApart = readings.tlbTags === 'bank-vmid-and-asid';

    /** Bank 0 with one master; nothing is mapped. */
    function oneBank(sctlr = 3): Rig {
      const rig = make();
      rig.attach(0, { sctlr, actlr: TERMINATE });
      rig.route(0, 0);
      return rig;
    }

    /** FSR after a load that must fail; cleared again. */
    function faultOf(rig: Rig, va: number, mid = 0, bank = mid): number {
      expect(rig.load(mid, va)).toBeUndefined();
      const fsr = rig.get(bank, regs.FSR);
      rig.set(bank, regs.FSR, fsr);
      return fsr;
    }

    test('R25 without invalidation the old translation goes on after unmap and remap', () => {
      const rig = banks(make);
      expect(loadAll(rig)).toEqual([0xa0, 0xa1, 0xa2]);
      rig.first(SHARED_VA, 0, tableOf(1));
      expect(rig.load(1, SHARED_VA)).toBe(0xa1);
      rig.first(SHARED_VA, 0x41200000 | SECTION, tableOf(1));
      expect(rig.load(1, SHARED_VA)).toBe(0xa1);
      expect(rig.probe(1, SHARED_VA) >>> 20).toBe(0x411);
      rig.set(1, regs.CTX_TLBIALL, 0);
      expect(rig.load(1, SHARED_VA)).toBe(0xa2);
    });

    test('R25 the rights and the memory type of an entry are those of its descriptor when it was read', () => {
      const rig = oneBank();
      rig.second(SHARED_VA, 0x41000000 | READ_ONLY_PAGE);
      const before = rig.probe(0, SHARED_VA);
      rig.second(SHARED_VA, 0x41000000 | PAGE | 8);
      rig.set(0, regs.PRRR, 0);
      expect(rig.store(0, SHARED_VA, 1).state).toBe('faulted');
      expect(rig.probe(0, SHARED_VA)).toBe(before);
      rig.set(0, regs.TLBIVA, SHARED_VA);
      expect(rig.store(0, SHARED_VA, 1).state).toBe('done');
      expect(rig.probe(0, SHARED_VA)).not.toBe(before);
    });

    test('R26 a walk that the second level failed is made again, or answers its page until it is dropped', () => {
      const isKept = readings.failedWalks === 'kept';
      const rig = oneBank();
      rig.second(0x00105000, 0x41005000 | PAGE);
      expect(faultOf(rig, 0x00101abc)).toBe(TF_SECOND);
      rig.second(0x00101000, 0x41001000 | PAGE);
      rig.second(0x00102000, 0x41002000 | PAGE);
      rig.word(0x41001000, 0x51);
      expect(rig.load(0, 0x00101000)).toBe(isKept ? undefined : 0x51);
      expect(rig.get(0, regs.FSR)).toBe(isKept ? TF_SECOND : 0);
      expect(rig.load(0, 0x00102000)).toBe(0);
      rig.set(0, regs.TLBIVA, 0x00101000);
      expect(rig.load(0, 0x00101000)).toBe(0x51);
    });

    test('R26 a walk that the first level failed is made again, or answers its section', () => {
      const isKept = readings.failedWalks === 'kept';
      const rig = oneBank();
      expect(faultOf(rig, 0x00101000)).toBe(TF);
      rig.first(0x00100000, 0x41000000 | SECTION);
      rig.first(0x00200000, 0x41000000 | SECTION);
      rig.word(0x41000000, 0x51);
      expect(rig.load(0, 0x00100000)).toBe(isKept ? undefined : 0x51);
      expect(rig.get(0, regs.FSR)).toBe(isKept ? TF : 0);
      expect(rig.load(0, 0x00200000)).toBe(0x51);
      rig.set(0, regs.TLBIVAA, 0x001ff000);
      expect(rig.load(0, 0x00100000)).toBe(0x51);
    });

    test('R26 what a V2P did not find is treated as what an access did not find', () => {
      const rig = oneBank();
      const isKept = readings.failedWalks === 'kept';
      expect(rig.probe(0, 0x00100000) & 3).toBe(3);
      rig.first(0x00100000, 0x41000000 | SECTION);
      expect(rig.probe(0, 0x00100000) & 1).toBe(isKept ? 1 : 0);
      expect(rig.load(0, 0x00100000)).toBe(isKept ? undefined : 0);
    });

    test('R26 a failed walk that is kept is an entry of its ASID without rights', () => {
      const rig = banks(make);
      rig.second(0x00300000, 0, SECOND, tableOf(1));
      rig.first(0x00300000, 0x41000000 | SECTION, tableOf(0));
      rig.load(1, 0x00300000);
      const index = indexOf(rig, 1, 0x00300000);
      expect(index !== undefined).toBe(readings.failedWalks === 'kept');
      expect(rig.load(0, 0x00300000)).toBe(0xa0);
      if (index === undefined) return;
      expect(entryAt(rig, index)).toMatchObject({
        isValid: true,
        va: 0x00300000,
        asid: 1,
        rights: 0,
        size: 0,
      });
      rig.load(1, 0x00500000);
      expect(entryAt(rig, indexOf(rig, 1, 0x00500000) as number)).toMatchObject({ rights: 0, size: 2 });
    });

    test('R26 a valid descriptor whose rights do not suffice is kept', () => {
      const rig = oneBank();
      rig.second(SHARED_VA, 0x41000000 | READ_ONLY_PAGE);
      expect(rig.store(0, SHARED_VA, 1).state).toBe('faulted');
      expect(indexOf(rig, 0, SHARED_VA)).toBeDefined();
      rig.second(SHARED_VA, 0x41000000 | PAGE);
      expect(rig.store(0, SHARED_VA, 1).state).toBe('faulted');
      rig.set(0, regs.TLBIASID, 0);
      expect(rig.store(0, SHARED_VA, 1).state).toBe('done');
    });

    test('R26 access flag faults and walks that memory did not answer are never kept', () => {
      const rig = oneBank(7);
      rig.second(0x00100000, 0x41000000 | (PAGE & ~0x10));
      rig.first(0x00200000, 0x70000000 | 1);
      expect(faultOf(rig, 0x00100000)).toBe(0x10004);
      expect(faultOf(rig, 0x00200000)).toBe(0x10020);
      expect(indexOf(rig, 0, 0x00100000)).toBeUndefined();
      expect(indexOf(rig, 0, 0x00200000)).toBeUndefined();
      rig.second(0x00100000, 0x41000000 | PAGE);
      rig.first(0x00200000, 0x41000000 | SECTION);
      expect([rig.load(0, 0x00100000), rig.load(0, 0x00200000)]).toEqual([0, 0]);
    });

    test('R27 banks with equal VMID and ASID share entries, unless entries belong to banks', () => {
      const rig = banks(make);
      rig.set(1, regs.CONTEXTIDR, 0);
      expect(loadAll(rig)).toEqual([0xa0, areBanksApart ? 0xa1 : 0xa0, 0xa2]);
    });

    test('R27 an entry with nG=0 ignores the ASID, one with nG=1 does not', () => {
      const shared = banks(make, { leaf: GLOBAL_SECTION });
      expect(loadAll(shared)).toEqual(areBanksApart ? [0xa0, 0xa1, 0xa2] : [0xa0, 0xa0, 0xa0]);
      shared.set(0, regs.CONTEXTIDR, 0x55);
      shared.first(SHARED_VA, 0, tableOf(0));
      expect(shared.load(0, SHARED_VA)).toBe(0xa0);
      const apart = banks(make);
      loadAll(apart);
      apart.set(0, regs.CONTEXTIDR, 0x55);
      apart.first(SHARED_VA, 0, tableOf(0));
      expect(apart.load(0, SHARED_VA)).toBeUndefined();
      apart.set(0, regs.CONTEXTIDR, 0xffffff00);
      expect(apart.load(0, SHARED_VA)).toBe(0xa0);
    });

    test('R27 V2P and accesses find each other’s entries', () => {
      const rig = banks(make);
      rig.probe(0, SHARED_VA);
      rig.first(SHARED_VA, 0, tableOf(0));
      expect(rig.load(0, SHARED_VA)).toBe(0xa0);
      rig.load(1, SHARED_VA);
      rig.first(SHARED_VA, 0, tableOf(1));
      expect(rig.probe(1, SHARED_VA) >>> 20).toBe(0x411);
    });

    test('R28 entries of different VMID are never shared, global or not', () => {
      for (const leaf of [SECTION, GLOBAL_SECTION]) {
        const rig = banks(make, { vmids: [0, 1, 31], leaf });
        for (const bank of [0, 1, 2]) rig.set(bank, regs.CONTEXTIDR, 4);
        expect(loadAll(rig)).toEqual([0xa0, 0xa1, 0xa2]);
        expect(new Set([0, 1, 2].map((bank) => indexOf(rig, bank, SHARED_VA))).size).toBe(3);
      }
    });

    test('R58 two banks with one table agree, and an unmap with a flush shows on both', () => {
      const rig = make();
      for (const bank of [0, 1]) {
        rig.attach(bank, { ttbr0: TABLE, actlr: TERMINATE });
        rig.route(bank, bank);
      }
      rig.first(SHARED_VA, 0x41000000 | SECTION);
      rig.word(0x41023000, 0x77);
      expect([rig.load(0, 0x00123000), rig.load(1, 0x00123000)]).toEqual([0x77, 0x77]);
      expect(rig.probe(0, 0x00123000)).toBe(rig.probe(1, 0x00123000));
      rig.first(SHARED_VA, 0);
      for (const bank of [0, 1]) rig.set(bank, regs.CTX_TLBIALL, 0);
      expect([rig.load(0, SHARED_VA), rig.load(1, SHARED_VA)]).toEqual([undefined, undefined]);
    });
  });
});
