/** `mmap` of allocated buffers: one memory for the device, the kernel and a process. */
import { describe, expect, test } from '@jest/globals';
import { offsetBy, type VirtAddr } from '@iommu-lab/machine';
import { KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import { codeOf } from '../support/code-of.ts';
import { type DeviceSetup, filled, Machine, PAGE, pattern } from './fixture.ts';

function processOf(machine: Machine, hasUncached = true): Process {
  const { world, frames, cache, memory } = machine;
  const tables = new KernelTableMemory(world, frames, memory, cache);
  return new Process(
    world,
    'p',
    frames,
    cache.cached,
    tables,
    hasUncached ? { uncached: cache.uncached } : {},
  );
}

function userRead(process: Process, address: VirtAddr, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  process.read(address, bytes);
  return bytes;
}

const setups: readonly (DeviceSetup & { readonly name: string })[] = [
  { name: 'direct', behind: 'direct' },
  { name: 'direct, snooping', behind: 'direct', isCoherent: true },
  { name: 'behind an IOMMU' },
  { name: 'behind an IOMMU, snooping', isCoherent: true },
];

describe.each(setups)('coherent memory, $name', (setup) => {
  test('kernel, process and device see the same bytes at once, across frames', () => {
    const machine = new Machine({ restless: true });
    const process = processOf(machine);
    const { dma, read, write } = machine.add('rot', setup);
    const buffer = dma.allocCoherent(3 * PAGE);
    const user = dma.mmap(process, buffer);
    for (let round = 1; round < 30; round++) {
      const at = (round * 397) % (3 * PAGE - 128);
      const seen = new Uint8Array(128);
      buffer.write(at, pattern(128, round));
      expect(userRead(process, offsetBy(user, at), 128)).toEqual(pattern(128, round));
      process.write(offsetBy(user, at), pattern(128, round + 60));
      expect(read(buffer.dmaAddress + at, 128)).toEqual(pattern(128, round + 60));
      expect(write(buffer.dmaAddress + at, pattern(128, round + 120))).toBe(true);
      expect(userRead(process, offsetBy(user, at), 128)).toEqual(pattern(128, round + 120));
      buffer.read(at, seen);
      expect(seen).toEqual(pattern(128, round + 120));
    }
  });
});

test('a part: whole pages from an offset on, the rest unless a size is given', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma } = machine.add('rot');
  const buffer = dma.allocCoherent(3 * PAGE);
  for (const page of [0, 1, 2]) buffer.write(page * PAGE, filled(PAGE, page + 1));
  const rest = dma.mmap(process, buffer, PAGE);
  expect([0, PAGE].map((at) => userRead(process, offsetBy(rest, at), 1)[0])).toEqual([2, 3]);
  expect(codeOf(() => userRead(process, offsetBy(rest, 2 * PAGE), 1))).toBe('EFAULT');
  const one = dma.mmap(process, buffer, PAGE, 1);
  expect(userRead(process, offsetBy(one, PAGE - 1), 1)[0]).toBe(2);
  expect(codeOf(() => userRead(process, offsetBy(one, PAGE), 1))).toBe('EFAULT');
});

test('a part that leaves the buffer is ENXIO and maps nothing', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma } = machine.add('rot');
  const buffer = dma.allocCoherent(2 * PAGE - 50);
  for (const [offset, size] of [
    [2 * PAGE, PAGE],
    [2 * PAGE, undefined],
    [PAGE, PAGE + 1],
    [0, 2 * PAGE + 1],
    [-PAGE, PAGE],
    [64, PAGE],
    [0, 0],
    [0, -1],
  ] as const) {
    expect(codeOf(() => dma.mmap(process, buffer, offset, size))).toBe('ENXIO');
  }
  expect(machine.namesOf('mm:mmap')).toEqual([]);
  dma.mmap(process, buffer, 0, 2 * PAGE); // the last page is all the buffer's
  expect(machine.namesOf('mm:mmap')).toEqual(['mm:mmap']);
});

test('a buffer that is mapped is not freed: EBUSY, and everything goes on working', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma, read } = machine.add('rot');
  const free = machine.frames.freeBytes;
  const buffer = dma.allocCoherent(2 * PAGE);
  const user = dma.mmap(process, buffer);
  const second = dma.mmap(process, buffer, PAGE, PAGE);
  process.write(user, filled(8, 3));
  expect(codeOf(() => dma.freeCoherent(buffer))).toBe('EBUSY');
  expect(read(buffer.dmaAddress, 8)).toEqual(filled(8, 3));
  process.munmap(user, 2 * PAGE);
  expect(codeOf(() => dma.freeCoherent(buffer))).toBe('EBUSY');
  process.munmap(second, PAGE);
  dma.freeCoherent(buffer);
  process.exit();
  expect(machine.frames.freeBytes).toBeGreaterThanOrEqual(free);
  expect(dma.mappedBytes).toBe(0);
});

test('a process that ends lets the buffer go', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma } = machine.add('rot');
  const buffers = [
    dma.allocNoncoherent(PAGE, 'to-device'),
    dma.allocNoncontiguous(PAGE, 'to-device'),
  ] as const;
  for (const buffer of buffers) dma.mmap(process, buffer);
  expect(codeOf(() => dma.freeNoncoherent(buffers[0]))).toBe('EBUSY');
  expect(codeOf(() => dma.freeNoncontiguous(buffers[1]))).toBe('EBUSY');
  process.exit();
  dma.freeNoncoherent(buffers[0]);
  dma.freeNoncontiguous(buffers[1]);
  expect(dma.mappedBytes).toBe(0);
});

test('noncoherent memory is mapped through the cache: the process sees what the CPU sees, the device after a sync', () => {
  const machine = new Machine();
  const process = processOf(machine, false);
  const { dma, read } = machine.add('rot');
  const buffer = dma.allocNoncontiguous(2 * PAGE, 'to-device');
  const user = dma.mmap(process, buffer);
  process.write(offsetBy(user, PAGE - 4), filled(8, 6));
  expect(machine.cpuRead(buffer.table.entries[0]?.address ?? 0, PAGE).subarray(PAGE - 4)).toEqual(
    filled(4, 6),
  );
  dma.syncSgTableForDevice(buffer.table, 'to-device');
  expect(read(buffer.dmaAddress + PAGE - 4, 8)).toEqual(filled(8, 6));
});

test('without kernel mapping the process is the only CPU side there is', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma, write } = machine.add('rot');
  const buffer = dma.allocCoherent(PAGE, { noKernelMapping: true });
  const user = dma.mmap(process, buffer);
  expect(write(buffer.dmaAddress, filled(8, 5))).toBe(true);
  expect(userRead(process, user, 8)).toEqual(filled(8, 5));
});

test('only live buffers of the device are mapped: EINVAL; a failing process leaves the buffer free to go', () => {
  const machine = new Machine();
  const process = processOf(machine);
  const { dma } = machine.add('rot');
  const other = machine.add('other');
  const buffer = dma.allocCoherent(PAGE);
  expect(codeOf(() => other.dma.mmap(process, buffer))).toBe('EINVAL');
  machine.world.failpoints.failNth(1, 'kernel-mm.mmap-frames');
  expect(codeOf(() => dma.mmap(process, buffer))).toBe('ENOMEM');
  machine.world.failpoints.reset();
  dma.freeCoherent(buffer);
  expect(codeOf(() => dma.mmap(process, buffer))).toBe('EINVAL');
});
