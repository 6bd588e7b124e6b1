import { describe, expect, test } from '@jest/globals';
import { physAddr } from '@iommu-lab/machine';
import { CopierDriver } from './copier.ts';
import { type Host, makeGuest, makeHost, withCode } from './host.ts';

const GPA = 0x4000_0000;
const BYTES = new Uint8Array(64).fill(0x77);

describe('unassign and destroy', () => {
  test('the device leaves the guest’s bus through its driver, is blocked, and is free for the host again', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const driver = new CopierDriver();
    guest.kernel.bus.addDriver(driver);
    const device = host.bus.device('a0');
    const inGuest = guest.assign(device);
    guest.unassign(device);
    guest.unassign(device);
    expect(driver.stateOf(inGuest)).toBeUndefined();
    expect([inGuest.bus, device.driver]).toEqual([undefined, undefined]);
    expect(host.copiers.get('a0')!.dma(GPA, BYTES)).toBe('faulted');
    const onHost = new CopierDriver();
    host.bus.bind(device, onHost);
    const frame = host.frames.allocate();
    onHost.copy(device, frame, frame, 64);
    host.world.clock.run();
    expect(onHost.stateOf(device)).toMatchObject({ interrupts: 1, hasFaulted: false });
  });

  test('a device that runs on while it is taken back never reaches host memory, at any step', () => {
    const host = makeHost();
    const guest = makeGuest(host);
    const device = host.bus.device('a0');
    guest.assign(device);
    const kinds: string[] = [];
    host.iommus.get('a')!.onChange = (kind) => kinds.push(kind);
    guest.unassign(device);
    expect(kinds).toEqual(['blocked', 'released']);
  });

  test('destroy gives all back, whatever runs, and says so; a destroyed guest takes nothing more', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = makeGuest(host);
    guest.addMemorySlot(0x5000_0000, 65536);
    const driver = new CopierDriver();
    guest.kernel.bus.addDriver(driver);
    const device = guest.assign(host.bus.device('a0'));
    guest.assign(host.bus.device('b0'));
    const frame = guest.kernel.frames.allocate();
    driver.copy(device, frame, frame, 64);
    guest.destroy();
    guest.destroy();
    host.world.clock.run();
    expect(host.frames.freeBytes).toBe(free);
    expect(host.iommu.groups).toEqual([]);
    expect(host.bus.devices.every((d) => d.driver === undefined)).toBe(true);
    expect([guest.pinnedBytes, guest.assignedDevices.length, guest.addressSpace.mappedBytes]).toEqual([
      0, 0, 0,
    ]);
    expect(host.events.filter((e) => e.name === 'vm:destroyed')).toHaveLength(1);
    expect(() => guest.assign(host.bus.device('a0'))).toThrow(withCode('EINVAL'));
    expect(() => guest.addMemorySlot(0x4000_0000, 4096)).toThrow(withCode('EINVAL'));
    expect(() => guest.kernel).toThrow(withCode('EINVAL'));
  });

  test('a guest that dies in the middle of a job: the device runs against a wall, and the host is as before', () => {
    const host = makeHost();
    const free = host.frames.freeBytes;
    const guest = makeGuest(host);
    guest.assign(host.bus.device('a0'));
    const ends = startJob(host);
    expect(host.copiers.get('a0')!.dma(0x7000_0000, BYTES)).toBe('faulted');
    host.world.clock.runUntil(() => ends.length === 2);
    guest.destroy();
    const before = ram(host);
    host.world.clock.run();
    expect(ends).toEqual(['done', 'done', 'faulted', 'faulted']);
    expect(ram(host).equals(before)).toBe(true);
    expect([host.frames.freeBytes, host.iommu.groups, host.interrupts.isMasked(10)]).toEqual([
      free,
      [],
      false,
    ]);
    expect(host.events.filter((e) => e.name === 'vm:device_fault')).toHaveLength(1);
  });

  test('nobody resets a device between owners: what is left of its job goes to the next one’s memory', () => {
    const host = makeHost();
    const [one, two] = [makeGuest(host, 'vm1'), makeGuest(host, 'vm2')];
    one.assign(host.bus.device('a0'));
    const ends = startJob(host);
    host.world.clock.runUntil(() => ends.length === 2);
    one.unassign(host.bus.device('a0'));
    host.world.clock.runUntil(() => ends.length === 3);
    two.assign(host.bus.device('a0'));
    host.world.clock.run();
    expect(ends).toEqual(['done', 'done', 'faulted', 'done']);
    const seen = new Uint8Array(BYTES.length);
    two.memory.read(physAddr(GPA + 3 * 4096), seen);
    expect(seen).toEqual(BYTES);
  });
});

/** Four writes by the device `a0`, a page and 10 ns apart, that nobody stops. @returns how those so far have ended */
function startJob(host: Host): readonly string[] {
  const ends: string[] = [];
  for (let i = 0; i < 4; i++) {
    host.world.clock.schedule(10 * (i + 1), 'job', () => {
      ends.push(host.copiers.get('a0')!.dma(GPA + i * 4096, BYTES));
    });
  }
  return ends;
}

function ram(host: Host): Buffer {
  const [bank] = host.memory.banks;
  const bytes = Buffer.alloc(bank!.sizeBytes);
  host.memory.read(physAddr(bank!.base), bytes);
  return bytes;
}
