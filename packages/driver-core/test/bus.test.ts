import { describe, expect, test } from '@jest/globals';
import { LabError } from '@iommu-lab/machine';
import { Device } from '../src/index.ts';
import { makeRig, names, recordingDriver, recordingHook } from './harness.ts';

describe('matching and probing', () => {
  test('a device that comes after its driver is probed at once, and so is one that came before', () => {
    const rig = makeRig();
    rig.bus.addDevice(new Device('early', { compatible: 'x' }));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('late', { compatible: 'x' }));
    rig.bus.addDevice(new Device('other', { compatible: 'y' }));
    expect(rig.calls).toEqual(['x probe early', 'x probe late']);
    expect(rig.bus.device('late').driver?.name).toBe('x');
    expect(rig.bus.device('other').driver).toBeUndefined();
  });

  test('devices are tried in the order they were added, drivers in the order they were registered', () => {
    const rig = makeRig();
    const declines = (): never => {
      throw new LabError('ENODEV', 'not mine');
    };
    rig.bus.addDriver(recordingDriver(rig, 'x', { name: 'first', probe: declines }));
    rig.bus.addDriver(recordingDriver(rig, 'x', { name: 'second' }));
    rig.bus.addDriver(recordingDriver(rig, 'x', { name: 'third' }));
    for (const name of ['b', 'a']) rig.bus.addDevice(new Device(name, { compatible: 'x' }));
    expect(rig.calls).toEqual(['first probe b', 'second probe b', 'first probe a', 'second probe a']);
  });

  test.each(['ENODEV', 'ENXIO'] as const)('a driver that declines with %s leaves no complaint', (code) => {
    const rig = makeRig();
    const probe = (): never => {
      throw new LabError(code, 'not mine');
    };
    rig.bus.addDriver(recordingDriver(rig, 'x', { probe }));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    expect(rig.bus.device('a').driver).toBeUndefined();
    expect(rig.bus.deferred()).toEqual([]);
    expect(names(rig.events)).toEqual(['bus:device_added']);
  });

  test('a probe that fails is reported, undone and not tried again', () => {
    const rig = makeRig();
    const probe = (): never => {
      throw new LabError('EIO', 'broken');
    };
    rig.bus.onConfigure(recordingHook(rig, 'hook'));
    rig.bus.addDriver(recordingDriver(rig, 'x', { probe }));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.bus.addDriver(recordingDriver(rig, 'y'));
    rig.bus.addDevice(new Device('b', { compatible: 'y' }));
    rig.world.clock.run();
    expect(rig.calls.filter((c) => c.endsWith(' a') && c.startsWith('x'))).toHaveLength(2);
    expect(rig.calls.slice(0, 3)).toEqual(['hook configure a', 'x probe a', 'hook cleanup a']);
    expect(rig.events.find((e) => e.name === 'bus:probe_failed')?.fields).toEqual({
      device: 'a',
      driver: 'x',
      error: 'EIO: broken',
    });
  });

  test('what is no LabError is a defect and passes through, undone', () => {
    const rig = makeRig();
    rig.bus.onConfigure(recordingHook(rig, 'hook'));
    const probe = (): never => {
      throw new TypeError('a defect');
    };
    rig.bus.addDriver(recordingDriver(rig, 'x', { probe }));
    expect(() => rig.bus.addDevice(new Device('a', { compatible: 'x' }))).toThrow(TypeError);
    expect(rig.bus.device('a').driver).toBeUndefined();
    expect(rig.calls.at(-1)).toBe('hook cleanup a');
  });

  test('names are unique: device EEXIST, driver EEXIST; an unknown device is ENODEV', () => {
    const rig = makeRig();
    const device = new Device('a', { compatible: 'x' });
    rig.bus.addDevice(device);
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    expect(() => rig.bus.addDevice(new Device('a'))).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => rig.bus.addDriver(recordingDriver(rig, 'x'))).toThrow(
      expect.objectContaining({ code: 'EEXIST' }),
    );
    expect(() => makeRig().bus.addDevice(device)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => rig.bus.device('b')).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });
});

