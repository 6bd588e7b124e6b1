import { describe, expect, test } from '@jest/globals';
import { offsetBy, physAddr, virtAddr, type LabEvent } from '@iommu-lab/machine';
import { bytes, codeOf, contentsOf, PAGE, setup } from './setup.ts';

/** A process with a lazy area of four pages. */
function lazy(options = {}) {
  const machine = setup();
  const process = machine.start('p');
  const at = process.mmap(4 * PAGE, { lazy: true, ...options });
  const faults: unknown[] = [];
  machine.world.events.subscribe(({ name, fields }: LabEvent) => {
    if (name === 'mm:fault')
      faults.push([fields['by'], fields['access'], fields['address'], fields['outcome']]);
  });
  return { ...machine, process, at, faults };
}

describe('a lazy area', () => {
  test('takes no frame until it is touched, and then one a page, zeroed', () => {
    const { allocator, process, at, faults } = lazy();
    // First and second level: a run of four frames, and one.
    expect(allocator.totalBytes - allocator.freeBytes).toBe(4 * PAGE);
    expect(process.lookup(at)).toBeUndefined();
    expect(contentsOf(process, offsetBy(at, PAGE - 4), 8)).toEqual(new Uint8Array(8));
    expect(allocator.totalBytes - allocator.freeBytes).toBe(7 * PAGE);
    process.write(offsetBy(at, PAGE), bytes(4));
    process.write(offsetBy(at, 3 * PAGE), bytes(4));
    expect(faults).toEqual([
      ['cpu', 'read', '0x10000000', 'zeroed'],
      ['cpu', 'read', '0x10001000', 'zeroed'],
      ['cpu', 'write', '0x10003000', 'zeroed'],
    ]);
    expect(process.lookup(at + 2 * PAGE)).toBeUndefined();
  });

  test('a frame that held something before is zero to whoever walks the table while it comes in', () => {
    const { world, allocator, cache, start } = setup(32, {}, { sets: 4, ways: 1 });
    const other = start('other');
    other.write(other.mmap(12 * PAGE), new Uint8Array(12 * PAGE).fill(0xff));
    other.exit();
    const process = start('p');
    const at = process.mmap(8 * PAGE, { lazy: true });
    let looks = 0;
    world.interposer.observe(() => {
      for (let page = at; page < at + 8 * PAGE; page = offsetBy(page, PAGE)) {
        const target = process.lookup(page + 100);
        if (target === undefined) continue;
        looks++;
        expect(cache.snooped.read32(physAddr(target))).toBe(0);
      }
    });
    for (let i = 0; i < 8; i++) expect(process.handleFault(at + i * PAGE, 'read')).toBe(true);
    expect(looks).toBeGreaterThan(0);
    expect(allocator.freeBytes).toBeGreaterThan(0);
  });

  test('munmap of pages that were never touched frees nothing and tells nobody; of some, it tells their span', () => {
    const { allocator, process, at } = lazy();
    const heard: unknown[] = [];
    process.onUnmap((start, size) => heard.push([start - at, size]));
    const free = allocator.freeBytes;
    process.munmap(at, PAGE);
    expect([allocator.freeBytes, heard]).toEqual([free, []]);
    expect(codeOf(() => process.munmap(at, 2 * PAGE))).toBe('EINVAL');
    process.write(offsetBy(at, PAGE), bytes(1));
    process.write(offsetBy(at, 3 * PAGE), bytes(1));
    process.munmap(offsetBy(at, PAGE), 3 * PAGE);
    expect(heard).toEqual([[PAGE, 3 * PAGE]]);
    expect(codeOf(() => contentsOf(process, offsetBy(at, 2 * PAGE)))).toBe('EFAULT');
  });

  test('pin brings its pages in, and they are pinned', () => {
    const { process, at, faults } = lazy();
    const pieces = process.pin(offsetBy(at, 8), PAGE);
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(PAGE);
    expect(pieces[0]?.address).toBe(process.lookup(at + 8));
    expect(process.pinnedBytes).toBe(2 * PAGE);
    expect(faults).toEqual([
      ['pin', 'read', '0x10000000', 'zeroed'],
      ['pin', 'read', '0x10001000', 'zeroed'],
    ]);
  });

  test('an access that leaves the area is EFAULT and brings nothing in', () => {
    const { allocator, process, at } = lazy();
    const free = allocator.freeBytes;
    const last = offsetBy(at, 4 * PAGE - 1);
    expect(codeOf(() => process.write(last, bytes(2)))).toBe('EFAULT');
    expect(codeOf(() => contentsOf(process, last, 2))).toBe('EFAULT');
    expect(codeOf(() => process.pin(last, 2))).toBe('EFAULT');
    expect(codeOf(() => contentsOf(process, offsetBy(at, 0.5), 2))).toBe('EFAULT');
    expect(allocator.freeBytes).toBe(free);
  });
});

