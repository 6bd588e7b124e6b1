/** Words worked out by hand from the format, against what the table writes. */
import { describe, expect, test } from '@jest/globals';
import { physAddr, World } from '@iommu-lab/machine';
import {
  LINUX_V7S,
  MSM_2010,
  MSM_2011,
  MSM_VENDOR,
  ShortDescriptorTable,
  type LeafAttributes,
  type ShortDescriptorFormat,
} from '../src/index.ts';
import { decodeLeaf, supersectionHighBits } from '../src/layout/index.ts';
import { FakeTableMemory } from './fake-table-memory.ts';

const RW: LeafAttributes = {
  read: true,
  write: true,
  privileged: false,
  noExec: false,
  memory: 'normal-uncached',
};
const RO = { ...RW, write: false };
const SIZES = [0x1000, 0x10000, 0x100000, 0x1000000] as const;
const IOVA = 0x3000_0000;
const ADDRESS = 0x8700_0000;

/** Words of the leaf at IOVA: 1, 16, 1, 16 of them. */
function leafWords(format: ShortDescriptorFormat, pageSize: number, attributes: LeafAttributes): number[] {
  const memory = new FakeTableMemory();
  const table = new ShortDescriptorTable(new World(), memory, format);
  table.mapPages(IOVA, ADDRESS, pageSize, 1, attributes);
  const first = table.root + (IOVA / 0x100000) * 4;
  const start = pageSize < 0x100000 ? memory.walkerRead(physAddr(first)) - 1 : first;
  const words: number[] = [];
  for (let at = start; memory.walkerRead(physAddr(at)) > 0; at += 4)
    words.push(memory.walkerRead(physAddr(at)));
  return words;
}

type Row = readonly [
  string,
  ShortDescriptorFormat,
  Partial<LeafAttributes>,
  readonly [number, number, number, number],
];

const ROWS: readonly Row[] = [
  ['v7s read-write', LINUX_V7S, {}, [0xc72, 0x1c31, 0x31c02, 0x71c02]],
  ['v7s read-only', LINUX_V7S, { write: false }, [0xe72, 0x1e31, 0x39c02, 0x79c02]],
  ['v7s write-only reads too', LINUX_V7S, { read: false }, [0xc72, 0x1c31, 0x31c02, 0x71c02]],
  ['v7s cacheable', LINUX_V7S, { memory: 'normal-cacheable' }, [0xc7e, 0x1c3d, 0x31c0e, 0x71c0e]],
  [
    'v7s cacheable no-execute',
    LINUX_V7S,
    { memory: 'normal-cacheable', noExec: true },
    [0xc7f, 0x9c3d, 0x31c1e, 0x71c1e],
  ],
  ['v7s read-only no-execute', LINUX_V7S, { write: false, noExec: true }, [0xe73, 0x9e31, 0x39c12, 0x79c12]],
  ['v7s device', LINUX_V7S, { memory: 'device' }, [0xc36, 0xc35, 0x30c06, 0x70c06]],
  ['v7s privileged', LINUX_V7S, { privileged: true }, [0xc52, 0x1c11, 0x31402, 0x71402]],
  ['v7s, NS', { ...LINUX_V7S, nonSecure: 1 }, {}, [0xc72, 0x1c31, 0xb1c02, 0xf1c02]],
  ['vendor read-write', MSM_VENDOR, {}, [0xc36, 0xc35, 0x30c06, 0x70c06]],
  ['vendor read-only', MSM_VENDOR, { write: false }, [0xe36, 0xe35, 0x38c06, 0x78c06]],
  ['2010, whatever is asked', MSM_2010, { write: false, noExec: true }, [0x432, 0x431, 0x10c02, 0x50c02]],
  ['2011 uncached', MSM_2011, { write: false }, [0xc36, 0xc35, 0x30c06, 0x70c06]],
  ['2011 cacheable', MSM_2011, { memory: 'normal-cacheable' }, [0xc7e, 0xc7d, 0x31c0e, 0x71c0e]],
];

describe('descriptor words', () => {
  test.each(ROWS)('%s', (_, format, attributes, bits) => {
    SIZES.forEach((pageSize, i) => {
      // NS stands in the table pointer as well (bit 3); leafWords takes off only the type.
      if (format.nonSecure === 1 && pageSize < 0x100000) return;
      const expected = (ADDRESS | (bits[i] as number)) >>> 0;
      const replicas = i % 2 === 0 ? 1 : 16;
      expect(leafWords(format, pageSize, { ...RW, ...attributes })).toEqual(
        Array.from({ length: replicas }, () => expected),
      );
    });
  });

  test('PRRR, NMRR and AFE go with each format', () => {
    expect(
      [LINUX_V7S, MSM_VENDOR, MSM_2011, MSM_2010].map(({ afe, prrr, nmrr }) => [afe, prrr, nmrr]),
    ).toEqual([
      [1, 0x800b8204, 0x40004000],
      [0, 0xff0a81a8, 0x40e040e0],
      [0, 0xff0a81a8, 0x40e040e0],
      [0, 0, 0],
    ]);
  });
});

