import { expect, test } from '@jest/globals';
import type { ProcessSpace } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import { PhysicalMemory, World } from '@iommu-lab/machine';

test('a process of kernel-mm is the ProcessSpace that iommu-core asks for', () => {
  const world = new World();
  const ram = [{ base: 0x4000_0000, sizeBytes: 1 << 20 }];
  const memory = new PhysicalMemory(ram);
  const frames = new FrameAllocator(world, ram);
  const tables = new KernelTableMemory(world, frames, memory, undefined);
  const process = new Process(world, 'p', frames, memory, tables);
  // The compiler checks the fit; the packages do not know each other.
  const space: ProcessSpace = process;
  const page = process.mmap(1, { lazy: true });
  expect([space.lookup(page), space.handleFault(page, 'write')]).toEqual([undefined, true]);
  expect(space.walk(page)).toHaveLength(2);
});
