import { describe, expect, test } from '@jest/globals';
import { MmioBus, World, type MmioDevice } from '../src/index.ts';

class RecordingDevice implements MmioDevice {
  readonly log: string[] = [];
  read32(offset: number): number {
    this.log.push(`read ${offset}`);
    return -1;
  }
  write32(offset: number, value: number): void {
    this.log.push(`write ${offset} ${value}`);
  }
}

function setup() {
  const world = new World();
  const bus = new MmioBus(world);
  const device = new RecordingDevice();
  const clock = { isOn: true };
  bus.addWindow({ name: 'smmu', base: 0x7500000, sizeBytes: 0x100000, device, isClocked: () => clock.isOn });
  return { world, bus, device, clock };
}

describe('MmioBus', () => {
  test('decodes an address into an offset; values are unsigned', () => {
    const { bus, device } = setup();
    expect(bus.read32(0x7500010)).toBe(0xffff_ffff);
    bus.write32(0x75ffffc, -2);
    expect(device.log).toEqual(['read 16', `write ${0xffffc} ${0xffff_fffe}`]);
  });

  test.each([0x74ffffc, 0x7600000, 0x7500002])('%d: nothing answers there, EFAULT', (address) => {
    const { bus, device } = setup();
    expect(() => bus.read32(address)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    expect(() => bus.write32(address, 0)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
    expect(device.log).toEqual([]);
  });

  test('registers without their clock are EIO and not reached (R55)', () => {
    const { bus, device, clock } = setup();
    clock.isOn = false;
    expect(() => bus.read32(0x7500000)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(() => bus.write32(0x7500000, 0)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(device.log).toEqual([]);
    clock.isOn = true;
    bus.read32(0x7500000);
    expect(device.log).toEqual(['read 0']);
  });

  test('windows do not overlap: EBUSY; the neighbour is welcome', () => {
    const { bus, device } = setup();
    const window = { name: 'other', sizeBytes: 0x1000, device };
    expect(() => bus.addWindow({ ...window, base: 0x75ff000 })).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    );
    expect(() => bus.addWindow({ ...window, base: 0x74ff004 })).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    );
    bus.addWindow({ ...window, base: 0x7600000 });
    bus.addWindow({ ...window, base: 0x74ff000 });
  });

  test.each([
    { base: 2, sizeBytes: 4 },
    { base: 0, sizeBytes: 0 },
  ])('a window %o is EINVAL', (window) => {
    const { bus, device } = setup();
    expect(() => bus.addWindow({ name: 'bad', device, ...window })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  test('the interposer hears of writes, after the device did', () => {
    const { world, bus, device } = setup();
    const seen: string[] = [];
    world.interposer.observe((kind, address) => seen.push(`${kind} ${address} after ${device.log.length}`));
    bus.read32(0x7500000);
    bus.write32(0x7500004, 1);
    expect(seen).toEqual([`mmio-write ${0x7500004} after 2`]);
  });
});
