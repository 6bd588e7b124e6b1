import { describe, expect, test } from '@jest/globals';
import { insert, iova } from '@iommu-lab/machine';
import { underEveryReading } from './support/every-reading.ts';
import { Rig, SECOND, TABLE, regs } from './support/rig.ts';
import {
  LEAVES,
  PAGE,
  SECTION,
  STALL,
  TERMINATE,
  entryAt,
  indexOf,
  mapLeaf,
  selectedEntry,
} from './support/tlb-pins.ts';

describe('inspection of the TLB', () => {
  underEveryReading((make, readings) => {
    test.each(LEAVES)(
      'R59 TLBRSW and TLBTR0 to TLBTR2 show an entry of %s',
      (_name, sizeBytes, bits, globalBits) => {
        for (const isGlobal of [false, true]) {
          const rig = make();
          rig.attach(0, { asid: 9, cbacr: 5 << 16 });
          const va = 0x03000000;
          mapLeaf(rig, va, 0x42000000, sizeBytes, isGlobal ? globalBits : bits);
          rig.probe(0, va + sizeBytes - 0x1000);
          const index = indexOf(rig, 0, va) as number;
          expect(entryAt(rig, index)).toEqual({
            isValid: true,
            va,
            pa: 0x42000000,
            asid: isGlobal ? 0 : 9,
            vmid: 5,
            isGlobal,
            rights: 15,
            size: LEAVES.findIndex(([, size]) => size === sizeBytes),
          });
          expect(entryAt(rig, (index + 1) % 64).isValid).toBe(false);
        }
      },
    );

    test('R59 pages and frames of the upper half are shown as the unsigned addresses they are', () => {
      const rig = make();
      rig.route(0, 0);
      rig.attach(0);
      mapLeaf(rig, 0xfff00000, 0xc2300000, 0x100000, SECTION);
      rig.probe(0, 0xfff00000);
      expect(rig.smmu.tlbEntries()).toMatchObject([{ iova: 0xfff00000, address: 0xc2300000 }]);
      expect(rig.smmu.probeTlb(0, iova(0xfff12345))).toMatchObject({ iova: 0xfff00000 });
    });

    test('R59 TLBTR0 shows rights, execute never and memory type', () => {
      const rig = make();
      rig.attach(0);
      // AP and XN of a small page against {PR, PW, UR, UW, XN}, all normal memory, inner shareable.
      for (const [ap, shown] of [
        [0x011, 0b10011],
        [0x020, 0b00111],
        [0x030, 0b01111],
        [0x210, 0b00001],
        [0x231, 0b10101],
      ] as const) {
        rig.second(0x00100000, 0x41000000 | 0xc06 | ap);
        rig.set(0, regs.CTX_TLBIALL, 0);
        rig.probe(0, 0x00100000);
        rig.put(regs.TLBRSW.offset, indexOf(rig, 0, 0x00100000) as number);
        expect(rig.at(regs.TLBTR0.offset)).toBe(shown | (3 << 7));
      }
    });

    test('R59 what the whole word says', () => {
      const rig = make();
      rig.attach(0, { asid: 9, cbacr: 5 << 16 });
      rig.second(0x00123000, 0x40456000 | 0xe36);
      rig.probe(0, 0x00123000);
      rig.put(regs.TLBRSW.offset, indexOf(rig, 0, 0x00123000) as number);
      expect(rig.at(regs.TLBTR1.offset)).toBe(0x40456005);
      expect(rig.at(regs.TLBTR2.offset)).toBe(0x00123109);
      expect(rig.at(regs.TLBRSW.offset)).toBe(0);
    });

    test('R59 an index that the TLB does not have, a free entry and the block fetch buffer show 0', () => {
      const rig = make({ tlbEntries: 16, fetchBlocks: 4 });
      rig.attach(0);
      rig.set(0, regs.BFBCR, 1);
      rig.first(0x00100000, 0x41000000 | SECTION);
      rig.probe(0, 0x00100000);
      const index = indexOf(rig, 0, 0x00100000) as number;
      const read = (selector: number): number[] => {
        rig.put(regs.TLBRSW.offset, selector);
        return [regs.TLBTR0, regs.TLBTR1, regs.TLBTR2].map((register) => rig.at(register.offset));
      };
      for (const selector of [index + 16, index + 1, index | 0x100, index | 0x200, index | 0x300]) {
        expect([selector, read(selector)]).toEqual([selector, [0, 0, 0]]);
      }
      expect(read(index | 0xfffffc00)[2]).toBe(0x00100100);
    });

    test('R59 after a change of the entry, the registers show it as selected, or as it is', () => {
      const isLive = readings.selectedEntry === 'live';
      const rig = make({ tlbEntries: 1, tlbWays: 1 });
      rig.attach(0, { asid: 3 });
      rig.second(0x00100000, 0x41000000 | PAGE, SECOND);
      rig.second(0x00101000, 0x41001000 | PAGE, SECOND);
      rig.put(regs.TLBRSW.offset, 0);
      rig.probe(0, 0x00100000);
      expect(selectedEntry(rig).isValid).toBe(isLive);
      rig.put(regs.TLBRSW.offset, 0);
      expect(selectedEntry(rig)).toMatchObject({ isValid: true, va: 0x00100000, pa: 0x41000000 });
      rig.probe(0, 0x00101000);
      expect(selectedEntry(rig)).toMatchObject({ isValid: true, va: isLive ? 0x00101000 : 0x00100000 });
      rig.put(regs.GLOBAL_TLBIALL.offset, 0);
      expect(selectedEntry(rig).isValid).toBe(!isLive);
      rig.put(regs.TLBRSW.offset, 0);
      expect(selectedEntry(rig).isValid).toBe(false);
    });
  });

  test('what observers look at changes nothing', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(0, 0);
    rig.first(0x00100000, 0x41000000 | SECTION, TABLE);
    rig.load(0, 0x00100000);
    const before = rig.smmu.snapshot();
    expect(rig.smmu.probeTlb(0, iova(0x00100000))).toMatchObject({
      iova: 0x00100000,
      address: 0x41000000,
      sizeBytes: 0x100000,
      asid: 0,
      vmid: 0,
      bank: 0,
      userWrite: true,
      executeNever: false,
      memoryType: 'non-cacheable',
      shareability: 'inner',
    });
    expect(rig.smmu.tlbEntries()).toHaveLength(1);
    expect(rig.smmu.probeTlb(31, iova(0x00500000))).toBeUndefined();
    expect(rig.smmu.snapshot()).toEqual(before);
  });

  test('a failed walk that is kept is shown to observers as one', () => {
    const rig = new Rig({ readings: { failedWalks: 'kept' } });
    rig.attach(0, { asid: 4 });
    rig.probe(0, 0x00100000);
    expect(rig.smmu.tlbEntries()).toMatchObject([
      {
        iova: 0x00100000,
        sizeBytes: 0x100000,
        asid: 4,
        isFailedWalk: true,
        privilegedRead: false,
        privilegedWrite: false,
        userRead: false,
        userWrite: false,
      },
    ]);
  });
});