describe('configure hooks', () => {
  test('run in the order they were added, before probe; unbinding removes the driver, then cleans up in reverse', () => {
    const rig = makeRig();
    for (const name of ['bus', 'iommu', 'dma']) rig.bus.onConfigure(recordingHook(rig, name));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.bus.unbind(rig.bus.device('a'));
    expect(rig.calls).toEqual([
      'bus configure a',
      'iommu configure a',
      'dma configure a',
      'x probe a',
      'x remove a',
      'dma cleanup a',
      'iommu cleanup a',
      'bus cleanup a',
    ]);
  });

  test('a hook that throws: exactly those before it are undone, and the driver is never asked', () => {
    const rig = makeRig();
    const defers = (): never => {
      throw new LabError('EPROBE_DEFER', 'no IOMMU yet');
    };
    rig.bus.onConfigure(recordingHook(rig, 'bus'));
    rig.bus.onConfigure(recordingHook(rig, 'iommu', defers));
    rig.bus.onConfigure(recordingHook(rig, 'dma'));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    expect(rig.calls).toEqual(['bus configure a', 'iommu configure a', 'bus cleanup a']);
    expect(rig.bus.deferred().map((d) => d.reason)).toEqual(['EPROBE_DEFER: no IOMMU yet']);
  });

  test('the driver is set while hooks and probe run, and gone after a failure', () => {
    const rig = makeRig();
    const seen: (string | undefined)[] = [];
    rig.bus.onConfigure({ configure: (d) => seen.push(d.driver?.name), cleanup: () => undefined });
    const probe = (device: Device): never => {
      seen.push(device.driver?.name);
      throw new LabError('ENODEV', 'not mine');
    };
    rig.bus.addDriver(recordingDriver(rig, 'x', { probe }));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    expect(seen).toEqual(['x', 'x']);
    expect(rig.bus.device('a').driver).toBeUndefined();
  });

  test('a hook that came after the bind did not configure the device and does not clean it up', () => {
    const rig = makeRig();
    rig.bus.onConfigure(recordingHook(rig, 'old'));
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.bus.onConfigure(recordingHook(rig, 'new'));
    rig.bus.unbind(rig.bus.device('a'));
    expect(rig.calls).toEqual(['old configure a', 'x probe a', 'x remove a', 'old cleanup a']);
  });
});

describe('leaving', () => {
  test('an unbound device stays on the bus and is not probed again by itself', () => {
    const rig = makeRig();
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    rig.bus.addDevice(new Device('a', { compatible: 'x' }));
    rig.bus.unbind(rig.bus.device('a'));
    rig.bus.unbind(rig.bus.device('a'));
    rig.bus.addDevice(new Device('b', { compatible: 'x' }));
    rig.world.clock.run();
    expect(rig.calls).toEqual(['x probe a', 'x remove a', 'x probe b']);
  });

  test('removing a device unbinds it; it may come back, to another bus too', () => {
    const rig = makeRig();
    const other = makeRig();
    rig.bus.addDriver(recordingDriver(rig, 'x'));
    const device = new Device('a', { compatible: 'x' });
    rig.bus.addDevice(device);
    rig.bus.removeDevice(device);
    rig.bus.removeDevice(device);
    expect(rig.bus.devices).toEqual([]);
    expect(rig.calls).toEqual(['x probe a', 'x remove a']);
    other.bus.addDevice(device);
    expect(device.bus).toBe(other.bus);
    rig.bus.removeDevice(device);
    expect(device.bus).toBe(other.bus);
  });

  test('a device that leaves while it waits is not probed any more', () => {
    const rig = makeRig();
    const probe = (): never => {
      throw new LabError('EPROBE_DEFER', 'waits');
    };
    rig.bus.addDriver(recordingDriver(rig, 'x', { probe }));
    rig.bus.addDriver(recordingDriver(rig, 'y'));
    const device = new Device('a', { compatible: 'x' });
    rig.bus.addDevice(device);
    rig.bus.addDevice(new Device('b', { compatible: 'y' }));
    rig.bus.removeDevice(device);
    rig.world.clock.run();
    expect(rig.calls).toEqual(['x probe a', 'y probe b']);
    expect(rig.bus.deferred()).toEqual([]);
  });

  test('removing a driver unbinds all its devices; its name is free again', () => {
    const rig = makeRig();
    const driver = recordingDriver(rig, 'x');
    rig.bus.addDriver(driver);
    for (const name of ['a', 'b']) rig.bus.addDevice(new Device(name, { compatible: 'x' }));
    rig.bus.removeDriver(driver);
    rig.bus.removeDriver(driver);
    expect(rig.calls.slice(2)).toEqual(['x remove a', 'x remove b']);
    rig.bus.addDriver(driver);
    expect(rig.calls.slice(4)).toEqual(['x probe a', 'x probe b']);
  });
});

describe('binding by hand', () => {
  test('takes a driver that does not match and is not registered, through the same steps', () => {
    const rig = makeRig();
    rig.bus.onConfigure(recordingHook(rig, 'hook'));
    const device = new Device('a', { compatible: 'x' });
    rig.bus.addDevice(device);
    rig.bus.bind(device, recordingDriver(rig, 'stub'));
    expect(rig.calls).toEqual(['hook configure a', 'stub probe a']);
    expect(() => rig.bus.bind(device, recordingDriver(rig, 'z'))).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    );
    rig.bus.unbind(device);
    expect(device.driver).toBeUndefined();
  });

  test('hands the failure to its caller, and knows its own devices only', () => {
    const rig = makeRig();
    const device = new Device('a');
    const driver = recordingDriver(rig, 'z', {
      probe: () => {
        throw new LabError('EPROBE_DEFER', 'not yet');
      },
    });
    expect(() => rig.bus.bind(device, driver)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    rig.bus.addDevice(device);
    expect(() => rig.bus.bind(device, driver)).toThrow(expect.objectContaining({ code: 'EPROBE_DEFER' }));
    expect(rig.bus.deferred()).toEqual([]);
  });
});
