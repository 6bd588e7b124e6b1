/** Buffers of a process that ends: each is the process's until its own area has gone. */
import { expect, test } from '@jest/globals';
import { KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import { codeOf } from '../support/code-of.ts';
import { Machine, PAGE } from './fixture.ts';

test('while the first area goes, the buffer of the second is mapped still: EBUSY; afterwards both are free to go', () => {
  const machine = new Machine();
  const { world, frames, memory, cache } = machine;
  const { dma } = machine.add('rot');
  const tables = new KernelTableMemory(world, frames, memory, cache);
  const process = new Process(world, 'p', frames, cache.cached, tables, { uncached: cache.uncached });
  const buffers = [dma.allocCoherent(PAGE), dma.allocCoherent(2 * PAGE)] as const;
  const [first, second] = buffers.map((buffer) => dma.mmap(process, buffer));
  const seen: unknown[] = [];
  process.onUnmap((start) => {
    if (start !== first) return;
    const isThere = process.lookup(second ?? 0) !== undefined;
    seen.push(
      isThere,
      codeOf(() => dma.freeCoherent(buffers[1])),
    );
  });
  process.exit();
  expect(seen).toEqual([true, 'EBUSY']);
  for (const buffer of buffers) dma.freeCoherent(buffer);
  expect(dma.mappedBytes).toBe(0);
});
