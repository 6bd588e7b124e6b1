import { CpuCache, PhysicalMemory, World, type CacheGeometry } from '@iommu-lab/machine';
import { FrameAllocator, KernelTableMemory, Process, type FrameAllocatorOptions } from '../src/index.ts';

export const BASE = 0x4000_0000;
export const PAGE = 4096;

export interface Setup {
  readonly world: World;
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly allocator: FrameAllocator;
  readonly tables: KernelTableMemory;
  readonly start: (name: string) => Process;
}

const GEOMETRY: CacheGeometry = { lineBytes: 64, sets: 64, ways: 4, evictOneIn: 0, speculateOneIn: 0 };

/** A machine with `frames` frames of memory behind a CPU cache, all of them free. */
export function setup(
  frames = 256,
  options: FrameAllocatorOptions = {},
  geometry: Partial<CacheGeometry> = {},
): Setup {
  const world = new World({ seed: 11 });
  const ranges = [{ base: BASE, sizeBytes: frames * PAGE }];
  const memory = new PhysicalMemory(ranges);
  const cache = new CpuCache(world, memory, { ...GEOMETRY, ...geometry });
  const allocator = new FrameAllocator(world, ranges, options);
  const tables = new KernelTableMemory(world, allocator, cache.cached, cache);
  const start = (name: string) => new Process(world, name, allocator, cache.cached, tables);
  return { world, memory, cache, allocator, tables, start };
}

/** The code of the LabError that `run` throws, or `none`. */
export function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
  return 'none';
}
