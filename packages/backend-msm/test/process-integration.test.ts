/** A device in a process, with nothing faked: the process of kernel-mm, the core, this driver and the hardware. */
import { describe, expect, test } from '@jest/globals';
import type { ProcessBond } from '@iommu-lab/iommu-core';
import { Process, type ProcessOptions } from '@iommu-lab/kernel-mm';
import { DEFAULT_ATTRIBUTES, physAddr, type Transfer, type VirtAddr, virtAddr } from '@iommu-lab/machine';
import { RAM_BASE, System } from './fixture.ts';

const PAGE = 0x1000;
const KERNEL = { virtual: virtAddr(0xc0000000), physical: physAddr(RAM_BASE), sizeBytes: 0x100000 };

interface Bound {
  readonly system: System;
  readonly process: Process;
  readonly bond: ProcessBond;
}

function start(system: System, name: string, options: ProcessOptions = {}): Process {
  return new Process(system.world, name, system.frames, system.cache.cached, system.tables, options);
}

function bound(contextBanks: number): Bound {
  const system = new System({ contextBanks });
  const process = start(system, 'app', { kernelMap: KERNEL });
  return { system, process, bond: system.iommu.bindProcess(system.devices.src, process) };
}

function issue(system: System, at: number, bytes: Uint8Array, isWrite: boolean, more = {}): Transfer {
  const master = system.master(system.rot, 0, { ...DEFAULT_ATTRIBUTES, ...more });
  return isWrite ? master.write(at, bytes) : master.read(at, bytes);
}

function run(system: System, at: number, bytes: Uint8Array, isWrite: boolean, more = {}): string {
  const transfer = issue(system, at, bytes, isWrite, more);
  system.world.clock.run();
  return transfer.state;
}

function seenBy(process: Process, at: VirtAddr, size: number): number[] {
  const bytes = new Uint8Array(size);
  process.read(at, bytes);
  return [...bytes];
}

describe.each([2, 3])('with %i banks, a device in a process', (contextBanks) => {
  test('goes on where pages had to be brought in, and both see what the other wrote', () => {
    const { system, process, bond } = bound(contextBanks);
    const at = process.mmap(4 * PAGE, { lazy: true });
    process.write(virtAddr(at + PAGE), Uint8Array.of(7, 8, 9));
    const bytes = new Uint8Array(2 * PAGE);
    expect(issue(system, at + PAGE, bytes, false).state).toBe('pending');
    system.world.clock.run();
    expect([...bytes.subarray(0, 3)]).toEqual([7, 8, 9]);
    expect(run(system, at + 3 * PAGE - 2, Uint8Array.of(1, 2, 3, 4), true)).toBe('done');
    expect(seenBy(process, virtAddr(at + 3 * PAGE - 2), 4)).toEqual([1, 2, 3, 4]);
    expect(bond).toMatchObject({ pagedIn: 2, refused: 0 });
  });

  test('is refused a write to read-only pages, an instruction fetch, and what is no area', () => {
    const { system, process, bond } = bound(contextBanks);
    const at = process.mmap(PAGE, { lazy: true, readOnly: true });
    expect(run(system, at, new Uint8Array(4), false)).toBe('done');
    expect(run(system, at, new Uint8Array(4), true)).toBe('faulted');
    expect(run(system, at, new Uint8Array(4), false, { isInstruction: true })).toBe('faulted');
    expect(run(system, at + PAGE, new Uint8Array(4), false)).toBe('faulted');
    expect(bond).toMatchObject({ pagedIn: 1, refused: 3 });
  });

  test('reaches nothing of what was unmapped, and nothing of the frame’s next owner', () => {
    const { system, process } = bound(contextBanks);
    const at = process.mmap(PAGE);
    expect(run(system, at, Uint8Array.of(1), true)).toBe('done');
    process.munmap(at, PAGE);
    const next = start(system, 'next');
    const theirs = next.mmap(64 * PAGE);
    expect(run(system, at, Uint8Array.of(0xbd), true)).toBe('faulted');
    expect(new Set(seenBy(next, theirs, 64 * PAGE))).toEqual(new Set([0]));
  });

  test('does not notice that its pages were evicted', () => {
    const { system, process, bond } = bound(contextBanks);
    const at = process.mmap(2 * PAGE, { lazy: true });
    expect(run(system, at, Uint8Array.of(5, 6), true)).toBe('done');
    expect(process.evict(at, 2 * PAGE)).toBe(PAGE);
    const bytes = new Uint8Array(2);
    expect(run(system, at, bytes, false)).toBe('done');
    expect([...bytes]).toEqual([5, 6]);
    expect(bond.pagedIn).toBe(2);
  });

  test('never reaches the half of the kernel, though the process’s tables map it for the privileged', () => {
    const { system, process } = bound(contextBanks);
    expect(process.lookup(KERNEL.virtual)).toBe(KERNEL.physical);
    for (const isPrivileged of [false, true]) {
      for (const isWrite of [false, true]) {
        expect(run(system, KERNEL.virtual, new Uint8Array(4), isWrite, { isPrivileged })).toBe('faulted');
      }
    }
    expect(system.iommu.faults.map(({ cause }) => cause)).toEqual(Array(4).fill('translation'));
  });

  test('ends with it: what waits is terminated, everything is given back, and the next process has its own', () => {
    const system = new System({ contextBanks });
    const free = system.frames.freeBytes;
    const process = start(system, 'app');
    const bond = system.iommu.bindProcess(system.devices.src, process);
    const at = process.mmap(2 * PAGE, { lazy: true });
    const waiting = [0, PAGE].map((offset) => issue(system, at + offset, Uint8Array.of(0xbd), true));
    expect(waiting.map(({ state }) => state)).toEqual(['pending', 'pending']);
    process.exit();
    bond.unbind();
    expect(system.frames.freeBytes).toBe(free);
    expect(system.clocksOn).toBe(0);
    const next = start(system, 'next');
    expect(next.mmap(2 * PAGE)).toBe(at);
    system.iommu.bindProcess(system.devices.src, next);
    system.world.clock.run();
    expect(waiting.map(({ state }) => state)).toEqual(['faulted', 'faulted']);
    expect(seenBy(next, at, 2 * PAGE).every((byte) => byte === 0)).toBe(true);
    expect(run(system, at, Uint8Array.of(3), true)).toBe('done');
    expect(seenBy(next, at, 1)).toEqual([3]);
  });

  test('is one of one: a second process finds no room (ENOSPC), and nothing has changed', () => {
    const { system, process, bond } = bound(contextBanks);
    const at = process.mmap(PAGE);
    const other = start(system, 'other');
    const { src } = system.devices;
    expect(() => system.iommu.bindProcess(src, other)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    expect(run(system, at, Uint8Array.of(1), true)).toBe('done');
    bond.unbind();
    system.iommu.bindProcess(src, other);
    expect(run(system, at, Uint8Array.of(1), true)).toBe('faulted');
  });
});
