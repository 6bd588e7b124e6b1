import { describe, expect, test } from '@jest/globals';
import { BUS_ERROR, PhysicalMemory, SLAVE_ERROR, physAddr, type PhysAddr } from '../src/index.ts';

const GIB = 2 ** 30;
const at = physAddr;

describe('banks and holes', () => {
  const memory = new PhysicalMemory([
    { base: 0x8000, sizeBytes: 0x1000 },
    { base: 0x2000, sizeBytes: 0x2000 },
    { base: 0x4000, sizeBytes: 0x1000 },
  ]);

  test('banks are listed in ascending order', () => {
    expect(memory.banks.map((bank) => bank.base)).toEqual([0x2000, 0x4000, 0x8000]);
  });

  test('fresh memory reads zero and keeps what is stored, little-endian', () => {
    expect(memory.read32(at(0x2000))).toBe(0);
    expect(memory.write32(at(0x2ffc), 0xfedc_ba98)).toBe(true);
    expect(memory.read32(at(0x2ffc))).toBe(0xfedc_ba98);
    const bytes = new Uint8Array(4);
    memory.read(at(0x2ffc), bytes);
    expect([...bytes]).toEqual([0x98, 0xba, 0xdc, 0xfe]);
  });

  test.each([0, 0x1ffc, 0x5000, 0x7ffc, 0x9000, 2 ** 40])(
    'the hole at %d answers with a bus error',
    (address) => {
      expect(memory.read32(at(address))).toBe(BUS_ERROR);
      expect(memory.write32(at(address), 1)).toBe(false);
      expect(memory.read(at(address), new Uint8Array(4))).toBe(false);
      expect(memory.write(at(address), new Uint8Array(4))).toBe(false);
    },
  );

  test('what is no number is nowhere, before anything was found and after', () => {
    const nowhere = NaN as PhysAddr;
    const fresh = new PhysicalMemory([{ base: 0x2000, sizeBytes: 0x2000 }]);
    for (const _ of ['before', 'after']) {
      expect(fresh.contains(NaN, 4)).toBe(false);
      expect(fresh.read32(nowhere)).toBe(BUS_ERROR);
      expect(fresh.write32(nowhere, 1)).toBe(false);
      expect(fresh.read(nowhere, new Uint8Array(4))).toBe(false);
      expect(fresh.write(nowhere, Uint8Array.of(1))).toBe(false);
      expect(fresh.read32(at(0x2000))).toBe(0);
    }
  });

  test('both error answers of read32 are no words, and can be told apart', () => {
    expect([BUS_ERROR, SLAVE_ERROR]).toEqual([-1, -2]);
  });

  test('a word need not be aligned: it is the four bytes from its address on', () => {
    memory.write(at(0x2100), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect([1, 2, 3].map((offset) => memory.read32(at(0x2100 + offset)))).toEqual([
      0x0504_0302, 0x0605_0403, 0x0706_0504,
    ]);
    expect(memory.write32(at(0x2103), 0)).toBe(true);
    expect(memory.read32(at(0x2104))).toBe(0x0800_0000);
  });

  test.each([0x1ffd, 0x3ffe, 0x4ffd, 0x7fff])(
    'a word that sticks out of its bank at %d fails, into a hole or into the bank beside it',
    (address) => {
      expect(memory.write32(at(address), 0xffff_ffff)).toBe(false);
      expect(memory.read32(at(address))).toBe(BUS_ERROR);
      const around = [0x2000, 0x3ffc, 0x4000, 0x4ffc, 0x8000].map((word) => memory.read32(at(word)));
      expect(around).toEqual([0, 0, 0, 0, 0]);
    },
  );

  test('an access that leaves its bank fails and stores nothing', () => {
    expect(memory.write(at(0x8ffe), new Uint8Array([1, 2, 3]))).toBe(false);
    expect(memory.read32(at(0x8ffc))).toBe(0);
    expect(memory.contains(0x8ffc, 4)).toBe(true);
    expect(memory.contains(0x8ffc, 5)).toBe(false);
  });

  test.each([
    ['empty', [{ base: 0, sizeBytes: 0 }]],
    ['an unaligned base', [{ base: 4, sizeBytes: 4096 }]],
    ['an unaligned size', [{ base: 0, sizeBytes: 4097 }]],
    [
      'overlapping',
      [
        { base: 0, sizeBytes: 0x2000 },
        { base: 0x1000, sizeBytes: 0x1000 },
      ],
    ],
  ])('a bank that is %s is refused', (_, banks) => {
    expect(() => new PhysicalMemory(banks)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('a 6 GiB bank', () => {
  const base = 0x4000_0000;
  const memory = new PhysicalMemory([{ base, sizeBytes: 6 * GIB }]);

  test('costs only what is written, and reads zero elsewhere', () => {
    expect(memory.read32(at(base + 6 * GIB - 4))).toBe(0);
    memory.write32(at(base + 6 * GIB - 4), 0xffff_ffff);
    expect(memory.read32(at(base + 6 * GIB - 4))).toBe(0xffff_ffff);
    expect(memory.read32(at(base + 6 * GIB))).toBe(BUS_ERROR);
  });

  test('a word across chunks and the words around it come back', () => {
    const edge = base + 64 * 1024;
    memory.write32(at(edge - 2), 0x1234_5678);
    expect([-4, -2, 0].map((offset) => memory.read32(at(edge + offset)))).toEqual([
      0x5678_0000, 0x1234_5678, 0x0000_1234,
    ]);
  });

  test('bytes across chunks come back, with zeros around them', () => {
    const written = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
    const start = base + 5 * GIB - 1234;
    memory.write(at(start), written);
    const into = new Uint8Array(written.length + 20).fill(0xee);
    expect(memory.read(at(start - 10), into)).toBe(true);
    expect(into.subarray(10, -10)).toEqual(written);
    expect([...into.subarray(0, 10), ...into.subarray(-10)]).toEqual(Array.from({ length: 20 }, () => 0));
  });
});
