/** The driver on its bus, and the function that sets all of it up. */
import { describe, expect, test } from '@jest/globals';
import { Bus, Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu, READ_WRITE } from '@iommu-lab/iommu-core';
import { BusMaster, MmioBus, PhysicalMemory, World } from '@iommu-lab/machine';
import { createFlatIommu, FLAT_COMPATIBLE, FlatIommuDriver, ReservedTableMemory } from '../src/index.ts';

const RAM = 0x8000_0000;

function setUp() {
  const world = new World();
  const memory = new PhysicalMemory([{ base: RAM, sizeBytes: 0x20_0000 }]);
  const tables = new ReservedTableMemory(world, memory, RAM, 0x8_0000);
  return { world, memory, tables };
}

function deviceAt(name: string, endpoints: Device['endpoints']): Device {
  const device = new Device(name);
  device.endpoints = endpoints;
  return device;
}

describe('createFlatIommu', () => {
  test('two IOMMUs of one system share interrupts, register bus, core and a domain', () => {
    const { world, memory, tables } = setUp();
    const iommu = new Iommu(world);
    const shared = {
      world,
      memory,
      tables,
      iommu,
      interrupts: new InterruptController(world),
      mmio: new MmioBus(world),
    };
    const one = createFlatIommu({ ...shared, provider: 'one' });
    const two = createFlatIommu({ ...shared, provider: 'two', irq: 33, registerBase: 0x0f01_0000 });
    const device = deviceAt('both', [one.endpoint(3), two.endpoint(5)]);
    iommu.configure(device);
    const domain = iommu.allocPagingDomain(device);
    iommu.attach(domain, device);
    const masters = [
      new BusMaster(world, { name: 'left', streamId: 3, port: one.hardware }),
      new BusMaster(world, { name: 'right', streamId: 5, port: two.hardware }),
    ];
    const states = (): string[] => masters.map((m) => m.write(0x1000_0000, Uint8Array.of(1)).state);
    domain.map(0x1000_0000, RAM + 0x10_0000, 0x4000, READ_WRITE);
    expect(states()).toEqual(['done', 'done']);
    domain.unmap(0x1000_0000, 0x4000);
    expect(states()).toEqual(['faulted', 'faulted']);
    world.clock.run();
    expect(iommu.faults.map((f) => [f.provider, f.context, f.device])).toEqual([
      ['one', 'stream3', 'both'],
      ['two', 'stream5', 'both'],
    ]);
  });

  test('a provider that has an IOMMU is refused (EEXIST) before anything is wired', () => {
    const { world, memory, tables } = setUp();
    const shared = { world, memory, tables, iommu: new Iommu(world), mmio: new MmioBus(world) };
    const interrupts = new InterruptController(world);
    const base = 0x0f01_0000;
    createFlatIommu({ ...shared, interrupts });
    const again = { ...shared, interrupts, irq: 33, registerBase: base };
    expect(() => createFlatIommu(again)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(() => interrupts.mask(33)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(createFlatIommu({ ...again, provider: 'two' }).instance.provider).toBe('two');
  });

  test('devices that share a stream share its table: one leaves, the other goes on', () => {
    const { world, memory, tables } = setUp();
    const flat = createFlatIommu({ world, memory, tables });
    const { iommu } = flat;
    const [stays, leaves] = ['stays', 'leaves'].map((name) => deviceAt(name, [flat.endpoint(2)])) as [
      Device,
      Device,
    ];
    for (const device of [stays, leaves]) iommu.configure(device);
    const domain = iommu.allocPagingDomain(stays);
    domain.map(0x1000_0000, RAM + 0x10_0000, 0x4000, READ_WRITE);
    iommu.attachGroup(domain, stays);
    const master = new BusMaster(world, { name: 'both', streamId: 2, port: flat.hardware });
    const write = (): string => master.write(0x1000_0000, Uint8Array.of(1)).state;
    iommu.cleanup(leaves);
    expect(write()).toBe('done');
    domain.unmap(0x1000_0000, 0x4000);
    expect(write()).toBe('faulted');
    domain.map(0x1000_0000, RAM + 0x10_0000, 0x4000, READ_WRITE);
    iommu.cleanup(stays);
    expect(write()).toBe('faulted');
    domain.free();
    expect(tables.allocatedBytes).toBe(0);
  });

  test('the page the hardware keeps for its doorbell is a reserved region of every endpoint', () => {
    const flat = createFlatIommu(setUp());
    expect(flat.instance.reservedRegions?.(flat.endpoint(1))).toEqual([
      { name: 'doorbell', kind: 'msi', iova: 0x1800_0000, sizeBytes: 0x4000 },
    ]);
  });

  test('it is removed once nobody sits behind it', () => {
    const { world, memory, tables } = setUp();
    const flat = createFlatIommu({ world, memory, tables });
    const device = deviceAt('dma', [flat.endpoint(0)]);
    flat.iommu.configure(device);
    expect(() => flat.remove()).toThrow('EBUSY');
    flat.iommu.cleanup(device);
    flat.remove();
    expect(flat.iommu.instances).toEqual([]);
    expect(tables.allocatedBytes).toBe(0);
    expect(() => flat.iommu.configure(device)).toThrow('EPROBE_DEFER');
  });

  test('it can go while it is in use: its devices are blocked, and their domains can be freed', () => {
    const { world, memory, tables } = setUp();
    const flat = createFlatIommu({ world, memory, tables });
    const device = deviceAt('dma', [flat.endpoint(0)]);
    flat.iommu.configure(device);
    const domain = flat.iommu.allocPagingDomain(device);
    domain.map(0x1000_0000, RAM + 0x10_0000, 0x4000, READ_WRITE);
    flat.iommu.attach(domain, device);
    const master = new BusMaster(world, { name: 'dma', streamId: 0, port: flat.hardware });
    expect(master.write(0x1000_0000, Uint8Array.of(1)).state).toBe('done');
    flat.device.bus?.unbind(flat.device);
    expect([flat.iommu.instances, flat.device.driver]).toEqual([[], undefined]);
    expect(master.write(0x1000_0000, Uint8Array.of(1)).state).toBe('faulted');
    flat.iommu.cleanup(device);
    domain.free();
    expect(tables.allocatedBytes).toBe(0);
  });

  test('a stream there is not is refused', () => {
    const flat = createFlatIommu({ ...setUp(), streams: 2 });
    expect(() => flat.endpoint(2)).toThrow('ENODEV');
    const stranger = deviceAt('stranger', [{ provider: 'flat', context: 'stream2', streamIds: [2] }]);
    expect(() => flat.iommu.configure(stranger)).toThrow('ENODEV');
  });
});

describe('the driver', () => {
  function busWith(resources: Device['resources']) {
    const { world, memory, tables } = setUp();
    const iommu = new Iommu(world);
    const bus = new Bus('soc', {
      world,
      mmio: new MmioBus(world),
      interrupts: new InterruptController(world),
    });
    const device = new Device('flat', { compatible: FLAT_COMPATIBLE, resources });
    bus.addDevice(device);
    return { memory, iommu, bus, device, driver: new FlatIommuDriver(iommu, tables) };
  }

  test('declines a device without its resources', () => {
    const { bus, device, driver, iommu } = busWith([]);
    expect(() => bus.bind(device, driver)).toThrow('ENODEV');
    expect([device.driver, iommu.instances.length]).toEqual([undefined, 0]);
  });

  test('takes no second IOMMU of one name, and leaves the first as it is', () => {
    const { world, memory, tables } = setUp();
    const shared = { world, memory, tables, iommu: new Iommu(world), mmio: new MmioBus(world) };
    const first = createFlatIommu(shared);
    const device = deviceAt('dma', [first.endpoint(0)]);
    first.iommu.configure(device);
    expect(() => createFlatIommu({ ...shared, registerBase: 0x0f01_0000 })).toThrow('EEXIST');
    const domain = first.iommu.allocPagingDomain(device);
    domain.map(0x1000_0000, RAM + 0x10_0000, 0x4000, READ_WRITE);
    first.iommu.attach(domain, device);
    const master = new BusMaster(world, { name: 'dma', streamId: 0, port: first.hardware });
    expect(master.read(0x1000_0000, new Uint8Array(8)).state).toBe('done');
  });
});

describe('ReservedTableMemory', () => {
  test('hands out whole tables until there are no more, and takes them back', () => {
    const { world, memory } = setUp();
    const tables = new ReservedTableMemory(world, memory, RAM, 0x2_0000);
    const [a, b] = [tables.allocate(0x1_0000), tables.allocate(0x1_0000)];
    expect([a, b, tables.allocatedBytes]).toEqual([RAM, RAM + 0x1_0000, 0x2_0000]);
    expect(() => tables.allocate(0x1_0000)).toThrow('ENOMEM');
    tables.write32(a, 7);
    tables.free(a);
    expect(tables.read32(tables.allocate(0x1_0000))).toBe(0);
  });

  test.each([
    [RAM + 0x1000, 0x1_0000],
    [RAM, 0x1000],
    [0xffff_0000, 0x2_0000],
  ])('%d, %d bytes long, is refused', (base, sizeBytes) => {
    const { world, memory } = setUp();
    expect(() => new ReservedTableMemory(world, memory, base, sizeBytes)).toThrow('EINVAL');
  });
});