describe('what hardware makes of it', () => {
  function roundTrip(format: ShortDescriptorFormat, pageSize: number, attributes: LeafAttributes) {
    const table = new ShortDescriptorTable(new World(), new FakeTableMemory(), format);
    table.mapPages(IOVA, ADDRESS, pageSize, 1, attributes);
    return table.lookup(IOVA)?.attributes;
  }

  test('the default tells every combination of rights and memory apart, at every size', () => {
    for (const pageSize of SIZES) {
      for (const write of [true, false]) {
        for (const privileged of [true, false]) {
          for (const noExec of [true, false]) {
            for (const memory of ['normal-cacheable', 'normal-uncached', 'device'] as const) {
              const attributes = { read: true, write, privileged, noExec, memory };
              expect(roundTrip(LINUX_V7S, pageSize, attributes)).toEqual(attributes);
            }
          }
        }
      }
    }
  });

  test('vendor: read-only holds, privileged and no-execute are lost', () => {
    expect(roundTrip(MSM_VENDOR, 0x10000, { ...RO, privileged: true, noExec: true })).toEqual(RO);
    expect(roundTrip(MSM_VENDOR, 0x1000, { ...RW, memory: 'device' })).toEqual({ ...RW, memory: 'device' });
  });

  test('2010: a read-only mapping may be written, and no memory is normal', () => {
    expect(roundTrip(MSM_2010, 0x1000, RO)).toEqual({ ...RW, memory: 'device' });
  });

  test('2011: TEX of a large page lands in a bit that means nothing (R43)', () => {
    const memory = new FakeTableMemory();
    const table = new ShortDescriptorTable(new World(), memory, {
      ...MSM_2011,
      nmrr: 0x40e0_40e0 & ~0x00c0_00c0,
    });
    // Class 7 is meant and class 3 is what is read; with class 3 made uncached the difference shows.
    table.mapPages(0, 0, 0x10000, 1, { ...RW, memory: 'normal-cacheable' });
    table.mapPages(0x10000, 0, 0x1000, 1, { ...RW, memory: 'normal-cacheable' });
    expect(table.lookup(0)?.attributes.memory).toBe('normal-uncached');
    expect(table.lookup(0x10000)?.attributes.memory).toBe('normal-cacheable');
  });
});

describe("the steps of the kernel's io-pgtable-arm-v7s self test", () => {
  const MIB = 0x100000;
  const memory = new FakeTableMemory();
  const table = new ShortDescriptorTable(new World(), memory, { ...LINUX_V7S, nonSecure: 1 });
  const first = { ...RW, noExec: true, memory: 'normal-cacheable' } as const;
  const slots = SIZES.map((pageSize, i) => ({ pageSize, iova: i * 16 * MIB }));
  const word = (at: number) => memory.walkerRead(physAddr(at));
  const words = (at: number, count: number) => Array.from({ length: count }, (_, i) => word(at + 4 * i));

  test('an empty table maps nothing', () => {
    for (const iova of [42, 2 ** 30 + 42, 2 ** 31 + 42]) expect(table.lookup(iova)).toBeUndefined();
  });

  test('each size maps once; a second map is EEXIST and changes nothing', () => {
    for (const { pageSize, iova } of slots) {
      table.mapPages(iova, iova, pageSize, 1, first);
      const before = memory.walkerWords();
      expect(() => table.mapPages(iova, iova + pageSize, pageSize, 1, { ...RO, noExec: true })).toThrow(
        expect.objectContaining({ code: 'EEXIST' }),
      );
      expect(memory.walkerWords()).toEqual(before);
      expect(table.lookup(iova + 42)?.address).toBe(iova + 42);
    }
  });

  test('the words are those worked out by hand', () => {
    const small = word(table.root);
    expect(small % 1024).toBe(9);
    expect(word(small - 9)).toBe(0x0000_0c7f);
    const large = word(table.root + 16 * 4);
    expect(large % 1024).toBe(9);
    expect(words(large - 9, 17)).toEqual([...Array.from({ length: 16 }, () => 0x0100_9c3d), 0]);
    expect(words(table.root + 32 * 4, 2)).toEqual([0x020b_1c1e, 0]);
    expect(words(table.root + 48 * 4, 17)).toEqual([...Array.from({ length: 16 }, () => 0x030f_1c1e), 0]);
  });

  test('each slot unmaps whole and maps again', () => {
    for (const { pageSize, iova } of slots) {
      expect(table.unmapPages(iova, pageSize, 1, (at, bytes) => memory.free(at, bytes))).toBe(pageSize);
      expect(table.lookup(iova + 42)).toBeUndefined();
      table.mapPages(iova, iova, pageSize, 1, { ...RW, read: false });
      expect(table.lookup(iova + 42)?.address).toBe(iova + 42);
    }
  });

  test('destroy frees everything', () => {
    table.destroy();
    table.destroy();
    expect([memory.allocatedBytes, table.tableBytes, table.lookup(0)]).toEqual([0, 0, undefined]);
    expect(() => table.mapPages(0, 0, 0x1000, 1, RW)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('decodeLeaf', () => {
  // io-pgtable-arm-v7s, read-write, cacheable, no-execute.
  const WORDS = [
    ['small', 0x8700_0c7f],
    ['large', 0x8700_9c3d],
    ['section', 0x8701_1c1e | 0x2_0000],
    ['supersection', 0x8707_1c1e],
  ] as const;

  test('finds the bits of every kind where that kind has them', () => {
    for (const [kind, word] of WORDS) {
      expect(decodeLeaf(kind, word >>> 0)).toEqual({
        ap: 3,
        tex: 1,
        c: 1,
        b: 1,
        shareable: 1,
        notGlobal: 1,
        executeNever: 1,
      });
    }
  });

  test('PA[39:32] of a supersection are bits 8:5 and 23:20', () => {
    expect(supersectionHighBits(0x8707_1c1e)).toBe(0);
    expect(supersectionHighBits(0x0050_0142)).toBe(0xa5);
    expect(supersectionHighBits(0x00f0_01e0)).toBe(0xff);
  });
});
