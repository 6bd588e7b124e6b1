import { describe, expect, test } from '@jest/globals';
import { underEveryReading } from './support/every-reading.ts';
import { Rig, regs } from './support/rig.ts';
import {
  GLOBAL_SECTION,
  LEAVES,
  SECTION,
  SHARED_VA,
  TERMINATE,
  banks,
  indexOf,
  loadAll,
  mapLeaf,
  survivors,
  tableOf,
} from './support/tlb-pins.ts';

const ALL = [0, 1, 2];

describe('TLB maintenance', () => {
  underEveryReading((make, readings) => {
    test('R19 GLOBAL_TLBIALL drops everything: all VMIDs, global entries, whatever the data', () => {
      for (const data of [0, 0xffffffff]) {
        const rig = banks(make, { vmids: [0, 1, 2], leaf: GLOBAL_SECTION });
        loadAll(rig);
        expect(survivors(rig)).toEqual(ALL);
        rig.put(regs.GLOBAL_TLBIALL.offset, data);
        expect(survivors(rig)).toEqual([]);
      }
    });

    test('R23 TLBIVA and TLBIVAA reach addresses of the upper half as well', () => {
      for (const [register, data] of [
        [regs.TLBIVA, 0xc0000001],
        [regs.TLBIVAA, 0xc0000000],
      ] as const) {
        for (const [, sizeBytes, bits] of LEAVES) {
          const rig = make();
          rig.route(0, 0);
          rig.attach(0, { asid: 1, actlr: TERMINATE });
          mapLeaf(rig, 0xc0000000, 0x42000000, sizeBytes, bits);
          rig.load(0, 0xc0000000);
          expect(indexOf(rig, 0, 0xc0000000)).toBeDefined();
          rig.set(0, register, data);
          expect(indexOf(rig, 0, 0xc0000000)).toBeUndefined();
        }
      }
    });

    test('R21 CTX_TLBIALL drops the entry at index 0 too', () => {
      const rig = make();
      rig.route(0, 0);
      rig.attach(0, { actlr: TERMINATE });
      mapLeaf(rig, 0, 0x42000000, 0x1000, 0xc36);
      rig.load(0, 0);
      expect(indexOf(rig, 0, 0)).toBe(0);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(indexOf(rig, 0, 0)).toBeUndefined();
    });

    test('R20 CTX_TLBIALL triggers whatever the data', () => {
      const rig = banks(make);
      for (const data of [0, 1, 0xffffffff]) {
        rig.load(1, SHARED_VA);
        expect(survivors(rig)).toContain(1);
        rig.set(1, regs.CTX_TLBIALL, data);
        expect(survivors(rig)).not.toContain(1);
      }
    });

    test('R21 CTX_TLBIALL drops the entries in its scope; those of another VMID survive', () => {
      const rig = banks(make, { vmids: [0, 0, 5] });
      loadAll(rig);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(survivors(rig)).toEqual(readings.contextInvalidateScope === 'vmid' ? [2] : [1, 2]);
    });

    test('R21 CTX_TLBIALL drops a global entry of the VMID', () => {
      const rig = banks(make, { leaf: GLOBAL_SECTION });
      rig.load(0, SHARED_VA);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(survivors(rig)).toEqual([]);
    });

    test('R21 an entry that another bank loaded is in the scope, unless that is the bank alone', () => {
      const rig = banks(make);
      rig.set(1, regs.CONTEXTIDR, 0);
      rig.load(0, SHARED_VA);
      rig.set(1, regs.CTX_TLBIALL, 0);
      expect(survivors(rig).includes(0)).toBe(readings.contextInvalidateScope === 'bank');
    });

    test('R21 after a change of the ASID, the entries of the old one are in the scope unless it looks at the ASID', () => {
      const rig = banks(make);
      rig.load(1, SHARED_VA);
      rig.set(1, regs.CONTEXTIDR, 9);
      rig.set(1, regs.CTX_TLBIALL, 0);
      rig.set(1, regs.CONTEXTIDR, 1);
      expect(survivors(rig)).toEqual(readings.contextInvalidateScope === 'vmid-and-asid' ? [1] : []);
    });

    test('R22 TLBIASID drops the entries of that ASID and no others', () => {
      const rig = banks(make);
      loadAll(rig);
      rig.set(1, regs.TLBIASID, 2);
      expect(survivors(rig)).toEqual([0, 1]);
      rig.set(1, regs.TLBIASID, 0xffffff01);
      expect(survivors(rig)).toEqual([0]);
      rig.set(0, regs.TLBIASID, 0);
      expect(survivors(rig)).toEqual([]);
    });

    test('R22 TLBIASID keeps global entries, or drops those of the VMID, as the reading says', () => {
      const rig = banks(make, { vmids: [0, 0, 5], leaf: GLOBAL_SECTION });
      loadAll(rig);
      rig.set(0, regs.TLBIASID, 0);
      expect(survivors(rig)).toEqual(readings.asidInvalidateGlobals === 'dropped' ? [2] : ALL);
    });

    test.each(LEAVES)(
      'R23 TLBIVA drops the entry of %s that covers the address',
      (_name, sizeBytes, bits) => {
        const rig = make();
        const va = 0x03000000;
        rig.attach(0, { asid: 9 });
        mapLeaf(rig, va, 0x42000000, sizeBytes, bits);
        rig.probe(0, va);
        const inside = va + sizeBytes - 0x1000;
        rig.set(0, regs.TLBIVA, inside | 8);
        rig.set(0, regs.TLBIVA, (va + sizeBytes) | 9);
        rig.set(0, regs.TLBIVA, (va - 0x1000) | 9);
        expect(indexOf(rig, 0, va)).toBeDefined();
        rig.set(0, regs.TLBIVA, inside | 9);
        expect(indexOf(rig, 0, va)).toBeUndefined();
      },
    );

    test.each(LEAVES)(
      'R23 a global entry of %s at TLBIVA and TLBIVAA',
      (_name, sizeBytes, _bits, globalBits) => {
        const rig = make();
        const va = 0x03000000;
        rig.attach(0, { asid: 9 });
        mapLeaf(rig, va, 0x42000000, sizeBytes, globalBits);
        rig.probe(0, va);
        rig.set(0, regs.TLBIVA, va | 0x77);
        expect(indexOf(rig, 0, va) !== undefined).toBe(readings.addressInvalidateGlobals === 'kept');
        rig.probe(0, va);
        rig.set(0, regs.TLBIVAA, va + sizeBytes - 0x1000);
        expect(indexOf(rig, 0, va)).toBeUndefined();
      },
    );

    test('R23 TLBIVA leaves the entries of other ASIDs, TLBIVAA drops those of all', () => {
      const rig = banks(make);
      loadAll(rig);
      rig.set(0, regs.TLBIVA, 0x00155000 | 1);
      expect(survivors(rig)).toEqual([0, 2]);
      rig.set(0, regs.TLBIVAA, 0x00255000);
      expect(survivors(rig)).toEqual([0, 2]);
      rig.set(0, regs.TLBIVAA, 0x00155fff);
      expect(survivors(rig)).toEqual([]);
    });

    test('R23 an operation of a bank stays within its VMID; TLBIVMID drops all of one', () => {
      const rig = banks(make, { vmids: [0, 1, 2], leaf: GLOBAL_SECTION });
      rig.first(0x00200000, 0x41000000 | SECTION, tableOf(2));
      loadAll(rig);
      rig.load(2, 0x00200000);
      rig.set(0, regs.TLBIVAA, SHARED_VA);
      rig.set(0, regs.TLBIASID, 1);
      rig.set(0, regs.TLBIASID, 2);
      rig.set(0, regs.TLBIVA, SHARED_VA | 2);
      rig.set(0, regs.CTX_TLBIALL, 0);
      expect(survivors(rig)).toEqual([1, 2]);
      expect(indexOf(rig, 2, 0x00200000)).toBeDefined();
      rig.put(regs.TLBIVMID.offset, 0xffffffe2);
      expect(survivors(rig)).toEqual([1]);
      expect(indexOf(rig, 2, 0x00200000)).toBeUndefined();
    });

    test('R24 each operation is effective for the very next access', () => {
      const operations: readonly ((rig: Rig) => void)[] = [
        (rig) => rig.set(0, regs.CTX_TLBIALL, 0),
        (rig) => rig.set(0, regs.TLBIASID, 3),
        (rig) => rig.set(0, regs.TLBIVA, SHARED_VA | 3),
        (rig) => rig.set(0, regs.TLBIVAA, SHARED_VA),
        (rig) => rig.put(regs.GLOBAL_TLBIALL.offset, 0),
        (rig) => rig.put(regs.TLBIVMID.offset, 0),
      ];
      const rig = make();
      rig.attach(0, { asid: 3, actlr: TERMINATE });
      rig.route(0, 0);
      rig.word(0x41000000, 0xa);
      rig.word(0x41100000, 0xb);
      operations.forEach((invalidate, index) => {
        rig.first(SHARED_VA, 0x41000000 | SECTION);
        expect([index, rig.load(0, SHARED_VA)]).toEqual([index, 0xa]);
        rig.first(SHARED_VA, 0x41100000 | SECTION);
        expect([index, rig.load(0, SHARED_VA)]).toEqual([index, 0xa]);
        invalidate(rig);
        expect([index, rig.load(0, SHARED_VA)]).toEqual([index, 0xb]);
        invalidate(rig);
      });
    });
  });
});

test('a maintenance event says what was written, for which bank and page, and how many entries went', () => {
  const rig = new Rig();
  rig.route(0, 0);
  rig.attach(0, { asid: 1, actlr: TERMINATE });
  mapLeaf(rig, 0xc0000000, 0x42000000, 0x1000, 0xc36);
  rig.load(0, 0xc0000000);
  const events: unknown[] = [];
  rig.world.events.subscribe(({ name, fields }) => events.push({ name, ...fields }));
  rig.set(0, regs.TLBIVA, 0xc0000001);
  rig.put(regs.GLOBAL_TLBIALL.offset, 0);
  expect(events).toEqual([
    { name: 'smmu:invalidate', iommu: 'jpegd', operation: 'TLBIVA', bank: 0, entries: 1, iova: '0xc0000000' },
    { name: 'smmu:invalidate', iommu: 'jpegd', operation: 'GLOBAL_TLBIALL', bank: null, entries: 0 },
  ]);
});
