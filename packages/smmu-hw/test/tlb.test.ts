import { describe, expect, test } from '@jest/globals';
import { iova } from '@iommu-lab/machine';
import { Rig, SECOND, TABLE, regs } from './rig.ts';

const GLOBAL_SECTION = 0x10c06;
const SECTION = 0x30c06;

/** Bank b has ASID b and its own table, which maps 0x00100000 to a section that holds 0xA0 + b. */
function banks(options: { vmids?: readonly number[]; leaf?: number; config?: object } = {}): Rig {
  const rig = new Rig(options.config);
  for (const bank of [0, 1, 2]) {
    const vmid = options.vmids?.[bank] ?? 0;
    rig.attach(bank, { ttbr0: TABLE + bank * 0x4000, cbacr: vmid << 16 });
    rig.first(0x00100000, (0x41000000 + bank * 0x100000) | (options.leaf ?? SECTION), TABLE + bank * 0x4000);
    rig.word(0x41000000 + bank * 0x100000, 0xa0 + bank);
    rig.route(bank, bank, vmid);
  }
  return rig;
}

/** Loads through each bank, then takes every first-level entry away: who still answers has a TLB entry. */
function loadAndUnmap(rig: Rig): void {
  for (const mid of [0, 1, 2]) expect(rig.load(mid, 0x00100000)).toBeDefined();
  for (const bank of [0, 1, 2]) rig.first(0x00100000, 0, TABLE + bank * 0x4000);
}

function survivors(rig: Rig): number[] {
  return [0, 1, 2].filter((mid) => rig.smmu.probeTlb(mid, iova(0x00100000)) !== undefined);
}