describe('a read-only area', () => {
  test.each([{ lazy: true }, {}])('is read and pinned, not written (%j)', (how) => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE, { readOnly: true, ...how });
    expect(contentsOf(process, at)).toEqual(new Uint8Array(PAGE));
    expect(codeOf(() => process.write(at, bytes(1)))).toBe('EFAULT');
    expect(process.handleFault(at, 'write')).toBe(false);
    expect(process.handleFault(at, 'read')).toBe(true);
    expect(process.walk(at).at(-1)?.meaning).toContain('read-only');
    expect(process.pin(at, 1)).toHaveLength(1);
  });

  test('a write that runs from a writable area into it writes nothing', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(PAGE);
    process.mmap(PAGE, { readOnly: true });
    expect(codeOf(() => process.write(offsetBy(at, PAGE - 1), bytes(2)))).toBe('EFAULT');
    expect(contentsOf(process, offsetBy(at, PAGE - 1), 1)[0]).toBe(0);
  });
});

describe('handleFault', () => {
  test('true: the page is there, for the very address and the right asked for', () => {
    const { process, at, faults } = lazy();
    expect(process.handleFault(at + PAGE + 5, 'write')).toBe(true);
    expect(process.lookup(at + PAGE + 5)).toBeDefined();
    expect(process.lookup(at)).toBeUndefined();
    expect(process.handleFault(at + PAGE, 'read')).toBe(true);
    expect(faults).toEqual([
      ['device', 'write', '0x10001000', 'zeroed'],
      ['device', 'read', '0x10001000', 'present'],
    ]);
  });

  test('false: no area, no right, no address, no memory, exited', () => {
    const { world, process, at, faults } = lazy({ readOnly: true });
    for (const address of [0, at - 1, at + 4 * PAGE, 0x8000_0000, 2 ** 32, -1, 0.5, at + 0.5, Number.NaN]) {
      expect([address, process.handleFault(address, 'read')]).toEqual([address, false]);
    }
    expect(process.handleFault(at, 'write')).toBe(false);
    world.failpoints.failNth(1, 'kernel-mm.fault-in');
    expect(process.handleFault(at, 'read')).toBe(false);
    process.exit();
    expect(process.handleFault(at, 'read')).toBe(false);
    expect(faults.map((fault) => (fault as unknown[])[3])).toEqual([
      ...Array.from({ length: 9 }, () => 'no area'),
      'read-only',
      'no memory',
    ]);
  });

  test('false for an instruction fetch, of a page that is there or not: user memory is no-execute', () => {
    const { process, at, faults } = lazy();
    expect(process.handleFault(at, 'execute')).toBe(false);
    expect(process.lookup(at)).toBeUndefined();
    expect(process.handleFault(at, 'read')).toBe(true);
    expect(process.handleFault(at, 'execute')).toBe(false);
    expect(faults.map((fault) => (fault as unknown[])[3])).toEqual(['no-execute', 'zeroed', 'no-execute']);
  });

  test('false when frames have run out, and true once there is one again', () => {
    const { allocator, process, at } = lazy();
    const taken = Array.from({ length: allocator.freeBytes / PAGE }, () => allocator.allocate());
    expect(process.handleFault(at, 'read')).toBe(false);
    for (const frame of taken) allocator.free(frame);
    expect(process.handleFault(at, 'read')).toBe(true);
  });
});