describe('statistics', () => {
  underEveryReading((make, readings) => {
    test('each access is one of translated, bypassing, waiting, faulted, in error; a walk is one that read something', () => {
      const rig = make();
      const reads = firstLevelReads(rig);
      const MISSING = 0x00100000;
      const MAPPED = 0x00200000;
      for (const bank of [0, 1]) rig.attach(bank, { actlr: bank === 0 ? TERMINATE : STALL });
      for (const mid of [0, 4, 5]) rig.route(mid, mid === 0 ? 0 : 1);
      rig.route(2, 2);
      rig.first(MAPPED, 0x41000000 | SECTION);

      const isBypass = readings.unroutedAccess === 'bypass';
      const statuses = [
        rig.translate(0, MAPPED),
        rig.translate(0, MAPPED),
        rig.translate(0, MISSING),
        rig.translate(0, MAPPED + 2 ** 32),
        rig.translate(2, MAPPED),
        rig.translate(99, MAPPED),
        rig.translate(4, MISSING),
        rig.translate(5, MAPPED),
      ];
      expect(statuses).toEqual([
        'done',
        'done',
        'faulted',
        'faulted',
        'done',
        isBypass ? 'done' : 'faulted',
        'parked',
        'parked',
      ]);
      expect(rig.probe(0, MAPPED + 0x1000) & 1).toBe(0);
      // TTBCR.PD0: nothing is read, by an access or a V2P.
      rig.set(0, regs.TTBCR, 0x10);
      expect(rig.translate(0, 0x00400000)).toBe('faulted');
      expect(rig.probe(0, 0x00500000) & 1).toBe(1);
      rig.set(0, regs.TTBCR, 0);
      rig.set(0, regs.ACTLR, insert(TERMINATE, regs.ACTLR.fields.TLBMCFG, 0));
      expect(rig.translate(0, 0x00600000)).toBe('faulted');

      const { accesses, translations, bypasses, waits, faults, globalErrors } = rig.smmu.statistics;
      expect({ accesses, translations, bypasses, waits, faults, globalErrors }).toEqual({
        accesses: 10,
        translations: 2,
        bypasses: isBypass ? 2 : 1,
        waits: 1,
        faults: 5,
        globalErrors: isBypass ? 0 : 1,
      });
      const { probes, hits, misses, unwalked, walks } = rig.smmu.statistics;
      expect({ probes, hits, misses, unwalked, walks }).toEqual({
        probes: 2,
        hits: 2,
        misses: 7,
        unwalked: 4,
        walks: 3,
      });
      expect(reads()).toBe(walks);
    });
  });
});

/** Counts the words of first-level tables that are read from now on. */
function firstLevelReads(rig: Rig): () => number {
  const { memory } = rig;
  const read32 = memory.read32.bind(memory);
  let reads = 0;
  memory.read32 = (address) => {
    if (address >= TABLE && address < TABLE + 0x4000) reads++;
    return read32(address);
  };
  return () => reads;
}