describe('TLB', () => {
  test('R25 without invalidation the old translation goes on after unmap and remap', () => {
    const rig = banks();
    loadAndUnmap(rig);
    expect(rig.load(1, 0x00100000)).toBe(0xa1);
    rig.first(0x00100000, 0x41200000 | SECTION, TABLE + 0x4000);
    expect(rig.load(1, 0x00100000)).toBe(0xa1);
    rig.set(1, regs.CTX_TLBIALL, 0);
    expect(rig.load(1, 0x00100000)).toBe(0xa2);
  });

  test('R24 an invalidation is effective for the very next access', () => {
    const rig = banks();
    loadAndUnmap(rig);
    rig.set(1, regs.TLBIVA, 0x00100001);
    expect(rig.load(1, 0x00100000)).toBeUndefined();
  });

  test('R26 a failed translation is not remembered', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(0, 0);
    expect(rig.load(0, 0x00100000)).toBeUndefined();
    rig.first(0x00100000, 0x41000000 | SECTION);
    expect(rig.load(0, 0x00100000)).toBe(0);
  });

  test('R19 GLOBAL_TLBIALL drops everything, global entries and all VMIDs', () => {
    const rig = banks({ vmids: [0, 1, 2], leaf: GLOBAL_SECTION });
    loadAndUnmap(rig);
    rig.put(regs.GLOBAL_TLBIALL.offset, 0);
    expect(rig.smmu.tlbEntries()).toEqual([]);
  });

  test('R20 CTX_TLBIALL triggers whatever the data', () => {
    for (const data of [0, 1, 0xffffffff]) {
      const rig = banks();
      loadAndUnmap(rig);
      rig.set(1, regs.CTX_TLBIALL, data);
      expect(rig.load(1, 0x00100000)).toBeUndefined();
    }
  });

  test('R21 CTX_TLBIALL drops the entries of the bank’s VMID, those of another survive', () => {
    const rig = banks({ vmids: [0, 0, 5] });
    loadAndUnmap(rig);
    rig.set(0, regs.CTX_TLBIALL, 0);
    expect(survivors(rig)).toEqual([2]);
  });

  test('R21 the scope of CTX_TLBIALL is a choice: VMID and ASID, or the bank', () => {
    for (const contextInvalidateScope of ['vmid-and-asid', 'bank'] as const) {
      const rig = banks({ config: { contextInvalidateScope } });
      loadAndUnmap(rig);
      rig.set(1, regs.CTX_TLBIALL, 0);
      expect(survivors(rig)).toEqual([0, 2]);
    }
  });

  test('R22 TLBIASID drops the non-global entries of that ASID and no others', () => {
    const rig = banks();
    rig.first(0x00200000, 0x41000000 | GLOBAL_SECTION, TABLE + 0x4000);
    rig.load(1, 0x00200000);
    loadAndUnmap(rig);
    rig.set(0, regs.TLBIASID, 1);
    expect(survivors(rig)).toEqual([0, 2]);
    expect(rig.smmu.probeTlb(1, iova(0x00200000))?.asid).toBeUndefined();
    rig.set(0, regs.TLBIASID, 0);
    expect(survivors(rig)).toEqual([2]);
    expect(rig.smmu.probeTlb(1, iova(0x00200000))).toBeDefined();
  });

  test.each([
    ['4 KiB', 0x1000, 0xc36],
    ['64 KiB', 0x10000, 0xc35],
    ['1 MiB', 0x100000, 0x30c06],
    ['16 MiB', 0x1000000, 0x70c06],
  ])('R23 TLBIVA drops the entry of %s that covers the address, for its ASID only', (_name, size, bits) => {
    const rig = new Rig();
    rig.attach(0, { asid: 9 });
    const va = 0x03000000;
    const target = 0x42000000 - (0x42000000 % size);
    if (size < 0x100000) rig.second(va, target | bits);
    else rig.first(va, target | bits);
    rig.probe(0, va);
    const inside = va + size - 0x1000;
    rig.set(0, regs.TLBIVA, inside | 8);
    rig.set(0, regs.TLBIVA, (va + size) | 9);
    expect(rig.smmu.tlbEntries()).toHaveLength(1);
    rig.set(0, regs.TLBIVA, inside | 9);
    expect(rig.smmu.tlbEntries()).toHaveLength(0);
  });

  test('R23 TLBIVA drops a global entry whatever the ASID, TLBIVAA an entry of every ASID', () => {
    const rig = banks({ leaf: GLOBAL_SECTION });
    rig.load(0, 0x00100000);
    rig.set(1, regs.TLBIVA, 0x00100077);
    expect(survivors(rig)).toEqual([]);
    const other = banks();
    loadAndUnmap(other);
    other.set(0, regs.TLBIVAA, 0x00155000);
    expect(survivors(other)).toEqual([]);
  });

  test('invalidations by address and ASID stay within the bank’s VMID; TLBIVMID drops one VMID', () => {
    const rig = banks({ vmids: [0, 1, 2] });
    loadAndUnmap(rig);
    rig.set(0, regs.TLBIVAA, 0x00100000);
    rig.set(0, regs.TLBIASID, 1);
    rig.set(0, regs.TLBIVA, 0x00100002);
    expect(survivors(rig)).toEqual([1, 2]);
    rig.put(regs.TLBIVMID.offset, 2);
    expect(survivors(rig)).toEqual([1]);
  });

  test('R27 banks with equal VMID and ASID share entries; a global entry ignores the ASID', () => {
    const rig = banks();
    rig.set(1, regs.CONTEXTIDR, 0);
    rig.load(0, 0x00100000);
    expect(rig.load(1, 0x00100000)).toBe(0xa0);
    expect(rig.load(2, 0x00100000)).toBe(0xa2);
    const shared = banks({ leaf: GLOBAL_SECTION });
    shared.load(0, 0x00100000);
    expect(shared.load(2, 0x00100000)).toBe(0xa0);
  });

  test('R28 entries of different VMID are never shared, global or not', () => {
    const rig = banks({ vmids: [0, 1, 2], leaf: GLOBAL_SECTION });
    expect([0, 1, 2].map((mid) => rig.load(mid, 0x00100000))).toEqual([0xa0, 0xa1, 0xa2]);
    expect(rig.smmu.tlbEntries()).toHaveLength(3);
  });

  test('R58 two banks with one table agree, and an unmap with a flush shows on both', () => {
    const rig = new Rig();
    for (const bank of [0, 1]) {
      rig.attach(bank);
      rig.route(bank, bank);
    }
    rig.first(0x00100000, 0x41000000 | SECTION);
    expect(rig.probe(0, 0x00123000)).toBe(rig.probe(1, 0x00123000));
    rig.first(0x00100000, 0);
    for (const bank of [0, 1]) rig.set(bank, regs.CTX_TLBIALL, 0);
    expect([rig.load(0, 0x00100000), rig.load(1, 0x00100000)]).toEqual([undefined, undefined]);
  });

  test('R59 TLBRSW and TLBTR0 to TLBTR2 show an entry', () => {
    const rig = new Rig();
    rig.attach(0, { asid: 9, cbacr: 5 << 16 });
    rig.second(0x00123000, 0x40456000 | 0xe36);
    rig.probe(0, 0x00123000);
    const [entry] = rig.smmu.tlbEntries();
    rig.put(regs.TLBRSW.offset, entry?.index ?? -1);
    expect(rig.at(regs.TLBTR0.offset) & 0x1f).toBe(0b00101);
    expect(rig.at(regs.TLBTR1.offset)).toBe(0x40456005);
    expect(rig.at(regs.TLBTR2.offset)).toBe(0x00123109);
    rig.put(regs.TLBRSW.offset, ((entry?.index ?? 0) + 1) % 64);
    expect(rig.at(regs.TLBTR2.offset) & 0x100).toBe(0);
  });

  test('entries are replaced when a set is full, one a miss', () => {
    for (const tlbReplacement of ['round-robin', 'random'] as const) {
      const rig = new Rig({ tlbEntries: 16, tlbWays: 4, tlbReplacement });
      rig.attach(0);
      for (let page = 0; page < 64; page++)
        rig.second(0x00100000 + page * 0x1000, 0x40100c36 + page * 0x1000);
      for (let page = 0; page < 64; page++) {
        expect(rig.probe(0, 0x00100000 + page * 0x1000) >>> 12).toBe(0x40100 + page);
      }
      expect(rig.smmu.tlbEntries()).toHaveLength(16);
      expect(rig.smmu.statistics).toMatchObject({ walks: 64, misses: 64, hits: 0 });
    }
  });

  test('R27 two banks compete for the same 64 entries, and each is answered by its own table only', () => {
    const rig = new Rig();
    const page = (index: number): number => 0x00100000 + index * 0x1000;
    for (const bank of [0, 1]) {
      const table = TABLE + bank * 0x4000;
      rig.attach(bank, { ttbr0: table });
      for (let index = 0; index < 256; index++) {
        const target = 0x40100000 + bank * 0x100000 + index * 0x1000;
        rig.second(page(index), target | 0xc36, SECOND + bank * 0x400, table);
      }
    }
    const answers = (bank: number, index: number): number => (rig.probe(bank, page(index)) >>> 12) - 0x40100;
    // 32 pages each fill it; nobody has lost one.
    for (let index = 0; index < 32; index++)
      for (const bank of [0, 1]) expect(answers(bank, index)).toBe(bank * 256 + index);
    expect(rig.smmu.tlbEntries()).toHaveLength(64);
    for (let index = 0; index < 32; index++) for (const bank of [0, 1]) answers(bank, index);
    expect(rig.smmu.statistics).toMatchObject({ misses: 64, hits: 64 });
    // 64 further pages of the one bank leave nothing of the other.
    for (let index = 64; index < 128; index++) expect(answers(0, index)).toBe(index);
    expect(new Set(rig.smmu.tlbEntries().map((entry) => entry.asid))).toEqual(new Set([0]));
    for (let index = 0; index < 32; index++) expect(answers(1, index)).toBe(256 + index);
  });

  test('after reset() a TLB replaces in the same order as a new one', () => {
    const left = (rig: Rig): number[] => {
      rig.attach(0);
      for (let page = 0; page < 6; page++) {
        rig.second(0x00100000 + page * 0x1000, (0x40100c36 + page * 0x1000) >>> 0);
        rig.probe(0, 0x00100000 + page * 0x1000);
      }
      return rig.smmu.tlbEntries().map((entry) => entry.iova);
    };
    const rig = new Rig({ tlbEntries: 4, tlbWays: 4 });
    const fresh = left(rig);
    rig.smmu.reset();
    expect(left(rig)).toEqual(fresh);
  });

  test('what observers look at changes nothing', () => {
    const rig = banks();
    loadAndUnmap(rig);
    const before = { ...rig.smmu.statistics };
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
    expect(rig.smmu.probeTlb(31, iova(0x00500000))).toBeUndefined();
    expect(rig.smmu.statistics).toEqual(before);
  });

  test('an access is invalidated for and answered from the table again after every kind of change', () => {
    const rig = new Rig();
    rig.attach(0);
    rig.route(0, 0);
    rig.second(0x00100000, 0x41000000 | 0xe36, SECOND);
    expect(rig.store(0, 0x00100000, 1).state).toBe('faulted');
    // The rights too stand in the TLB: widening them without invalidation does not help.
    rig.second(0x00100000, 0x41000000 | 0xc36, SECOND);
    expect(rig.store(0, 0x00100000, 1).state).toBe('faulted');
    rig.set(0, regs.TLBIVA, 0x00100000);
    expect(rig.store(0, 0x00100000, 1).state).toBe('done');
  });
});
