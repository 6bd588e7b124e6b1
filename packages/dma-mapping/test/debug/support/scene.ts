/** A device with a checker over its operations, a CPU and a bus that the checker watches. */
import { Device, type DeviceOptions } from '@iommu-lab/driver-core';
import {
  BusMaster,
  CpuCache,
  type Iova,
  type LabEvent,
  type MemoryPort,
  type PhysAddr,
  PhysicalMemory,
  type Transfer,
  World,
} from '@iommu-lab/machine';
import { DmaDebug, type DmaDebugOptions, KernelRegions } from '../../../src/debug/dma-debug.ts';
import type { DmaOps } from '../../../src/dma-ops.ts';
import type { CpuMemory } from '../../../src/ports.ts';
import { FakeOps, type FakePath } from './fake-ops.ts';

export const RAM = 0x4000_0000;
/** Places in memory for the programs: two pages of buffers, and what the kernel map declares. */
export const BUFFER = RAM as PhysAddr;
export const SECOND = (RAM + 0x2000) as PhysAddr;
export const STACK = (RAM + 0x8000) as PhysAddr;
export const TEXT = (RAM + 0x9000) as PhysAddr;
export const PRIVATE = (RAM + 0xa000) as PhysAddr;
export const VMALLOC = 0xf000_0000 as PhysAddr;
export const REGISTERS = 0x0400_0000 as PhysAddr;
export const LINE = 32;
export const FRAMES: number = RAM + 0x1_0000;

export interface SceneOptions {
  readonly path?: FakePath;
  readonly device?: DeviceOptions;
  readonly debug?: DmaDebugOptions;
}

/** One device of a scene, as its driver and its hardware see it. */
export interface Actor {
  readonly device: Device;
  readonly dma: DmaOps;
  readonly read: (address: number, length: number) => Transfer;
  readonly write: (address: number, length: number) => Transfer;
}

export interface Scene extends Actor {
  readonly world: World;
  readonly debug: DmaDebug;
  readonly cpu: CpuMemory;
  readonly events: LabEvent[];
  /** Another device on the same machine. */
  readonly addDevice: (name: string, options?: DeviceOptions) => Actor;
  /** The CPU through its cache. */
  readonly store: (address: number, length?: number) => void;
  readonly load: (address: number, length?: number) => void;
  /** From now on maps fail. */
  readonly fillUp: () => void;
  /** Lets time pass. */
  readonly wait: (ns: number) => void;
}

/** A scene over operations that do what they are told. */
export interface FakeScene extends Scene {
  readonly fake: FakeOps;
}

export function makeScene(options: SceneOptions = {}): FakeScene {
  const world = new World({ seed: 1 });
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: 0x10_0000 }]);
  const cache = new CpuCache(world, memory, {
    lineBytes: LINE,
    sets: 8,
    ways: 2,
    evictOneIn: 0,
    speculateOneIn: 0,
  });
  const regions = new KernelRegions(memory.banks);
  regions.declare('stack', STACK, 0x1000);
  regions.declare('text', TEXT, 0x1000);
  regions.declare('device-private', PRIVATE, 0x1000);
  regions.declare('vmalloc', VMALLOC, 0x10_0000);
  const debug = new DmaDebug(world, { lineBytes: LINE, kernelMap: regions, ...options.debug });
  const cpu = debug.watchCpu(cache);
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  const common = { world, memory, view: cache.uncached, debug, path: options.path ?? 'strict' };
  const actor = makeActor(common, 'rot', options.device);
  return {
    ...actor,
    world,
    debug,
    cpu,
    events,
    addDevice: (name, deviceOptions) => makeActor(common, name, deviceOptions),
    store(address, length = 4) {
      cpu.cached.write(address as PhysAddr, new Uint8Array(length).fill(0xc5));
    },
    load(address, length = 4) {
      cpu.cached.read(address as PhysAddr, new Uint8Array(length));
    },
    fillUp() {
      actor.fake.isFull = true;
    },
    wait: (ns) => world.clock.advance(ns),
  };
}

interface Common {
  readonly world: World;
  readonly memory: MemoryPort;
  readonly view: MemoryPort;
  readonly debug: DmaDebug;
  readonly path: FakePath;
}

function makeActor(
  { world, memory, view, debug, path }: Common,
  name: string,
  options: DeviceOptions | undefined,
): Actor & { readonly fake: FakeOps } {
  const device = new Device(name, options);
  const fake = new FakeOps(path, memory, view, name === 'rot' ? FRAMES : FRAMES + 0x2_0000);
  const master = new BusMaster(world, { name, streamId: 0, port: debug.watchBus(fake, () => device) });
  return {
    device,
    fake,
    dma: debug.wrap(device, fake),
    read: (address, length) => master.read(address, new Uint8Array(length)),
    write: (address, length) => master.write(address, new Uint8Array(length).fill(0xd7)),
  };
}

/** An address a number of bytes on. */
export function at<A extends Iova | PhysAddr>(address: A, bytes: number): A {
  return (address + bytes) as A;
}
