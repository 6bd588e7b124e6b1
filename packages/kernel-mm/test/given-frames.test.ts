/** Frames that are somebody else's in a process's address space: a driver's buffer, mapped for the user. */
import { describe, expect, test } from '@jest/globals';
import { offsetBy, physAddr, type LabEvent, type PhysAddr } from '@iommu-lab/machine';
import type { MmapFramesOptions, PhysicalPiece, Process } from '../src/index.ts';
import { BASE, bytes, codeOf, contentsOf, PAGE, setup, type Setup } from './setup.ts';
import { SharingDevice } from './sharing-device.ts';

interface Buffer extends Setup {
  readonly process: Process;
  /** Two frames, and one elsewhere. */
  readonly pieces: readonly [PhysicalPiece, PhysicalPiece];
}

/** A machine whose driver has a buffer of three frames. */
function buffer(options: { readonly hasUncached?: boolean; readonly frames?: number } = {}): Buffer {
  const machine = setup(options.frames);
  const { allocator, cache } = machine;
  const run = allocator.allocateContiguous(2 * PAGE, PAGE);
  const single = allocator.allocate();
  const process = machine.start('p', options.hasUncached === false ? {} : { uncached: cache.uncached });
  return {
    ...machine,
    process,
    pieces: [
      { address: run, length: 2 * PAGE },
      { address: single, length: PAGE },
    ],
  };
}

function memoryAt({ memory }: Setup, address: number, size: number): Uint8Array {
  const into = new Uint8Array(size);
  memory.read(physAddr(address), into);
  return into;
}

