import { expect, test } from '@jest/globals';
import type { VirtAddr } from '@iommu-lab/machine';
import { bytes, codeOf, contentsOf, PAGE, setup } from './setup.ts';

test('every step of mmap, faults, eviction and pinning that fails leaves nothing behind, and no byte is lost', () => {
  const fired = new Map<string, number>();
  let hasFired = true;
  for (let n = 1; hasFired; n++) {
    const { world, allocator, tables, start } = setup();
    const process = start('p');
    world.failpoints.failNth(n);
    const codes: unknown[] = [];
    const areas: VirtAddr[] = [];
    const attempt = (what: string, run: () => unknown) => {
      const code = codeOf(run);
      if (code !== 'none') fired.set(what, (fired.get(what) ?? 0) + 1);
      codes.push(code);
    };
    attempt('lazy', () => areas.push(process.mmap(3 * PAGE, { lazy: true })));
    attempt('eager', () => areas.push(process.mmap(2 * PAGE)));
    const at = areas[0]!;
    const eagerBytes = areas.length === 2 ? 2 * PAGE : 0;
    attempt('write', () => process.write(at, bytes(PAGE + 1)));
    const isWritten = codes.at(-1) === 'none';
    attempt('device', () => {
      if (!process.handleFault(at + 2 * PAGE, 'read')) throw Object.assign(new Error(), { code: 'ENOMEM' });
    });
    attempt('evict', () => process.evict(at, 3 * PAGE));
    attempt('restore', () => {
      if (!process.handleFault(at, 'write')) throw Object.assign(new Error(), { code: 'ENOMEM' });
    });
    attempt('pin', () => process.pin(at, 3 * PAGE));
    const isPinned = codes.at(-1) === 'none';
    hasFired = world.failpoints.hasFired;
    world.failpoints.reset();
    expect(codes.filter((code) => code !== 'none')).toEqual(hasFired ? ['ENOMEM'] : []);
    expect(process.pinnedBytes).toBe(isPinned ? 3 * PAGE : 0);
    expect(contentsOf(process, at, PAGE + 1)).toEqual(isWritten ? bytes(PAGE + 1) : new Uint8Array(PAGE + 1));
    if (isPinned) process.unpin(at, 3 * PAGE);
    process.munmap(at, 3 * PAGE);
    // The first level; with the eager area, its two frames and the frame of the second level.
    expect(allocator.totalBytes - allocator.freeBytes).toBe(
      4 * PAGE + (eagerBytes > 0 ? eagerBytes + PAGE : 0),
    );
    process.exit();
    expect([allocator.freeBytes, tables.allocatedBytes]).toEqual([allocator.totalBytes, 0]);
  }
  // Lazily mapped, nothing can fail. Eagerly: two frames, and three steps to the second-level table. And so on.
  expect(Object.fromEntries(fired)).toEqual({ eager: 5, write: 4, device: 2, evict: 1, restore: 2, pin: 5 });
});