describe('evict', () => {
  test('frees the frames and keeps the contents, which come back at the next touch', () => {
    const { allocator, process, at, faults } = lazy();
    process.write(at, bytes(2 * PAGE));
    const free = allocator.freeBytes;
    expect(process.evict(at, 4 * PAGE)).toBe(2 * PAGE);
    // The frames, and the second-level table they stood in.
    expect(allocator.freeBytes).toBe(free + 3 * PAGE);
    expect(process.lookup(at)).toBeUndefined();
    expect(process.evict(at, 4 * PAGE)).toBe(0);
    expect(process.handleFault(at, 'read')).toBe(true);
    expect(contentsOf(process, at, 2 * PAGE)).toEqual(bytes(2 * PAGE));
    expect(faults.slice(2)).toEqual([
      ['device', 'read', '0x10000000', 'restored'],
      ['cpu', 'read', '0x10001000', 'restored'],
    ]);
  });

  test('what a device writes until it was told to forget the page is kept', () => {
    const { allocator, cache, process, at } = lazy();
    process.write(at, bytes(8));
    const target = process.lookup(at)!;
    const heard: unknown[] = [];
    process.onUnmap((start, size) => {
      heard.push([start, size, process.lookup(at), allocator.freeBytes]);
      cache.snooped.write(target, bytes(4, 99));
    });
    const free = allocator.freeBytes;
    process.evict(at, PAGE);
    expect(heard).toEqual([[at, PAGE, undefined, free]]);
    expect(contentsOf(process, at, 8)).toEqual(Uint8Array.of(...bytes(4, 99), ...bytes(8).slice(4)));
  });

  test('a fault while the page is on its way out gets the same frame back', () => {
    const { allocator, tables, process, at } = lazy();
    process.write(at, bytes(2 * PAGE));
    const target = process.lookup(at);
    const leave = process.onUnmap(() => {
      expect(process.handleFault(at, 'write')).toBe(true);
      expect(process.lookup(at)).toBe(target);
      process.pin(at, 1);
    });
    expect(process.evict(at, 2 * PAGE)).toBe(PAGE);
    leave();
    expect(process.lookup(at)).toBe(target);
    expect(codeOf(() => process.evict(at, PAGE))).toBe('EBUSY');
    expect(contentsOf(process, at, 2 * PAGE)).toEqual(bytes(2 * PAGE));
    process.unpin(at, 1);
    process.exit();
    expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([allocator.totalBytes, 0]);
  });

  test('EBUSY for a pinned page, EINVAL outside lazy areas; neither changes anything', () => {
    const { process, at } = lazy();
    const eager = process.mmap(PAGE);
    process.write(at, bytes(2 * PAGE));
    const target = process.lookup(at);
    process.pin(offsetBy(at, PAGE), 1);
    expect(codeOf(() => process.evict(at, 2 * PAGE))).toBe('EBUSY');
    expect(codeOf(() => process.evict(eager, PAGE))).toBe('EINVAL');
    expect(codeOf(() => process.evict(offsetBy(at, 3 * PAGE), 2 * PAGE))).toBe('EINVAL');
    expect(codeOf(() => process.evict(offsetBy(at, 8), 8))).toBe('EINVAL');
    expect(codeOf(() => process.evict(virtAddr(0), PAGE))).toBe('EINVAL');
    expect(process.lookup(at)).toBe(target);
  });

  test('what was evicted is gone with its address', () => {
    const { allocator, process, at } = lazy();
    process.write(at, bytes(PAGE));
    process.evict(at, PAGE);
    process.munmap(at, PAGE);
    expect(codeOf(() => contentsOf(process, at))).toBe('EFAULT');
    process.exit();
    expect(allocator.freeBytes).toBe(allocator.totalBytes);
  });
});
