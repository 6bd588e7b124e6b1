/** A process as a device sees it that shares its address space: tables, split, and the end. */
import { describe, expect, test } from '@jest/globals';
import { offsetBy, physAddr, virtAddr, type PhysAddr } from '@iommu-lab/machine';
import { LINUX_V7S } from '@iommu-lab/page-table';
import type { KernelMap } from '../src/index.ts';
import { BASE, bytes, codeOf, PAGE, setup } from './setup.ts';

const MIB = 0x10_0000;
const KERNEL: KernelMap = { virtual: virtAddr(0x8000_0000), physical: physAddr(BASE), sizeBytes: 3 * MIB };

/** What a device needs of a process, in this test's words: the layer above states it as a port of its own. */
interface Space {
  readonly name: string;
  readonly tableFormat: string;
  readonly tableRoot: PhysAddr;
  readonly attributes: Readonly<Record<string, number>>;
  readonly userEnd: number;
  readonly hasExited: boolean;
  lookup(address: number): PhysAddr | undefined;
  walk(address: number): readonly { level: string; address: number; descriptor: number; meaning: string }[];
  handleFault(address: number, direction: 'read' | 'write' | 'execute'): boolean;
  onUnmap(listener: (start: number, sizeBytes: number) => void): () => void;
  onExit(listener: () => void): () => void;
}

describe('the address space', () => {
  test('has the shape a device needs, and says how its tables are to be read', () => {
    const { memory, start } = setup();
    const process = start('p');
    const space: Space = process;
    const at = process.mmap(PAGE);
    expect(space).toMatchObject({
      name: 'p',
      tableFormat: 'armv7-short',
      userEnd: 0x8000_0000,
      hasExited: false,
    });
    expect(space.attributes).toEqual({ PRRR: LINUX_V7S.prrr, NMRR: LINUX_V7S.nmrr, AFE: LINUX_V7S.afe });
    // By hand, from memory, as a walker that does not snoop: first level at root, second level, small page.
    expect(space.tableRoot % 0x4000).toBe(0);
    const first = memory.read32(offsetBy(space.tableRoot, (at >>> 20) * 4));
    const second = memory.read32(physAddr((first & ~0x3ff) + ((at >>> 12) & 0xff) * 4));
    expect(((second & ~0xfff) >>> 0) + 20).toBe(space.lookup(at + 20));
    expect(space.walk(at).map((step) => step.descriptor)).toEqual([first >>> 0, second >>> 0]);
  });

  test('mmap ends where the kernel begins', () => {
    const { start } = setup();
    const process = start('p');
    const at = process.mmap(0x7000_0000, { lazy: true });
    expect(process.handleFault(0x7fff_ffff, 'write')).toBe(true);
    expect(codeOf(() => process.mmap(1, { lazy: true }))).toBe('ENOMEM');
    process.munmap(at, 0x7000_0000);
  });

  test('the kernel half is privileged, read-write, no-execute, and no part of what the process may touch', () => {
    const { start, memory, allocator } = setup(1024);
    const process = start('p', { kernelMap: KERNEL });
    for (let mib = 0; mib < 3; mib++) {
      const at = KERNEL.virtual + mib * MIB;
      expect(process.lookup(at + 5)).toBe(BASE + mib * MIB + 5);
      // Arm ARM B3.5.1: section, XN, AP[2:0] = 001 with the access flag, so AP[2:1] = 00: privileged only.
      const word = memory.read32(offsetBy(process.tableRoot, (at >>> 20) * 4));
      expect([word & 3, (word >>> 4) & 1, ((word >>> 13) & 4) | ((word >>> 10) & 3)]).toEqual([2, 1, 1]);
      expect((word >>> 20) * MIB).toBe(BASE + mib * MIB);
      expect(process.walk(at)[0]?.meaning).toContain('privileged');
    }
    expect(process.lookup(KERNEL.virtual + 3 * MIB)).toBeUndefined();
    expect(codeOf(() => process.read(KERNEL.virtual, new Uint8Array(4)))).toBe('EFAULT');
    expect(codeOf(() => process.write(KERNEL.virtual, new Uint8Array(4)))).toBe('EFAULT');
    expect(codeOf(() => process.pin(KERNEL.virtual, 4))).toBe('EFAULT');
    expect(codeOf(() => process.munmap(KERNEL.virtual, PAGE))).toBe('EINVAL');
    expect(process.handleFault(KERNEL.virtual, 'read')).toBe(false);
    const heard: unknown[] = [];
    process.onUnmap((from) => heard.push(from));
    process.exit();
    expect([heard, allocator.freeBytes]).toEqual([[], allocator.totalBytes]);
  });

  test.each([
    { virtual: virtAddr(0x7ff0_0000) },
    { virtual: virtAddr(0x8000_1000) },
    { physical: physAddr(BASE + PAGE) },
    { sizeBytes: 0 },
    { sizeBytes: -MIB },
    { sizeBytes: MIB + PAGE },
    { virtual: virtAddr(0xfff0_0000) },
    { physical: physAddr(0xfff0_0000) },
  ])('a kernel map with %j is EINVAL, and no table is left', (wrong) => {
    const { start, allocator } = setup();
    expect(codeOf(() => start('p', { kernelMap: { ...KERNEL, ...wrong } }))).toBe('EINVAL');
    expect(allocator.freeBytes).toBe(allocator.totalBytes);
  });

  test('a kernel map may end where 32 bits do', () => {
    const process = setup().start('p', { kernelMap: { ...KERNEL, virtual: virtAddr(0xffd0_0000) } });
    expect(process.lookup(0xffff_ffff)).toBe(BASE + 3 * MIB - 1);
  });
});

