import { describe, expect, test } from '@jest/globals';
import { World, type PhysAddr } from '@iommu-lab/machine';
import { ShortDescriptorTable, type LeafAttributes } from '../src/index.ts';
import { FakeTableMemory } from './fake-table-memory.ts';

const KIB4 = 0x1000;
const KIB64 = 0x10000;
const MIB = 0x100000;
const MIB16 = 0x1000000;
const RW: LeafAttributes = {
  read: true,
  write: true,
  privileged: false,
  noExec: false,
  memory: 'normal-uncached',
};

function setup() {
  const world = new World();
  const memory = new FakeTableMemory();
  const table = new ShortDescriptorTable(world, memory);
  const freed: number[] = [];
  const free = (at: PhysAddr, bytes: number) => {
    freed.push(at);
    memory.free(at, bytes);
  };
  return { world, memory, table, freed, free };
}

function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
  return 'none';
}

describe('mapPages', () => {
  test.each([
    ['a size that is no leaf size', 0, 0, 0x2000, 1, 'EINVAL'],
    ['no pages', 0, 0, KIB4, 0, 'EINVAL'],
    ['half a page', 0, 0, KIB4, 0.5, 'EINVAL'],
    ['a misaligned IOVA', KIB4, 0, KIB64, 1, 'EINVAL'],
    ['a misaligned physical address', 0, KIB4, KIB64, 1, 'EINVAL'],
    ['a negative IOVA', -KIB4, 0, KIB4, 1, 'EINVAL'],
    ['an IOVA range beyond 32 bits', 2 ** 32 - KIB4, 0, KIB4, 2, 'ERANGE'],
    ['a physical range beyond 32 bits', 0, 2 ** 32, KIB4, 1, 'ERANGE'],
  ])('refuses %s', (_, iova, address, pageSize, count, code) => {
    const { memory, table } = setup();
    const before = memory.allocatedBytes;
    expect(codeOf(() => table.mapPages(iova, address, pageSize, count, RW))).toBe(code);
    expect([memory.walkerWords().size, memory.allocatedBytes]).toEqual([0, before]);
  });

  test('refuses a mapping without a right', () => {
    expect(codeOf(() => setup().table.mapPages(0, 0, KIB4, 1, { ...RW, read: false, write: false }))).toBe(
      'EINVAL',
    );
  });

  test('reaches the last page of the space', () => {
    const { table } = setup();
    table.mapPages(2 ** 32 - KIB4, 2 ** 32 - KIB4, KIB4, 1, RW);
    table.mapPages(0xf000_0000, 0xf000_0000, MIB, 1, RW);
    expect(table.lookup(2 ** 32 - 1)?.address).toBe(2 ** 32 - 1);
    expect(table.lookup(2 ** 32)).toBeUndefined();
  });

  test.each([
    ['small under small', KIB4, 5 * KIB4, KIB4],
    ['section over a table', MIB, 0, MIB],
    ['supersection over a section', MIB16, 0, MIB],
    ['small under a section', KIB4, 0, MIB],
    ['large over the last of its small pages', KIB64, 0, KIB4],
  ])('%s: EEXIST, and all or nothing', (_, pageSize, iova, existing) => {
    const { memory, table } = setup();
    const at = pageSize === KIB64 ? 15 * KIB4 : iova === 0 ? (pageSize === MIB16 ? 15 * MIB : 0) : iova;
    table.mapPages(at, 0x4000_0000, existing, 1, RW);
    const before = memory.walkerWords();
    const bytes = memory.allocatedBytes;
    const count = pageSize === KIB4 && iova > 0 ? 600 : 1;
    const start = count > 1 ? iova - 3 * KIB4 : iova;
    expect(codeOf(() => table.mapPages(start, 0, pageSize, count, RW))).toBe('EEXIST');
    expect(memory.walkerWords()).toEqual(before);
    expect(memory.allocatedBytes).toBe(bytes);
  });

  test('a run is cleaned once for each table and once for the pointers, not once for each descriptor', () => {
    const { memory, table } = setup();
    table.mapPages(0x1000, 0, KIB4, 600, RW);
    // 600 descriptors in three tables: 255 + 256 + 89; and three pointers side by side.
    expect(memory.cleans.map((clean) => clean.sizeBytes)).toEqual([255 * 4, 1024, 89 * 4, 12]);
    memory.cleans.length = 0;
    table.mapPages(MIB16, 0, MIB16, 4, RW);
    expect(memory.cleans).toEqual([{ start: table.root + 64, sizeBytes: 256 }]);
    memory.cleans.length = 0;
    table.unmapPages(0x1000, KIB4, 600, () => undefined);
    expect(memory.cleans.map((clean) => clean.sizeBytes)).toEqual([255 * 4, 1024, 89 * 4, 12]);
  });

  test('a new second-level table is filled and cleaned before it is linked', () => {
    const { memory, table } = setup();
    table.mapPages(0, 0x4000_0000, KIB4, 256, RW);
    expect(memory.cleans.at(-1)).toEqual({ start: table.root, sizeBytes: 4 });
  });
});