describe('mmapFrames', () => {
  test('maps the pieces one behind the other at the next free addresses', () => {
    const { process, pieces, memory } = buffer();
    const before = process.mmap(PAGE);
    const at = process.mmapFrames(pieces);
    expect(at).toBe(before + PAGE);
    expect([0, 1, 2].map((page) => process.lookup(at + page * PAGE + 5))).toEqual([
      pieces[0].address + 5,
      pieces[0].address + PAGE + 5,
      pieces[1].address + 5,
    ]);
    expect(process.mmap(PAGE)).toBe(at + 3 * PAGE);
    memory.write(pieces[1].address, bytes(8));
    expect(contentsOf(process, offsetBy(at, 2 * PAGE), 8)).toEqual(bytes(8));
  });

  test('what the process writes is in the frames, through the cache unless it is mapped uncached', () => {
    for (const uncached of [false, true]) {
      const made = buffer();
      const { process, pieces, cache, memory } = made;
      const at = process.mmapFrames(pieces, { uncached });
      process.write(offsetBy(at, 2 * PAGE - 4), bytes(8));
      const inMemory = [
        ...memoryAt(made, pieces[0].address + 2 * PAGE - 4, 4),
        ...memoryAt(made, pieces[1].address, 4),
      ];
      expect(inMemory).toEqual(uncached ? [...bytes(8)] : Array.from({ length: 8 }, () => 0));
      if (!uncached) cache.clean(pieces[1].address, 4);
      expect(memoryAt(made, pieces[1].address, 4)).toEqual(bytes(8).subarray(4));
      // A device writes to memory; the cached process has the line still.
      memory.write(pieces[1].address, bytes(4, 9));
      expect(contentsOf(process, offsetBy(at, 2 * PAGE), 4)).toEqual(
        uncached ? bytes(4, 9) : bytes(8).subarray(4),
      );
    }
  });

  test('the table says what memory it is, and what the process may do', () => {
    const { process, pieces } = buffer();
    const word = (options: MmapFramesOptions): number =>
      process.walk(process.mmapFrames(pieces, options)).at(-1)?.descriptor ?? 0;
    // Arm ARM B3.5.1, small page: TEX[0] C B (bits 6, 3, 2) is the class, AP[2] (bit 9) read-only, XN (bit 0).
    const decode = (descriptor: number): unknown => [
      ((descriptor >>> 4) & 4) | ((descriptor >>> 2) & 3),
      (descriptor >>> 9) & 1,
      descriptor & 1,
    ];
    expect(decode(word({}))).toEqual([7, 0, 1]);
    expect(decode(word({ uncached: true }))).toEqual([4, 0, 1]);
    expect(decode(word({ readOnly: true, uncached: true }))).toEqual([4, 1, 1]);
    // PRRR: class 4 is normal memory. NMRR: it is cacheable nowhere.
    const { PRRR = 0, NMRR = 0 } = process.attributes;
    expect([(PRRR >>> 8) & 3, (NMRR >>> 8) & 3, (NMRR >>> 24) & 3]).toEqual([2, 0, 0]);
  });

  test('read-only: a write is EFAULT, of the process and of a device in its address space', () => {
    const { process, pieces } = buffer();
    const at = process.mmapFrames(pieces, { readOnly: true });
    expect(codeOf(() => process.write(at, bytes(1)))).toBe('EFAULT');
    expect(['read', 'write', 'execute'].map((d) => process.handleFault(at, d as 'read'))).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('a device in the address space reaches them until they are unmapped', () => {
    const { process, pieces, cache } = buffer();
    const at = process.mmapFrames(pieces);
    const device = new SharingDevice(process, cache, () => undefined);
    expect(device.access(at, bytes(4), 'write')).toBe(true);
    expect(contentsOf(process, at, 4)).toEqual(bytes(4));
    process.munmap(at, 3 * PAGE);
    expect(device.access(at, bytes(4), 'write')).toBe(false);
  });

  test('reports what was mapped', () => {
    const { world, process, pieces } = buffer();
    const events: LabEvent[] = [];
    world.events.subscribe((event) => events.push(event));
    process.mmapFrames(pieces, { readOnly: true, uncached: true });
    process.mmapFrames(pieces);
    expect(events.map(({ name, fields }) => [name, fields])).toEqual([
      [
        'mm:mmap',
        {
          process: 'p',
          address: '0x10000000',
          sizeBytes: 3 * PAGE,
          given: true,
          readOnly: true,
          uncached: true,
        },
      ],
      ['mm:mmap', { process: 'p', address: '0x10003000', sizeBytes: 3 * PAGE, given: true }],
    ]);
  });

  test.each<readonly [string, (pieces: Buffer['pieces']) => readonly PhysicalPiece[]]>([
    ['nothing', () => []],
    ['part of a frame', ([{ address }]) => [{ address, length: PAGE / 2 }]],
    ['a frame and a half', ([{ address }]) => [{ address, length: 1.5 * PAGE }]],
    ['no bytes', ([a, b]) => [a, { ...b, length: 0 }]],
    ['fewer than no bytes', ([a, b]) => [a, { ...b, length: -PAGE }]],
    ['what starts inside a frame', ([{ address }]) => [{ address: offsetBy(address, 8), length: PAGE }]],
    ['what lies below 0', () => [{ address: -PAGE as PhysAddr, length: PAGE }]],
    ['what ends beyond 32 bits', () => [{ address: physAddr(0xffff_f000), length: 2 * PAGE }]],
    ['what is no number', ([{ address }]) => [{ address, length: Number.NaN }]],
  ])('of %s is EINVAL', (_what, wrong) => {
    const { process, pieces } = buffer();
    expect(codeOf(() => process.mmapFrames(wrong(pieces)))).toBe('EINVAL');
    expect(process.mmapFrames(pieces)).toBe(0x1000_0000);
  });

  test('uncached without a way past the cache, or after exit, is EINVAL', () => {
    const { process, pieces } = buffer({ hasUncached: false });
    expect(codeOf(() => process.mmapFrames(pieces, { uncached: true }))).toBe('EINVAL');
    expect(process.mmapFrames(pieces)).toBe(0x1000_0000);
    process.exit();
    expect(codeOf(() => process.mmapFrames(pieces))).toBe('EINVAL');
  });

  test('more than there are addresses is ENOMEM', () => {
    const { process } = buffer();
    const piece = { address: physAddr(0x1000_0000), length: 0x7000_1000 };
    expect(codeOf(() => process.mmapFrames([piece]))).toBe('ENOMEM');
  });

  test('an access to frames without memory behind them is EFAULT', () => {
    const { process } = buffer();
    for (const uncached of [false, true]) {
      const at = process.mmapFrames([{ address: physAddr(BASE - PAGE), length: PAGE }], { uncached });
      expect(codeOf(() => process.read(at, new Uint8Array(1)))).toBe('EFAULT');
      expect(codeOf(() => process.write(at, new Uint8Array(1)))).toBe('EFAULT');
    }
  });

  test('every step that fails leaves tables, addresses and frames as they were', () => {
    const sites: string[] = [];
    for (let n = 1; ; n++) {
      const { world, allocator, tables, process, pieces } = buffer({ frames: 1024 });
      // Two pieces over a border of second-level tables.
      process.mmap(255 * PAGE, { lazy: true });
      const before = [allocator.freeBytes, tables.allocatedBytes];
      const events: string[] = [];
      world.events.subscribe(({ name }) => events.push(name));
      world.failpoints.failNth(n);
      const code = codeOf(() => process.mmapFrames([pieces[1], pieces[0]]));
      world.failpoints.reset();
      if (code === 'none') break;
      sites.push(`${String(code)}`);
      expect([allocator.freeBytes, tables.allocatedBytes]).toEqual(before);
      expect([events, process.mapsFrames(pieces)]).toEqual([[], false]);
      expect(process.lookup(0x1000_0000 + 255 * PAGE)).toBeUndefined();
      expect(process.mmapFrames(pieces)).toBe(0x1000_0000 + 255 * PAGE);
      process.exit();
      expect(allocator.totalBytes - allocator.freeBytes).toBe(3 * PAGE);
    }
    // The memory of two second-level tables, and its own.
    expect(sites.length).toBeGreaterThanOrEqual(3);
    expect(new Set(sites)).toEqual(new Set(['ENOMEM']));
    const { world, process, pieces } = buffer();
    world.failpoints.failNth(1, 'kernel-mm.mmap-frames');
    expect(codeOf(() => process.mmapFrames(pieces))).toBe('ENOMEM');
  });
});

describe('given frames', () => {
  test('are neither pinned nor evicted, nor is what is partly of them', () => {
    const { process, pieces } = buffer();
    const own = process.mmap(PAGE, { lazy: true });
    const at = process.mmapFrames(pieces);
    expect(codeOf(() => process.pin(at, 1))).toBe('EFAULT');
    expect(codeOf(() => process.pin(own, 2 * PAGE))).toBe('EFAULT');
    expect(codeOf(() => process.evict(at, PAGE))).toBe('EINVAL');
    expect(codeOf(() => process.evict(own, 2 * PAGE))).toBe('EINVAL');
    expect([process.pinnedBytes, process.lookup(own)]).toEqual([0, undefined]);
    process.pin(own, PAGE);
    expect(process.pinnedBytes).toBe(PAGE);
  });

  test('stay allocated when they are unmapped, while own pages in the same range go', () => {
    const { process, pieces, allocator } = buffer();
    const first = process.mmap(PAGE);
    process.mmapFrames(pieces);
    process.mmap(2 * PAGE);
    const heard: unknown[] = [];
    process.onUnmap((start, size) => heard.push([start - first, size]));
    const free = allocator.freeBytes;
    process.munmap(first, 2 * PAGE);
    expect(allocator.freeBytes - free).toBe(PAGE);
    process.munmap(offsetBy(first, 2 * PAGE), 3 * PAGE);
    expect(allocator.freeBytes - free).toBe(2 * PAGE);
    expect(heard).toEqual([
      [0, 2 * PAGE],
      [2 * PAGE, 3 * PAGE],
    ]);
    for (const { address, length } of pieces) allocator.free(address, length);
  });

  test('stay allocated when the process ends', () => {
    const { process, pieces, allocator } = buffer();
    process.mmap(PAGE);
    process.mmapFrames(pieces);
    process.exit();
    expect(allocator.totalBytes - allocator.freeBytes).toBe(3 * PAGE);
    for (const { address, length } of pieces) allocator.free(address, length);
    expect(allocator.freeBytes).toBe(allocator.totalBytes);
  });

  test('are known to be mapped, byte for byte, until the last mapping of them has gone', () => {
    const { process, pieces } = buffer();
    const [run, single] = pieces;
    const second: PhysicalPiece = { address: offsetBy(run.address, PAGE), length: PAGE };
    const within: PhysicalPiece = { address: offsetBy(second.address, 100), length: 8 };
    expect(process.mapsFrames(pieces)).toBe(false);
    const at = process.mmapFrames(pieces);
    for (const offset of [-PAGE, 2 * PAGE]) {
      expect(process.mapsFrames([{ address: offsetBy(run.address, offset), length: PAGE }])).toBe(false);
    }
    const again = process.mmapFrames([second]);
    const asks = (): unknown =>
      [[run], [second], [within], [single], pieces, []].map((p) => process.mapsFrames(p));
    expect(asks()).toEqual([true, true, true, true, true, false]);
    process.munmap(offsetBy(at, PAGE), 2 * PAGE);
    expect(asks()).toEqual([true, true, true, false, true, false]);
    process.munmap(again, PAGE);
    expect(asks()).toEqual([true, false, false, false, true, false]);
    let atExit: unknown;
    process.onExit(() => (atExit = process.mapsFrames(pieces)));
    process.exit();
    expect([atExit, process.mapsFrames(pieces)]).toEqual([true, false]);
  });

  test('own pages are no given frames', () => {
    const { process } = buffer();
    const at = process.mmap(PAGE);
    expect(process.mapsFrames([{ address: process.lookup(at)!, length: PAGE }])).toBe(false);
  });

  test('may be of two processes at a time', () => {
    const { process, pieces, start } = buffer();
    const other = start('other');
    const [at, there] = [process.mmapFrames(pieces), other.mmapFrames(pieces)];
    process.write(at, bytes(PAGE));
    expect(contentsOf(other, there)).toEqual(bytes(PAGE));
    process.exit();
    expect(contentsOf(other, there)).toEqual(bytes(PAGE));
    expect([process, other].map((p) => p.mapsFrames(pieces))).toEqual([false, true]);
  });
});
