/**
 * The way of a device from host to guest, step by step, and back in reverse. Each step notes its undo: a failure
 * half-way and the end of the assignment take the same way.
 */
import { type Bus, Device, type Driver } from '@iommu-lab/driver-core';
import type { Iommu } from '@iommu-lab/iommu-core';
import { hex, LabError, type World } from '@iommu-lab/machine';
import type { GuestAddressSpace } from './guest-address-space.ts';
import type { GuestMmio } from './guest-mmio.ts';
import type { InterruptForwarding } from './interrupt-forwarding.ts';
import type { MemorySlots } from './memory-slots.ts';
import { UndoList } from './undo.ts';

/** The parts of a guest that an assignment touches. */
export interface AssignmentTarget {
  readonly world: World;
  /** Stands for the guest on the host's buses. */
  readonly holdingDriver: Driver;
  /** The host's. */
  readonly iommu: Iommu;
  readonly space: GuestAddressSpace;
  readonly slots: MemorySlots;
  readonly mmio: GuestMmio;
  readonly forwarding: InterruptForwarding;
  /** The guest's bus. */
  readonly bus: Bus;
}

export interface Assignment {
  /** The device as the guest has it. */
  readonly guestDevice: Device;
  /** Takes it back for the host. Never fails. */
  readonly end: () => void;
}

/**
 * A driver that keeps devices for a guest and does nothing else (the kernel's pci-stub, later vfio-platform): the host's
 * bus configures them as for any driver, and no other can take them.
 */
export function makeHoldingDriver(guest: string): Driver {
  return { name: `vm-passthrough ${guest}`, matches: () => false, probe: () => undefined };
}

/** @throws LabError as `Guest.assign`, with everything undone */
export function assignDevice(device: Device, target: AssignmentTarget): Assignment {
  const hostBus = device.bus;
  if (hostBus === undefined) {
    throw new LabError('ENODEV', `${device.name} is on no bus`, { device: device.name });
  }
  refuseBound(device);
  const undo = new UndoList();
  const step = (site: string, run: () => () => void): void => {
    if (target.world.fail(`vm-passthrough.${site}`)) {
      throw new LabError('ENOMEM', `${device.name}: ${site} failed`, { device: device.name });
    }
    undo.add(run());
  };
  const guestDevice = new Device(device.name, {
    compatible: device.compatible,
    resources: device.resources,
    isDmaCoherent: device.isDmaCoherent,
  });
  try {
    step('hold', () => hold(device, hostBus, target));
    step('attach', () => target.space.attach(device));
    for (const resource of device.resources) {
      if (resource.kind === 'interrupt') step('interrupt', () => target.forwarding.forward(resource.irq));
      else step('window', () => openWindow(device, resource, target));
    }
    step('appear', () => {
      target.bus.addDevice(guestDevice);
      return () => target.bus.removeDevice(guestDevice);
    });
  } catch (error) {
    undo.run();
    throw error;
  }
  return { guestDevice, end: () => undo.run() };
}

function refuseBound(device: Device): void {
  if (device.driver === undefined) return;
  throw new LabError('EBUSY', `${device.name} is bound to ${device.driver.name}`, {
    device: device.name,
    driver: device.driver.name,
  });
}

/**
 * Makes the guest's holding driver the device's driver and the exclusive owner of its group.
 * @returns lets go. The bus's configuration ends first, so that the device goes from the guest's domain to blocked and is
 * never, not even briefly, on one of the host's: nothing has stopped what it still does.
 */
function hold(device: Device, hostBus: Bus, { iommu, holdingDriver }: AssignmentTarget): () => void {
  hostBus.bind(device, holdingDriver);
  try {
    iommu.claimOwnership(device, holdingDriver);
  } catch (error) {
    hostBus.unbind(device);
    throw error;
  }
  return () => {
    hostBus.unbind(device);
    iommu.releaseOwnership(device);
  };
}

function openWindow(
  device: Device,
  window: { readonly start: number; readonly sizeBytes: number },
  target: AssignmentTarget,
): () => void {
  const slot = target.slots.overlapping(window.start, window.sizeBytes);
  if (slot !== undefined) {
    throw new LabError(
      'EEXIST',
      `guest memory stands where ${device.name} has registers, ${hex(window.start)}`,
      {
        device: device.name,
        slot: slot.base,
      },
    );
  }
  return target.mmio.open({ device: device.name, start: window.start, sizeBytes: window.sizeBytes });
}
