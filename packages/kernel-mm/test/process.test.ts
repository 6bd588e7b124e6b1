import { describe, expect, test } from '@jest/globals';
import { offsetBy, virtAddr, type LabEvent } from '@iommu-lab/machine';
import { bytes, codeOf, PAGE, setup } from './setup.ts';

describe('mmap, read, write', () => {
  test('memory is zeroed, addresses ascend from 0x10000000, and one process does not see another', () => {
    const { start } = setup();
    const [a, b] = [start('a'), start('b')];
    const [inA, inB] = [a.mmap(2 * PAGE), b.mmap(2 * PAGE)];
    expect([inA, inB, a.mmap(1)]).toEqual([0x1000_0000, 0x1000_0000, 0x1000_2000]);
    a.write(offsetBy(inA, PAGE - 10), bytes(20));
    const into = new Uint8Array(20);
    a.read(offsetBy(inA, PAGE - 10), into);
    expect(into).toEqual(bytes(20));
    b.read(offsetBy(inB, PAGE - 10), into);
    expect(into).toEqual(new Uint8Array(20));
  });

  test('frames that were used before come back zeroed', () => {
    const { start } = setup(32);
    const first = start('first');
    const at = first.mmap(8 * PAGE);
    first.write(at, new Uint8Array(8 * PAGE).fill(0xff));
    first.exit();
    const second = start('second');
    const into = new Uint8Array(8 * PAGE);
    second.read(second.mmap(8 * PAGE), into);
    expect(into.every((byte) => byte === 0)).toBe(true);
  });

  test('writes go through the cache: memory sees them after a clean', () => {
    const { memory, cache, start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE);
    process.write(at, bytes(4));
    const [piece] = process.pin(at, 4);
    expect(memory.read32(piece!.address)).toBe(0);
    cache.clean(piece!.address, 4);
    expect(memory.read32(piece!.address)).toBe(new DataView(bytes(4).buffer).getUint32(0, true));
  });

  test('an access that leaves the mapping is EFAULT, and writes nothing', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE);
    expect(codeOf(() => process.write(offsetBy(at, PAGE - 1), new Uint8Array([1, 2])))).toBe('EFAULT');
    expect(codeOf(() => process.read(virtAddr(0), new Uint8Array(1)))).toBe('EFAULT');
    const into = new Uint8Array(1);
    process.read(offsetBy(at, PAGE - 1), into);
    expect(into[0]).toBe(0);
  });

  test('a size below 1, or after exit, is EINVAL; more than there is, ENOMEM', () => {
    const { start } = setup(64);
    const process = start('p');
    expect(codeOf(() => process.mmap(0))).toBe('EINVAL');
    expect(codeOf(() => process.mmap(0.5))).toBe('EINVAL');
    expect(codeOf(() => process.mmap(2 ** 32))).toBe('ENOMEM');
    expect(codeOf(() => process.mmap(65 * PAGE))).toBe('ENOMEM');
    process.exit();
    expect(codeOf(() => process.mmap(PAGE))).toBe('EINVAL');
  });

  test('every allocation of an mmap that fails leaves frames, tables and addresses as before', () => {
    let code: unknown;
    let failures = 0;
    for (let n = 1; code !== 'none'; n++) {
      const { world, allocator, tables, start } = setup();
      const process = start('p');
      process.mmap(PAGE);
      const before = [allocator.freeBytes, tables.allocatedBytes];
      world.failpoints.failNth(n);
      code = codeOf(() => process.mmap(5 * PAGE));
      if (code !== 'none') failures++;
      world.failpoints.reset();
      const now = [allocator.freeBytes, tables.allocatedBytes];
      const next = process.mmap(PAGE);
      expect([code, now, next]).toEqual(
        code === 'none' ? ['none', now, 0x1000_6000] : ['ENOMEM', before, 0x1000_1000],
      );
    }
    // Five frames; the second-level table is there already.
    expect(failures).toBe(5);
  });

  test('making a process that fails leaves nothing behind', () => {
    for (let n = 1; n <= 3; n++) {
      const { world, allocator, start } = setup();
      world.failpoints.failNth(n);
      expect(codeOf(() => start('p'))).toBe('ENOMEM');
      expect(allocator.freeBytes).toBe(allocator.totalBytes);
    }
  });
});

