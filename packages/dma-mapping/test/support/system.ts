/** A small machine with one device, its driver bound, behind an IOMMU or not. */
import { Bus, Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import {
  BusMaster,
  type CacheGeometry,
  CpuCache,
  DirectPort,
  type LabEvent,
  MmioBus,
  type PhysAddr,
  PhysicalMemory,
  World,
} from '@iommu-lab/machine';
import { DmaLayer, type DmaOps, getDmaOps } from '../../src/index.ts';
import { FlatIommu } from './flat-iommu.ts';

export interface SystemOptions {
  readonly path?: 'direct' | 'iommu';
  readonly isCoherent?: boolean;
  readonly seed?: number;
  readonly cache?: Partial<CacheGeometry>;
  readonly apertureLast?: number;
}

/** First byte of memory that no allocator hands out; tests place their buffers there. */
export const ARENA = 0x40000000 as PhysAddr;
export const ARENA_BYTES = 0x10000;
/** Where the first page is mapped: the last page of the 32-bit space is never handed out. */
export const FIRST_IOVA: number = 2 ** 32 - 2 * 4096;
const FRAMES = ARENA + ARENA_BYTES;
const RAM_BYTES = 0x20000;

export interface TestSystem {
  readonly world: World;
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly frames: FrameAllocator;
  readonly iommu: Iommu;
  readonly bus: Bus;
  readonly device: Device;
  readonly dma: DmaOps;
  readonly events: LabEvent[];
  readonly cpuRead: (address: number, length: number) => Uint8Array;
  readonly cpuWrite: (address: number, bytes: Uint8Array) => void;
  /** The bytes, or undefined when the access faulted. */
  readonly deviceRead: (address: number, length: number) => Uint8Array | undefined;
  readonly deviceWrite: (address: number, bytes: Uint8Array) => 'done' | 'faulted';
  /** Where the device's last fault in the IOMMU was. */
  readonly faultAddress: () => number | undefined;
}

export function makeSystem(options: SystemOptions = {}): TestSystem {
  const world = new World({ seed: options.seed ?? 1 });
  const memory = new PhysicalMemory([{ base: ARENA, sizeBytes: RAM_BYTES }]);
  const cache = new CpuCache(world, memory, {
    lineBytes: 32,
    sets: 8,
    ways: 1,
    evictOneIn: 0,
    speculateOneIn: 0,
    ...options.cache,
  });
  const frames = new FrameAllocator(world, [{ base: FRAMES, sizeBytes: RAM_BYTES - ARENA_BYTES }]);
  const seen = options.isCoherent === true ? cache.snooped : memory;
  const flat = new FlatIommu(
    world,
    seen,
    options.apertureLast === undefined ? {} : { last: options.apertureLast },
  );
  const iommu = new Iommu(world);
  iommu.registerInstance(flat);
  const layer = new DmaLayer(world, {
    iommu,
    frames,
    memory: cache,
    maintenance: cache,
    firstRamAddress: ARENA,
  });
  const bus = new Bus('test', {
    world,
    mmio: new MmioBus(world),
    interrupts: new InterruptController(world),
  });
  bus.onConfigure(iommu);
  bus.onConfigure(layer);
  bus.addDriver({ name: 'test', matches: () => true, probe: () => undefined });
  const device = new Device('rot', { isDmaCoherent: options.isCoherent ?? false });
  if (options.path !== 'direct') {
    device.endpoints = [{ provider: 'flat', context: 'rot_src', streamIds: [0] }];
  }
  bus.addDevice(device);
  const master = new BusMaster(world, {
    name: 'rot',
    streamId: 0,
    port: options.path === 'direct' ? new DirectPort(seen) : flat,
  });
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  return {
    world,
    memory,
    cache,
    frames,
    iommu,
    bus,
    device,
    dma: getDmaOps(device),
    events,
    cpuRead(address, length) {
      const bytes = new Uint8Array(length);
      cache.cached.read(address as PhysAddr, bytes);
      return bytes;
    },
    cpuWrite(address, bytes) {
      cache.cached.write(address as PhysAddr, bytes);
    },
    deviceRead(address, length) {
      const bytes = new Uint8Array(length);
      return master.read(address, bytes).state === 'done' ? bytes : undefined;
    },
    deviceWrite(address, bytes) {
      return master.write(address, bytes).state === 'done' ? 'done' : 'faulted';
    },
    faultAddress: () => flat.faultAddress,
  };
}

export function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}
