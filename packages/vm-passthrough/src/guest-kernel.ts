/**
 * The kernel in the guest: a second set of the host's classes over guest-physical memory. It sees no IOMMU, so its
 * DMA layer maps directly: what its drivers hand to a device is a guest-physical address, and the host's domain turns
 * that into memory. Drivers of the host run in it unchanged.
 */
import { DmaLayer } from '@iommu-lab/dma-mapping';
import { Bus, type BusServices } from '@iommu-lab/driver-core';
import { Iommu } from '@iommu-lab/iommu-core';
import { FrameAllocator } from '@iommu-lab/kernel-mm';
import type { CacheMaintenance, MemoryPort } from '@iommu-lab/machine';
import type { MemorySlot } from './memory-slots.ts';

/** What a guest's kernel runs on. All addresses are guest-physical. */
export interface GuestMachine {
  readonly slots: readonly MemorySlot[];
  readonly cached: MemoryPort;
  readonly uncached: MemoryPort;
  readonly maintenance: CacheMaintenance;
  readonly services: BusServices;
}

export interface GuestKernel {
  /** Page frames of guest RAM, scattered once more. */
  readonly frames: FrameAllocator;
  /** An IOMMU layer without instances. */
  readonly iommu: Iommu;
  readonly dma: DmaLayer;
  /** Where assigned devices appear. */
  readonly bus: Bus;
}

/** Starts a kernel on the memory that is there. @throws LabError EINVAL when there is none */
export function bootGuestKernel(machine: GuestMachine): GuestKernel {
  const { world } = machine.services;
  const frames = new FrameAllocator(
    world,
    machine.slots.map(({ base, sizeBytes }) => ({ base, sizeBytes })),
  );
  const iommu = new Iommu(world);
  const dma = new DmaLayer(world, {
    iommu,
    frames,
    memory: { cached: machine.cached, uncached: machine.uncached },
    maintenance: machine.maintenance,
    firstRamAddress: Math.min(...machine.slots.map(({ base }) => base)),
    lastRamAddress: Math.max(...machine.slots.map(({ base, sizeBytes }) => base + sizeBytes - 1)),
  });
  const bus = new Bus('guest', machine.services);
  bus.onConfigure(iommu);
  bus.onConfigure(dma);
  return { frames, iommu, dma, bus };
}
