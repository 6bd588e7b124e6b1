import { CpuCache, PhysicalMemory, World, type CacheGeometry, type VirtAddr } from '@iommu-lab/machine';
import {
  FrameAllocator,
  KernelTableMemory,
  Process,
  type FrameAllocatorOptions,
  type ProcessOptions,
} from '../src/index.ts';

export const BASE = 0x4000_0000;
export const PAGE = 4096;

export interface Setup {
  readonly world: World;
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly allocator: FrameAllocator;
  readonly tables: KernelTableMemory;
  readonly start: (name: string, options?: ProcessOptions) => Process;
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
  const start = (name: string, more?: ProcessOptions) =>
    new Process(world, name, allocator, cache.cached, tables, more);
  return { world, memory, cache, allocator, tables, start };
}

/** Bytes that differ by `salt`, none of them zero. */
export function bytes(size: number, salt = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => 1 + ((i * 7 + salt) % 251));
}

/** What the process reads there. */
export function contentsOf(process: Process, at: VirtAddr, size: number = PAGE): Uint8Array {
  const into = new Uint8Array(size);
  process.read(at, into);
  return into;
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
