/** What allocations take, what they refuse, and what is contiguous. */
import { expect, test } from '@jest/globals';
import { KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import { codeOf } from '../support/code-of.ts';
import { ARENA_BYTES, filled, Machine, PAGE } from './fixture.ts';

test('behind an IOMMU memory is scattered where it has to be, unless it is asked to be contiguous', () => {
  const machine = new Machine();
  // Every other frame is taken.
  const taken = Array.from({ length: ARENA_BYTES / PAGE }, () => machine.frames.allocate());
  for (const frame of taken) if (frame % (2 * PAGE) === 0) machine.frames.free(frame);
  const free = machine.frames.freeBytes;
  const { dma, read } = machine.add('rot');
  const buffer = dma.allocCoherent(3 * PAGE);
  expect(dma.getSgTable(buffer).entries).toHaveLength(3);
  expect(read(buffer.dmaAddress, 3 * PAGE)).toEqual(filled(3 * PAGE, 0));
  for (const alloc of [
    () => dma.allocCoherent(3 * PAGE, { forceContiguous: true }),
    () => dma.allocNoncontiguous(3 * PAGE, 'to-device', { forceContiguous: true }),
    () => dma.allocNoncoherent(3 * PAGE, 'to-device'),
  ]) {
    expect(codeOf(alloc)).toBe('ENOMEM');
  }
  dma.freeCoherent(buffer);
  expect(machine.frames.freeBytes).toBe(free);
  expect(codeOf(() => machine.add('usb', { behind: 'direct' }).dma.allocCoherent(3 * PAGE))).toBe('ENOMEM');
});

test('contiguous when asked, also with room to scatter', () => {
  const { dma } = new Machine().add('rot');
  const table = dma.getSgTable(dma.allocCoherent(5 * PAGE, { forceContiguous: true }));
  expect(table.entries.map(({ length }) => length)).toEqual([5 * PAGE]);
});

test('a buffer is not restricted by the segments of a list: one segment whatever the engine says', () => {
  const { dma } = new Machine().add('rot');
  dma.setParameters({ maxSegmentBytes: PAGE, segmentBoundaryMask: 2 * PAGE - 1 });
  expect(dma.allocNoncontiguous(8 * PAGE, 'to-device').table.segments).toHaveLength(1);
});

test.each(['direct', 'own'])('what is no size or direction is EINVAL and takes nothing (%s)', (behind) => {
  const machine = new Machine();
  const { dma } = machine.add('rot', { behind });
  const free = machine.frames.freeBytes;
  for (const size of [0, -1, 1.5, Number.NaN]) {
    expect(codeOf(() => dma.allocCoherent(size))).toBe('EINVAL');
    expect(codeOf(() => dma.allocNoncoherent(size, 'to-device'))).toBe('EINVAL');
    expect(codeOf(() => dma.allocNoncontiguous(size, 'to-device'))).toBe('EINVAL');
  }
  expect(codeOf(() => dma.allocNoncoherent(8, 'none' as 'to-device'))).toBe('EINVAL');
  expect([machine.frames.freeBytes, dma.mappedBytes]).toEqual([free, 0]);
});

// Fails: the range is looked for in the segment, which is whole pages; the checker of the kernel knows the size asked for.
test('a sync of more than was allocated is EINVAL, although the page goes on', () => {
  const { dma } = new Machine().add('rot');
  const buffer = dma.allocNoncoherent(100, 'to-device');
  expect(codeOf(() => dma.syncSingleForDevice(buffer.dmaAddress, 101, 'to-device'))).toBe('EINVAL');
});

// Fails: parts are measured by the memory taken, whole granules; dma_common_mmap counts PAGE_ALIGN(size).
test('a process maps no page behind the buffer, also where its granule goes on', () => {
  const machine = new Machine();
  const { world, frames, cache, memory } = machine;
  const tables = new KernelTableMemory(world, frames, memory, cache);
  const process = new Process(world, 'p', frames, cache.cached, tables, { uncached: cache.uncached });
  const { dma } = machine.add('rot', { granule: 4 * PAGE });
  const buffer = dma.allocCoherent(100);
  expect(codeOf(() => dma.mmap(process, buffer, PAGE, PAGE))).toBe('ENXIO');
});
