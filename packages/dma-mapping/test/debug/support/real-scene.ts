/** The same scene over the DMA layer: direct, bounced, behind an IOMMU, strict or deferred. */
import { Bus, Device, type DeviceOptions, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import {
  BusMaster,
  type BusPort,
  CpuCache,
  DirectPort,
  type LabEvent,
  MmioBus,
  type PhysAddr,
  PhysicalMemory,
  World,
} from '@iommu-lab/machine';
import {
  BouncePool,
  DmaDebug,
  type DmaDebugOptions,
  DmaLayer,
  getDmaOps,
  KernelRegions,
} from '../../../src/index.ts';
import { FlatIommu } from '../../support/flat-iommu.ts';
import { type Actor, FRAMES, LINE, PRIVATE, RAM, type Scene, STACK, TEXT, VMALLOC } from './scene.ts';

export type RealPath = 'direct' | 'bounce' | 'strict' | 'lazy';

const RAM_BYTES = 0x40_0000;

export interface RealScene extends Scene {
  readonly bus: Bus;
  readonly layer: DmaLayer;
  readonly frames: FrameAllocator;
}

export function makeRealScene(path: RealPath, debugOptions: DmaDebugOptions = {}): RealScene {
  const world = new World({ seed: 1 });
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: RAM_BYTES }]);
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
  const debug = new DmaDebug(world, { lineBytes: LINE, kernelMap: regions, ...debugOptions });
  const cpu = debug.watchCpu(cache);
  const frames = new FrameAllocator(world, [{ base: FRAMES, sizeBytes: RAM + RAM_BYTES - FRAMES }]);
  const flat = new FlatIommu(world, memory, {});
  const iommu = new Iommu(world);
  iommu.registerInstance(flat);
  const isBehindIommu = path === 'strict' || path === 'lazy';
  const layer = new DmaLayer(world, {
    iommu,
    frames,
    memory: cache,
    maintenance: cache,
    firstRamAddress: RAM,
    lastRamAddress: RAM + RAM_BYTES - 1,
    invalidation: path === 'lazy' ? 'deferred' : 'strict',
    ...(path === 'bounce' && {
      bounce: new BouncePool(world, frames, cache.cached),
      forceBounce: ({ name }: Device) => name === 'rot',
    }),
    debug,
  });
  const bus = new Bus('test', {
    world,
    mmio: new MmioBus(world),
    interrupts: new InterruptController(world),
  });
  bus.onConfigure(iommu);
  bus.onConfigure(layer);
  bus.addDriver({ name: 'test', matches: () => true, probe: () => undefined });
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  const addDevice = (name: string, options: DeviceOptions | undefined, port: BusPort): Actor => {
    const device = new Device(name, options);
    if (port === flat) device.endpoints = [{ provider: 'flat', context: 'rot_src', streamIds: [0] }];
    bus.addDevice(device);
    const master = new BusMaster(world, { name, streamId: 0, port: debug.watchBus(port, () => device) });
    return {
      device,
      dma: getDmaOps(device),
      read: (address, length) => master.read(address, new Uint8Array(length)),
      write: (address, length) => master.write(address, new Uint8Array(length).fill(0xd7)),
    };
  };
  const actor = addDevice('rot', undefined, isBehindIommu ? flat : new DirectPort(memory));
  return {
    ...actor,
    world,
    debug,
    cpu,
    events,
    bus,
    layer,
    frames,
    addDevice: (name, options) => addDevice(name, options, new DirectPort(memory)),
    store(address, length = 4) {
      cpu.cached.write(address as PhysAddr, new Uint8Array(length).fill(0xc5));
    },
    load(address, length = 4) {
      cpu.cached.read(address as PhysAddr, new Uint8Array(length));
    },
    fillUp() {
      // Nothing lies below it.
      actor.device.dmaMask = 0xfff;
    },
    wait: (ns) => world.clock.advance(ns),
  };
}