describe('munmap', () => {
  test('takes part of a mapping; its frames are free, its addresses fault and are not used again', () => {
    const { allocator, start } = setup();
    const process = start('p');
    const at = process.mmap(4 * PAGE);
    const free = allocator.freeBytes;
    process.munmap(offsetBy(at, PAGE), 2 * PAGE);
    expect(allocator.freeBytes - free).toBe(2 * PAGE);
    expect(codeOf(() => process.read(offsetBy(at, PAGE), new Uint8Array(1)))).toBe('EFAULT');
    process.write(offsetBy(at, 3 * PAGE), bytes(PAGE));
    expect(process.mmap(PAGE)).toBe(at + 4 * PAGE);
  });

  test('an unaligned, empty or partly unmapped range is EINVAL and unmaps nothing', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(2 * PAGE);
    expect(codeOf(() => process.munmap(offsetBy(at, 8), PAGE))).toBe('EINVAL');
    expect(codeOf(() => process.munmap(at, 0))).toBe('EINVAL');
    expect(codeOf(() => process.munmap(at, 3 * PAGE))).toBe('EINVAL');
    process.write(at, bytes(2 * PAGE));
  });

  test('listeners hear of it after the translation is gone and before a frame is free', () => {
    const { allocator, start } = setup();
    const process = start('p');
    const at = process.mmap(3 * PAGE);
    const free = allocator.freeBytes;
    const heard: unknown[] = [];
    const leave = process.onUnmap((first, size) => {
      heard.push([first, size, process.lookup(first), allocator.freeBytes - free]);
    });
    process.munmap(offsetBy(at, PAGE), PAGE);
    leave();
    process.munmap(at, PAGE);
    expect(heard).toEqual([[at + PAGE, PAGE, undefined, 0]]);
  });
});

describe('pin', () => {
  test('gives the bytes in order, adjacent pages merged', () => {
    const { start } = setup(64, { scatter: false });
    const process = start('p');
    const at = process.mmap(4 * PAGE);
    const pieces = process.pin(offsetBy(at, 100), 2 * PAGE);
    expect(pieces).toEqual([{ address: process.lookup(at + 100), length: 2 * PAGE }]);
  });

  test('scattered frames stay in pieces of a page', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(6 * PAGE);
    const pieces = process.pin(offsetBy(at, 16), 5 * PAGE);
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(5 * PAGE);
    expect(pieces[0]?.address).toBe(process.lookup(at + 16));
  });

  test('a pinned page is EBUSY to munmap until it was unpinned as often as pinned', () => {
    const { allocator, start } = setup();
    const process = start('p');
    const at = process.mmap(2 * PAGE);
    process.pin(offsetBy(at, PAGE), 1);
    process.pin(at, 2 * PAGE);
    const free = allocator.freeBytes;
    expect(codeOf(() => process.munmap(at, 2 * PAGE))).toBe('EBUSY');
    process.unpin(at, 2 * PAGE);
    expect(codeOf(() => process.munmap(at, 2 * PAGE))).toBe('EBUSY');
    expect(allocator.freeBytes).toBe(free);
    process.munmap(at, PAGE);
    process.unpin(offsetBy(at, PAGE), 1);
    process.munmap(offsetBy(at, PAGE), PAGE);
    expect(process.pinnedBytes).toBe(0);
  });

  test('EFAULT where nothing is mapped, EINVAL on nothing; neither pins a page', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE);
    expect(codeOf(() => process.pin(at, 2 * PAGE))).toBe('EFAULT');
    expect(codeOf(() => process.pin(at, 0))).toBe('EINVAL');
    expect(process.pinnedBytes).toBe(0);
  });

  test('its failpoint pins nothing', () => {
    const { world, start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE);
    world.failpoints.failNth(1, 'kernel-mm.pin');
    expect(codeOf(() => process.pin(at, 1))).toBe('ENOMEM');
    expect(process.pinnedBytes).toBe(0);
  });

  test('unpin of more than was pinned is EINVAL and unpins nothing', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(2 * PAGE);
    process.pin(at, PAGE);
    expect(codeOf(() => process.unpin(at, 2 * PAGE))).toBe('EINVAL');
    expect(process.pinnedBytes).toBe(PAGE);
  });
});

describe('exit', () => {
  test('gives everything back', () => {
    const { allocator, tables, start } = setup();
    const process = start('p');
    const at = process.mmap(5 * PAGE);
    process.mmap(PAGE);
    process.munmap(offsetBy(at, PAGE), 2 * PAGE);
    process.exit();
    process.exit();
    expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([allocator.totalBytes, 0]);
    expect(codeOf(() => process.read(at, new Uint8Array(1)))).toBe('EFAULT');
  });

  test('keeps a pinned frame until it is unpinned, and reports it', () => {
    const { world, allocator, start } = setup();
    const process = start('p');
    const at = process.mmap(3 * PAGE);
    const [piece] = process.pin(offsetBy(at, PAGE), 8);
    const events: LabEvent[] = [];
    world.events.subscribe((event) => events.push(event));
    process.exit();
    expect(events.map((event) => event.name)).toEqual(['mm:pinned_at_exit', 'mm:exit']);
    expect(events[0]?.fields).toEqual({ process: 'p', sizeBytes: PAGE });
    expect(allocator.totalBytes - allocator.freeBytes).toBe(PAGE);
    const others = Array.from({ length: allocator.freeBytes / PAGE }, () => allocator.allocate());
    expect(others).not.toContain(piece!.address - (piece!.address % PAGE));
    process.unpin(offsetBy(at, PAGE), 8);
    expect(allocator.freeBytes).toBe(PAGE);
  });
});
