import { describe, expect, test } from '@jest/globals';
import { offsetBy, physAddr, type PhysAddr } from '@iommu-lab/machine';
import { ShortDescriptorTable } from '@iommu-lab/page-table';
import { KernelTableMemory } from '../src/index.ts';
import { codeOf, PAGE, setup } from './setup.ts';

/** Fills all free memory behind the cache's back with rubbish. */
function litter(memory: ReturnType<typeof setup>['memory']): void {
  for (const bank of memory.banks)
    memory.write(physAddr(bank.base), new Uint8Array(bank.sizeBytes).fill(0xa5));
}

describe('KernelTableMemory', () => {
  test('a table is zero for the CPU and for a walker that does not snoop', () => {
    const { memory, tables } = setup();
    litter(memory);
    const table = tables.allocate(0x4000);
    expect(table % 0x4000).toBe(0);
    const into = new Uint8Array(0x4000);
    memory.read(table, into);
    expect(into.every((byte) => byte === 0)).toBe(true);
    expect(tables.read32(table)).toBe(0);
  });

  test('stores reach memory with the clean, not before', () => {
    const { memory, tables } = setup();
    const table = tables.allocate(1024);
    tables.write32(table, 0x1234_5678);
    expect([tables.read32(table), memory.read32(table)]).toEqual([0x1234_5678, 0]);
    tables.clean(table, 4);
    expect(memory.read32(table)).toBe(0x1234_5678);
  });

  test('where the walker snoops, nothing is cleaned', () => {
    const { world, memory, cache, allocator } = setup();
    litter(memory);
    const tables = new KernelTableMemory(world, allocator, cache.cached, cache, { coherent: true });
    const kinds: string[] = [];
    world.interposer.observe((kind) => kinds.push(kind));
    const table = tables.allocate(1024);
    tables.write32(table, 1);
    tables.clean(table, 4);
    expect(kinds).not.toContain('clean');
    expect([memory.read32(table), cache.snooped.read32(table)]).toEqual([0xa5a5_a5a5, 1]);
  });

  test('four 1 KiB tables share a frame, and an empty frame goes back', () => {
    const { allocator, tables } = setup();
    const free = allocator.freeBytes;
    const taken = Array.from({ length: 5 }, () => tables.allocate(1024));
    expect(new Set(taken.map((at) => Math.floor(at / PAGE))).size).toBe(2);
    expect([free - allocator.freeBytes, tables.allocatedBytes]).toEqual([2 * PAGE, 5 * 1024]);
    const [second] = taken.splice(1, 1) as [PhysAddr];
    tables.free(second, 1024);
    expect(tables.allocate(1024)).not.toBe(taken[0]);
    tables.free(offsetBy(taken[3] as PhysAddr, 0), 1024);
    expect(free - allocator.freeBytes).toBeLessThanOrEqual(2 * PAGE);
  });

  test('everything freed, everything back', () => {
    const { allocator, tables } = setup();
    const free = allocator.freeBytes;
    const taken = [256, 1024, 1024, 2048, 0x4000, 1024, 4096].map((size) => ({
      size,
      at: tables.allocate(size),
    }));
    for (const { size, at } of taken) expect(at % size).toBe(0);
    for (const { size, at } of taken) tables.free(at, size);
    expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([free, 0]);
  });

  test('a double free, a wrong size and a size that is none are EINVAL', () => {
    const { tables } = setup();
    const table = tables.allocate(1024);
    tables.allocate(1024);
    expect(codeOf(() => tables.free(table, 2048))).toBe('EINVAL');
    expect(codeOf(() => tables.free(offsetBy(table, 4), 1024))).toBe('EINVAL');
    tables.free(table, 1024);
    expect(codeOf(() => tables.free(table, 1024))).toBe('EINVAL');
    for (const size of [0, 128, 3000]) expect(codeOf(() => tables.allocate(size))).toBe('EINVAL');
  });

  test('what is no table is not freed, nor a part of one (EINVAL), and nothing has changed', () => {
    const { allocator, tables } = setup();
    const frame = allocator.allocate();
    const [large, whole] = [tables.allocate(0x4000), tables.allocate(0x1000)];
    const before = [allocator.freeBytes, tables.allocatedBytes];
    expect(codeOf(() => tables.free(frame, 4096))).toBe('EINVAL');
    expect(codeOf(() => tables.free(large, 0x1000))).toBe('EINVAL');
    expect(codeOf(() => tables.free(offsetBy(large, 0x1000), 0x1000))).toBe('EINVAL');
    expect(codeOf(() => tables.free(whole, 1024))).toBe('EINVAL');
    expect([allocator.freeBytes, tables.allocatedBytes]).toEqual(before);
    tables.free(large, 0x4000);
    tables.free(whole, 0x1000);
    expect(tables.allocatedBytes).toBe(0);
  });

  test('an allocation that fails takes no frame', () => {
    const { world, allocator, tables } = setup();
    const free = allocator.freeBytes;
    for (let n = 1; n <= 2; n++) {
      world.failpoints.failNth(n);
      expect(codeOf(() => tables.allocate(1024))).toBe('ENOMEM');
      expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([free, 0]);
    }
  });

  test('a page table on it survives a cache that evicts and speculates', () => {
    const { world, memory, tables } = setup(256, {}, { evictOneIn: 5, speculateOneIn: 5, sets: 4, ways: 1 });
    litter(memory);
    const table = new ShortDescriptorTable(world, tables);
    const attributes = {
      read: true,
      write: true,
      privileged: false,
      noExec: false,
      memory: 'device',
    } as const;
    const walker = (address: PhysAddr) => memory.read32(address);
    for (let round = 0; round < 50; round++) {
      const iova = round * 0x3000;
      table.mapPages(iova, 0x8000_0000 + iova, PAGE, 2, attributes);
      expect(table.walk(iova + PAGE, walker)).toEqual(table.walk(iova + PAGE));
      table.unmapPages(iova, PAGE, 1, () => undefined);
      expect(table.walk(iova, walker)).toEqual(table.walk(iova));
    }
  });
});