describe('unmapPages', () => {
  test('an emptied second-level table is unlinked, cleaned, and then handed over; not before', () => {
    const { memory, table } = setup();
    table.mapPages(0, 0, KIB4, 2, RW);
    expect(table.tableBytes).toBe(16384 + 1024);
    const handed: number[] = [];
    const note = (at: PhysAddr, bytes: number) => {
      expect(memory.walkerRead(table.root)).toBe(0);
      handed.push(at, bytes);
    };
    expect(table.unmapPages(0, KIB4, 1, note)).toBe(KIB4);
    expect(handed).toEqual([]);
    expect(table.unmapPages(KIB4, KIB4, 1, note)).toBe(KIB4);
    expect(handed.slice(1)).toEqual([1024]);
    expect([table.tableBytes, memory.allocatedBytes]).toEqual([16384, 16384 + 1024]);
  });

  test('stops at the first hole', () => {
    const { table, free } = setup();
    table.mapPages(0, 0, KIB4, 3, RW);
    table.mapPages(4 * KIB4, 0, KIB4, 3, RW);
    expect(table.unmapPages(0, KIB4, 7, free)).toBe(3 * KIB4);
    expect(table.lookup(4 * KIB4)).toBeDefined();
    expect(table.unmapPages(0, KIB4, 7, free)).toBe(0);
    expect(table.unmapPages(MIB, KIB4, 1, free)).toBe(0);
  });

  test('a hole at the end of one MiB does not hide behind the next', () => {
    const { table, free } = setup();
    table.mapPages(0, 0, KIB4, 1, RW);
    table.mapPages(MIB, 0, MIB, 1, RW);
    expect(table.unmapPages(0, KIB4, 512, free)).toBe(KIB4);
    expect(table.lookup(MIB)).toBeDefined();
  });

  test.each([
    [KIB64, 0x20000],
    [MIB, 5 * MIB],
    [MIB16, MIB16],
  ])('a leaf of %d bytes goes whole, from any page in it', (size, iova) => {
    const { memory, table, free } = setup();
    table.mapPages(iova, 0, size, 1, RW);
    expect(table.unmapPages(iova + size - KIB4, KIB4, 1, free)).toBe(size);
    expect(table.lookup(iova)).toBeUndefined();
    expect(memory.walkerWords().size).toBe(0);
  });

  test('one call takes leaves of all sizes that follow each other', () => {
    const { memory, table, freed, free } = setup();
    table.mapPages(MIB16 - MIB - KIB64, 0, KIB4, 16, RW);
    table.mapPages(MIB16 - MIB, 0, MIB, 1, RW);
    table.mapPages(MIB16, 0, MIB16, 1, RW);
    table.mapPages(2 * MIB16, 0, KIB64, 1, RW);
    const total = KIB64 + MIB + MIB16 + KIB64;
    expect(table.unmapPages(MIB16 - MIB - KIB64, KIB4, total / KIB4, free)).toBe(total);
    expect([memory.walkerWords().size, memory.allocatedBytes, freed.length]).toEqual([0, 16384, 2]);
  });

  test('refuses what is no range of pages', () => {
    const { table, free } = setup();
    expect(codeOf(() => table.unmapPages(0, 0x3000, 1, free))).toBe('EINVAL');
    expect(codeOf(() => table.unmapPages(KIB4, KIB64, 1, free))).toBe('EINVAL');
    expect(codeOf(() => table.unmapPages(0, MIB16, 257, free))).toBe('ERANGE');
  });
});

