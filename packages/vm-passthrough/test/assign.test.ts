import { describe, expect, test } from '@jest/globals';
import { Device } from '@iommu-lab/driver-core';
import { World } from '@iommu-lab/machine';
import { Guest } from '../src/index.ts';
import { CopierDriver } from './copier.ts';
import { makeGuest, makeHost, MIB, stateOf, withCode } from './host.ts';

const GPA = 0x4000_0000;
const BYTES = new Uint8Array(64).fill(0x77);

describe('one address space per guest', () => {
  test('spans the IOMMUs of all its devices; page tables come with the first and go with the last', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    expect([guest.addressSpace.mappedBytes, guest.addressSpace.tableBytes]).toEqual([MIB, 0]);
    guest.assign(host.bus.device('a0'));
    const [domain] = guest.addressSpace.domains;
    guest.assign(host.bus.device('b0'));
    expect(guest.addressSpace.domains).toEqual([domain]);
    expect(host.iommu.domainOf(host.bus.device('b0'))).toBe(domain);
    expect(host.copiers.get('a0')!.dma(GPA, BYTES)).toBe('done');
    expect(host.copiers.get('b0')!.dma(GPA, BYTES)).toBe('done');
    guest.unassign(host.bus.device('a0'));
    expect(host.copiers.get('a0')!.dma(GPA, BYTES)).toBe('faulted');
    expect(host.copiers.get('b0')!.dma(GPA, BYTES)).toBe('done');
    guest.unassign(host.bus.device('b0'));
    expect(guest.addressSpace.domains).toEqual([]);
    expect(domain?.tableBytes).toBe(0);
  });

  test('spans IOMMUs of different tables with a domain for each kind, that all hold the same', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    guest.assign(host.bus.device('odd'));
    expect(guest.addressSpace.domains.map((d) => d.mappedBytes)).toEqual([MIB, MIB]);
    guest.addMemorySlot(0x5000_0000, 8192);
    for (const name of ['a0', 'odd']) {
      for (const gpa of [GPA, 0x5000_1000]) expect(host.copiers.get(name)!.dma(gpa, BYTES)).toBe('done');
    }
    guest.removeMemorySlot(0x5000_0000);
    for (const name of ['a0', 'odd']) expect(host.copiers.get(name)!.dma(0x5000_1000, BYTES)).toBe('faulted');
    guest.unassign(host.bus.device('a0'));
    expect(guest.addressSpace.domains).toHaveLength(1);
    expect(host.copiers.get('odd')!.dma(GPA, BYTES)).toBe('done');
  });

  test('follows the memory slots while devices run', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    const copier = host.copiers.get('a0')!;
    expect(copier.dma(0x5000_0000, BYTES)).toBe('faulted');
    guest.addMemorySlot(0x5000_0000, 8192);
    expect(copier.dma(0x5000_0000, BYTES)).toBe('done');
    expect(copier.dma(0x5000_2000, BYTES)).toBe('faulted');
    guest.removeMemorySlot(0x5000_0000);
    expect(copier.dma(0x5000_0000, BYTES)).toBe('faulted');
    expect(guest.addressSpace.mappedBytes).toBe(MIB);
  });

  test('a slot beyond what the devices can address is refused whole: ERANGE', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    const before = stateOf(host, guest);
    expect(() => guest.addMemorySlot(0x1_0000_0000, 4096)).toThrow(withCode('ERANGE'));
    expect(stateOf(host, guest)).toEqual(before);
  });
});

