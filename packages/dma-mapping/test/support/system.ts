/** A small machine with one device, its driver bound, behind an IOMMU or not. */
import { Bus, Device, type DmaRange, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory, Process } from '@iommu-lab/kernel-mm';
import {
  type AccessStatus,
  type BusAccess,
  BusMaster,
  type BusPort,
  type CacheGeometry,
  CpuCache,
  type LabEvent,
  type MemoryPort,
  MmioBus,
  moveBytes,
  type PhysAddr,
  PhysicalMemory,
  World,
} from '@iommu-lab/machine';
import {
  BouncePool,
  type BouncePoolOptions,
  DmaDebug,
  DmaLayer,
  type DmaOps,
  type FlushQueueOptions,
  getDmaOps,
  type Invalidation,
} from '../../src/index.ts';
import { FlatIommu } from './flat-iommu.ts';

export interface SystemOptions {
  readonly path?: 'direct' | 'iommu';
  readonly isCoherent?: boolean;
  readonly seed?: number;
  readonly cache?: Partial<CacheGeometry>;
  readonly apertureLast?: number;
  readonly invalidation?: Invalidation;
  readonly flushQueue?: Partial<FlushQueueOptions>;
  readonly cpus?: number;
  /** With a bounce pool, in memory of its own below the arena (`LOW`), which coherent memory comes from then. */
  readonly bounce?: BouncePoolOptions | true;
  readonly forceBounce?: boolean;
  readonly isUntrusted?: boolean;
  /** Streaming mask; `BELOW_ARENA` reaches `LOW` alone. */
  readonly mask?: number;
  /** Windows of the device's bus. Without an IOMMU they are also what its accesses go through. */
  readonly dmaRanges?: readonly DmaRange[];
  /** More page frames, behind those there are. */
  readonly moreFramesBytes?: number;
  /** With the checker, which sees the driver's calls, what the CPU does in `cpuRead` and `cpuWrite`, and the device. */
  readonly debug?: boolean;
}

/** First byte of memory that no allocator hands out; tests place their buffers there. */
export const ARENA = 0x40000000 as PhysAddr;
export const ARENA_BYTES = 0x10000;
/** Memory below the arena; there only with a bounce pool. */
export const LOW = 0x10000000;
export const LOW_BYTES = 0x100000;
/** A mask that reaches `LOW` and not the arena. */
export const BELOW_ARENA = 0x1fffffff;
/** Some page of another device; no RAM. */
export const REGISTERS = 0x08000000 as PhysAddr;
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
  readonly layer: DmaLayer;
  readonly pool: BouncePool | undefined;
  readonly debug: DmaDebug | undefined;
  readonly dma: DmaOps;
  readonly events: LabEvent[];
  /** A process whose tables lie in `frames`. */
  readonly makeProcess: () => Process;
  readonly cpuRead: (address: number, length: number) => Uint8Array;
  readonly cpuWrite: (address: number, bytes: Uint8Array) => void;
  /** What the device would see at a physical address. */
  readonly seenRead: (address: number, length: number) => Uint8Array;
  /** The bytes, or undefined when the access faulted. */
  readonly deviceRead: (address: number, length: number) => Uint8Array | undefined;
  readonly deviceWrite: (address: number, bytes: Uint8Array) => 'done' | 'faulted';
  /** Where the device's last fault in the IOMMU was. */
  readonly faultAddress: () => number | undefined;
}

export function makeSystem(options: SystemOptions = {}): TestSystem {
  const world = new World({ seed: options.seed ?? 1 });
  const frameBytes = RAM_BYTES - ARENA_BYTES + (options.moreFramesBytes ?? 0);
  const low = options.bounce === undefined ? [] : [{ base: LOW, sizeBytes: LOW_BYTES }];
  const memory = new PhysicalMemory([
    { base: REGISTERS, sizeBytes: 4096 },
    ...low,
    { base: ARENA, sizeBytes: ARENA_BYTES + frameBytes },
  ]);
  const cache = new CpuCache(world, memory, {
    lineBytes: 32,
    sets: 8,
    ways: 1,
    evictOneIn: 0,
    speculateOneIn: 0,
    ...options.cache,
  });
  const frames = new FrameAllocator(world, [...low, { base: FRAMES, sizeBytes: frameBytes }]);
  const pool =
    options.bounce === undefined
      ? undefined
      : new BouncePool(world, frames, cache.cached, options.bounce === true ? {} : options.bounce);
  const debug = options.debug === true ? new DmaDebug(world, { lineBytes: cache.lineBytes }) : undefined;
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
    firstRamAddress: options.bounce === undefined ? ARENA : LOW,
    lastRamAddress: FRAMES + frameBytes - 1,
    ...(options.invalidation && { invalidation: options.invalidation }),
    ...(options.flushQueue && { flushQueue: options.flushQueue }),
    ...(options.cpus && { cpus: options.cpus }),
    ...(pool && { bounce: pool }),
    ...(options.forceBounce === true && { forceBounce: () => true }),
    ...(debug && { debug }),
  });
  const bus = new Bus('test', {
    world,
    mmio: new MmioBus(world),
    interrupts: new InterruptController(world),
  });
  bus.onConfigure(iommu);
  bus.onConfigure(layer);
  bus.addDriver({ name: 'test', matches: () => true, probe: () => undefined });
  const device = new Device('rot', {
    isDmaCoherent: options.isCoherent ?? false,
    isUntrusted: options.isUntrusted ?? false,
  });
  device.dmaRanges = options.dmaRanges ?? [];
  if (options.path !== 'direct') {
    device.endpoints = [{ provider: 'flat', context: 'rot_src', streamIds: [0] }];
  }
  bus.addDevice(device);
  const dma = getDmaOps(device);
  if (options.mask !== undefined) dma.setStreamingMask(options.mask);
  const port = options.path === 'direct' ? new WindowedPort(seen, device.dmaRanges) : flat;
  const master = new BusMaster(world, {
    name: 'rot',
    streamId: 0,
    port: debug?.watchBus(port, () => device) ?? port,
  });
  const { cached } = debug?.watchCpu(cache) ?? cache;
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
    layer,
    pool,
    debug,
    dma,
    events,
    makeProcess() {
      const tables = new KernelTableMemory(world, frames, memory, undefined);
      return new Process(world, 'user', frames, cache.cached, tables, { uncached: cache.uncached });
    },
    cpuRead(address, length) {
      const bytes = new Uint8Array(length);
      cached.read(address as PhysAddr, bytes);
      return bytes;
    },
    cpuWrite(address, bytes) {
      cached.write(address as PhysAddr, bytes);
    },
    seenRead(address, length) {
      const bytes = new Uint8Array(length);
      seen.read(address as PhysAddr, bytes);
      return bytes;
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

/** A bus without an IOMMU: memory where its windows are, and registers of other devices in their own place. */
class WindowedPort implements BusPort {
  readonly #memory: MemoryPort;
  readonly #windows: readonly DmaRange[];

  constructor(memory: MemoryPort, windows: readonly DmaRange[]) {
    this.#memory = memory;
    this.#windows = windows;
  }

  access(access: BusAccess): AccessStatus {
    const { address } = access;
    const window = this.#windows.find((w) => w.busStart <= address && address < w.busStart + w.sizeBytes);
    const isRegisters = address >= REGISTERS && address < REGISTERS + 4096;
    if (window === undefined && this.#windows.length > 0 && !isRegisters) return 'faulted';
    const there = window === undefined ? address : address - window.busStart + window.cpuStart;
    return moveBytes(this.#memory, there as PhysAddr, access) ? 'done' : 'faulted';
  }
}

export function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}
