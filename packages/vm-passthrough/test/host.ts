/** A host with two IOMMUs of one kind and one of another, and four copiers behind them. */
import { expect } from '@jest/globals';
import { DmaLayer } from '@iommu-lab/dma-mapping';
import { Bus, Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import { CpuCache, type LabEvent, MmioBus, PhysicalMemory, World } from '@iommu-lab/machine';
import { Guest, type GuestHost } from '../src/index.ts';
import { Copier } from './copier.ts';
import { FakeIommu } from './fake-iommu.ts';

const RAM_BASE = 0x8000_0000;
const RAM_BYTES = 4 * 1024 * 1024;
export const MIB: number = 1024 * 1024;

/** Name, provider, stream, registers, interrupt. `lonely` is behind no IOMMU. */
const COPIERS = [
  ['a0', 'a', 0, 0x1000_0000, 10],
  ['a1', 'a', 1, 0x1000_1000, 11],
  ['b0', 'b', 0, 0x1000_2000, 12],
  ['odd', 'odd', 0, 0x1000_3000, 13],
  ['lonely', undefined, 0, 0x1000_4000, 14],
] as const;

export interface Host extends GuestHost {
  readonly memory: PhysicalMemory;
  readonly cache: CpuCache;
  readonly bus: Bus;
  readonly iommus: ReadonlyMap<string, FakeIommu>;
  readonly copiers: ReadonlyMap<string, Copier>;
  readonly events: LabEvent[];
}

export function makeHost(seed = 1): Host {
  const world = new World({ seed });
  const events: LabEvent[] = [];
  world.events.subscribe((event) => events.push(event));
  const memory = new PhysicalMemory([{ base: RAM_BASE, sizeBytes: RAM_BYTES }]);
  const cache = new CpuCache(world, memory, {
    lineBytes: 64,
    sets: 64,
    ways: 2,
    evictOneIn: 20,
    speculateOneIn: 20,
  });
  const { cached, uncached } = cache;
  const frames = new FrameAllocator(world, memory.banks);
  const iommu = new Iommu(world);
  const mmio = new MmioBus(world);
  const interrupts = new InterruptController(world);
  const bus = new Bus('soc', { world, mmio, interrupts });
  bus.onConfigure(iommu);
  bus.onConfigure(new DmaLayer(world, { iommu, frames, memory: { cached, uncached }, maintenance: cache }));
  const iommus = new Map(
    [
      ['a', 'lab'],
      ['b', 'lab'],
      ['odd', 'other'],
    ].map(([provider, key]) => [provider!, new FakeIommu(world, iommu, memory, provider!, key!)]),
  );
  for (const instance of iommus.values()) iommu.registerInstance(instance);

  const copiers = new Map<string, Copier>();
  for (const [name, provider, streamId, base, irq] of COPIERS) {
    const port = iommus.get(provider ?? 'a')!;
    const copier = new Copier(world, name, streamId, port);
    copiers.set(name, copier);
    mmio.addWindow({ name, base, sizeBytes: 0x1000, device: copier });
    interrupts.connect(irq, copier.line);
    const device = new Device(name, {
      compatible: 'lab,copier',
      resources: [
        { kind: 'memory', name: 'regs', start: base, sizeBytes: 0x1000 },
        { kind: 'interrupt', name: 'done', irq },
      ],
    });
    if (provider !== undefined) {
      device.endpoints = [{ provider, context: `${name}-context`, streamIds: [streamId] }];
    }
    bus.addDevice(device);
  }
  return {
    world,
    events,
    memory,
    cache,
    frames,
    iommu,
    mmio,
    interrupts,
    bus,
    iommus,
    copiers,
    cached,
    uncached,
    maintenance: cache,
  };
}

/** A guest with 1 MiB at guest-physical 0x4000_0000. */
export function makeGuest(host: Host, name = 'vm1'): Guest {
  const guest = new Guest(host, { name });
  guest.addMemorySlot(0x4000_0000, MIB);
  return guest;
}

/** All of the host that an assignment may touch. */
export function stateOf(host: Host, guest: Guest): unknown {
  return {
    freeBytes: host.frames.freeBytes,
    drivers: host.bus.devices.map((d) => d.driver?.name),
    groups: host.iommu.groups.map((g) => [g.id, g.domain?.name, g.owner !== undefined]),
    streams: [...host.iommus.values()].map((i) => [i.kindOf(0), i.kindOf(1), i.liveTables]),
    masked: [10, 11, 12, 13, 14].map((irq) => host.interrupts.isMasked(irq)),
    guestDevices: guest.kernel.bus.devices.map((d) => d.name),
    assigned: guest.assignedDevices.map((d) => d.name),
    slots: guest.memorySlots.map((s) => s.base),
    mappings: guest.addressSpace.mappings(),
    domains: guest.addressSpace.domains.map((d) => d.mappedBytes),
    window: guest.mmio.overlapping(0, 0xffff_ffff)?.device,
  };
}

export function withCode(code: string, message?: string): unknown {
  return expect.objectContaining(
    message === undefined ? { code } : { code, message: expect.stringContaining(message) },
  );
}