describe('onExit', () => {
  test('is called once, while tables and pages are still there, before anything is unmapped', () => {
    const { start, memory } = setup();
    const process = start('p');
    const at = process.mmap(2 * PAGE);
    process.write(at, bytes(4));
    const heard: unknown[] = [];
    const leaveUnmap = process.onUnmap((first, size) => heard.push(['unmap', first - at, size]));
    process.onExit(() => {
      const into = new Uint8Array(4);
      process.read(at, into);
      heard.push(['exit', process.hasExited, process.lookup(at) !== undefined, [...into]]);
      heard.push(memory.read32(offsetBy(process.tableRoot, (at >>> 20) * 4)) !== 0);
      expect(process.handleFault(at, 'read')).toBe(false);
      expect(codeOf(() => process.mmap(PAGE))).toBe('EINVAL');
      process.exit();
    });
    process.exit();
    process.exit();
    leaveUnmap();
    expect(heard).toEqual([['exit', false, true, [...bytes(4)]], true, ['unmap', 0, 2 * PAGE]]);
    expect(process.hasExited).toBe(true);
    expect([process.lookup(at), process.walk(at)]).toEqual([undefined, []]);
  });

  test('a listener that left hears nothing; one that came twice is called twice', () => {
    const process = setup().start('p');
    const heard: string[] = [];
    const twice = () => heard.push('twice');
    process.onExit(() => heard.push('never'))();
    process.onExit(twice);
    const leave = process.onExit(twice);
    process.onExit(twice);
    leave();
    process.exit();
    expect(heard).toEqual(['twice', 'twice']);
  });

  test('a pin given back while the process ends frees its frame once', () => {
    for (const when of ['onExit', 'onUnmap'] as const) {
      const { allocator, start } = setup();
      const process = start('p');
      const at = process.mmap(PAGE);
      process.pin(at, 1);
      const leave = process[when](() => {
        process.unpin(at, 1);
        leave();
      });
      process.exit();
      expect(allocator.freeBytes).toBe(allocator.totalBytes);
    }
  });
});