describe('assign', () => {
  test('the guest’s device is the host’s without its endpoints: no IOMMU is seen in the guest', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const device = host.bus.device('a0');
    const inGuest = guest.assign(device);
    expect(inGuest).not.toBe(device);
    expect([inGuest.name, inGuest.compatible, inGuest.resources]).toEqual([
      device.name,
      device.compatible,
      device.resources,
    ]);
    expect(inGuest.endpoints).toEqual([]);
    expect(inGuest.bus).toBe(guest.kernel.bus);
    expect(guest.assignedDevices).toEqual([device]);
  });

  test('a device that a driver of the host has is EBUSY, and the message says which', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const driver = new CopierDriver();
    host.bus.addDriver(driver);
    const device = host.bus.device('a0');
    expect(() => guest.assign(device)).toThrow(withCode('EBUSY', 'copier-driver'));
    host.bus.unbind(device);
    guest.assign(device);
    host.bus.removeDriver(driver);
    host.bus.addDriver(driver);
    expect(device.driver?.name).toBe('vm-passthrough vm1');
  });

  test('a device is in one guest, once: EEXIST in the same, EBUSY from another', () => {
    const host = makeHost();
    const [one, two] = [makeGuest(host, 'vm1'), makeGuest(host, 'vm2')];
    one.assign(host.bus.device('a0'));
    expect(() => one.assign(host.bus.device('a0'))).toThrow(withCode('EEXIST'));
    expect(() => two.assign(host.bus.device('a0'))).toThrow(withCode('EBUSY', 'vm1'));
    one.unassign(host.bus.device('a0'));
    two.assign(host.bus.device('a0'));
    expect(host.copiers.get('a0')!.dma(GPA, BYTES)).toBe('done');
  });

  test('a device behind no IOMMU, or on no bus, is ENODEV: it could not be kept in', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const before = stateOf(host, guest);
    expect(() => guest.assign(host.bus.device('lonely'))).toThrow(withCode('ENODEV'));
    expect(() => guest.assign(new Device('a9'))).toThrow(withCode('ENODEV'));
    expect(stateOf(host, guest)).toEqual(before);
  });

  test('a device that somebody else has claimed is refused, and stays theirs', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const device = host.bus.device('a0');
    host.iommu.configure(device);
    host.iommu.claimOwnership(device, 'somebody');
    expect(() => guest.assign(device)).toThrow(withCode('EBUSY'));
    expect(host.iommu.groupOf(device)?.owner).toBe('somebody');
    expect(device.driver).toBeUndefined();
  });

  test('an interrupt that a host driver uses too is EBUSY: the guest could keep it masked', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a1'));
    const free = host.interrupts.request(10, 'a host driver', () => false);
    const before = stateOf(host, guest);
    expect(() => guest.assign(host.bus.device('a0'))).toThrow(withCode('EBUSY', 'a host driver'));
    expect(stateOf(host, guest)).toEqual(before);
    free();
    guest.assign(host.bus.device('a0'));
    expect(() => host.interrupts.request(10, 'late', () => false)).toThrow(withCode('EBUSY', 'vm vm1'));
  });

  test('two devices of a guest may share a wire', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    for (const name of ['p', 'q']) {
      const device = new Device(name, { resources: [{ kind: 'interrupt', name: 'i', irq: 10 }] });
      device.endpoints = [{ provider: 'b', context: name, streamIds: [name === 'p' ? 2 : 3] }];
      host.bus.addDevice(device);
      guest.assign(device);
    }
    guest.unassign(host.bus.device('p'));
    let isSeen = false;
    guest.interrupts.request(10, 'q', () => {
      isSeen = true;
      host.copiers.get('a0')!.line.lower();
      return true;
    });
    host.copiers.get('a0')!.line.raise();
    host.world.clock.run();
    expect(isSeen).toBe(true);
    expect(host.interrupts.isMasked(10)).toBe(false);
  });

  test('guest memory and registers cannot stand at one address: EEXIST from either side', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a1'));
    expect(() => guest.addMemorySlot(0x1000_1000, 4096)).toThrow(withCode('EEXIST', 'a1'));
    guest.addMemorySlot(0x1000_0000, 4096);
    const before = stateOf(host, guest);
    expect(() => guest.assign(host.bus.device('a0'))).toThrow(withCode('EEXIST', 'a0'));
    expect(stateOf(host, guest)).toEqual(before);
  });

  test('a guest without memory has no kernel to give a device to: EINVAL', () => {
    const host = makeHost();
    const guest = new Guest(host, { name: 'vm1' });
    expect(() => guest.assign(host.bus.device('a0'))).toThrow(withCode('EINVAL'));
    expect(host.bus.device('a0').driver).toBeUndefined();
  });

  test('a guest in a guest is not built: EOPNOTSUPP', () => {
    const host = makeHost();
    const world = new World().child('vm0');
    expect(() => new Guest({ ...host, world }, { name: 'vm1' })).toThrow(withCode('EOPNOTSUPP'));
  });
});