describe('every allocation that fails leaves mappings and table bytes as they were', () => {
  test.each([
    ['small pages over four tables', KIB4, 900],
    ['large pages over four tables', KIB64, 60],
    ['sections', MIB, 3],
  ])('%s', (_, pageSize, count) => {
    let failures = 0;
    let code: unknown;
    for (let n = 1; code !== 'none'; n++) {
      const { world, memory, table } = setup();
      table.mapPages(3 * MIB, 0x5000_0000, KIB4, 1, RW);
      const before = memory.walkerWords();
      const bytes = [memory.allocatedBytes, table.tableBytes];
      world.failpoints.failNth(n);
      code = codeOf(() =>
        table.mapPages(pageSize === MIB ? 8 * MIB : 3 * MIB + KIB64, 0, pageSize, count, RW),
      );
      if (code === 'none') break;
      failures++;
      expect(code).toBe('ENOMEM');
      expect(memory.walkerWords()).toEqual(before);
      expect([memory.allocatedBytes, table.tableBytes]).toEqual(bytes);
    }
    expect(failures).toBe(pageSize === MIB ? 0 : 3);
  });

  test('the root, too', () => {
    const world = new World();
    const memory = new FakeTableMemory();
    world.failpoints.failNth(1);
    expect(codeOf(() => new ShortDescriptorTable(world, memory))).toBe('ENOMEM');
    expect(memory.allocatedBytes).toBe(0);
  });

  test('tables above 4 GiB are refused and given back', () => {
    const memory = new FakeTableMemory(2 ** 32);
    expect(codeOf(() => new ShortDescriptorTable(new World(), memory))).toBe('ERANGE');
    expect(memory.allocatedBytes).toBe(0);
  });
});

test('leaves that go are reported in rows of one size', () => {
  const { table, free } = setup();
  table.mapPages(0, 0, KIB4, 1, RW);
  table.unmapPages(0, KIB4, 1, free);
  table.mapPages(MIB - KIB64 - KIB4, 0, KIB4, 1, RW);
  table.mapPages(MIB - KIB64, 0, KIB64, 1, RW);
  table.mapPages(MIB, 0, MIB, 1, RW);
  const leaves: number[][] = [];
  table.unmapPages(MIB - KIB64 - KIB4, KIB4, 18, free, (iova, size) => leaves.push([iova, size]));
  expect(leaves).toEqual([
    [MIB - KIB64 - KIB4, KIB4],
    [MIB - KIB64, KIB64],
    [MIB, MIB],
  ]);
});

describe('walk', () => {
  test('a leaf whose access flag is clear gives no access (R41)', () => {
    const { memory, table } = setup();
    table.mapPages(0, 0, MIB, 1, RW);
    memory.write32(table.root, memory.read32(table.root) & ~0x400);
    expect(table.walk(0)[0]?.meaning).toBe('section at 0x00000000, no access, normal-uncached');
  });

  test('tells each descriptor and what it says', () => {
    const { table } = setup();
    table.mapPages(0x40_0000, 0x4021_2000, KIB4, 1, { ...RW, write: false, privileged: true, noExec: true });
    const second = table.walk(0x40_0123)[1];
    expect(table.walk(0x40_0123)).toHaveLength(2);
    expect(table.walk(0x40_0123)[0]).toMatchObject({ level: 'first level', address: table.root + 16 });
    expect(second).toMatchObject({
      level: 'second level',
      meaning: 'small page at 0x40212000, read-only, privileged, no-execute, normal-uncached',
    });
    expect(table.walk(0x40_1000)[1]?.meaning).toBe('invalid: nothing is mapped here');
    expect(table.walk(0x50_0000).map((step) => step.meaning)).toEqual([
      'invalid: nothing is mapped in this MiB',
    ]);
    expect(table.walk(2 ** 32)).toEqual([]);
  });

  test("with the walker's eyes it sees what was cleaned, and a bus error outside memory", () => {
    const { memory, table } = setup();
    table.mapPages(0, MIB16, MIB16, 1, RW);
    memory.write32(table.root, 0);
    expect(table.walk(0)[0]?.descriptor).toBe(0);
    expect(table.walk(0, memory.walkerRead)[0]?.meaning).toBe(
      'supersection at 0x01000000, read-write, normal-uncached',
    );
    expect(table.walk(0, () => -1)[0]?.meaning).toBe('bus error');
  });
});
