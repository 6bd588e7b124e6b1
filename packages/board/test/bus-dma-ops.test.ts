/** A bus with DMA operations of its own, as devices and their drivers see it. */
import { describe, expect, test } from '@jest/globals';
import type { Device } from '@iommu-lab/driver-core';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { isLabError } from '@iommu-lab/machine';
import { createSystem, type System } from '../src/index.ts';
import { BusDmaOps } from '../src/which-iommu/bus-dma-ops.ts';

interface Fixture {
  readonly system: System;
  readonly ops: BusDmaOps;
  /** A device that the IOMMU core has given up. */
  take(name: string): Device;
}

function setup(): Fixture {
  const system = createSystem();
  const { world, frames, cache, smmuDriver, bus } = system;
  const ops = new BusDmaOps(world, { frames, memory: cache, maintenance: cache }, () => smmuDriver.instances);
  return {
    system,
    ops,
    take(name) {
      const device = bus.device(name);
      bus.unbind(device);
      return device;
    },
  };
}

function stateOf({ system }: Fixture, name: string, address: number, context?: string): string {
  const transfer = system.masterOf(name, context).read(address, new Uint8Array(4));
  system.run();
  return transfer.state;
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return 'ok';
  } catch (error) {
    if (isLabError(error)) return error.code;
    throw error;
  }
}

describe('a bus with DMA operations of its own', () => {
  test('gives a device a table of its own: what is mapped for one is mapped for no other', () => {
    const fixture = setup();
    const { ops, system } = fixture;
    const [first, second] = [fixture.take('gfx2d0'), fixture.take('ijpeg')];
    for (const device of [first, second]) ops.configure(device);
    const address = getDmaOps(first).mapSingle(system.frames.allocate(), 64, 'bidirectional');
    expect([stateOf(fixture, 'gfx2d0', address), stateOf(fixture, 'ijpeg', address)]).toEqual([
      'done',
      'faulted',
    ]);
    getDmaOps(first).unmapSingle(address, 64, 'bidirectional');
    expect(stateOf(fixture, 'gfx2d0', address)).toBe('faulted');
  });

  test('reaches every IOMMU that a device sits behind with one mapping', () => {
    const fixture = setup();
    const { ops, system } = fixture;
    const display = fixture.take('mdp');
    ops.configure(display);
    const frame = system.frames.allocate();
    const [segment] = getDmaOps(display).mapSg([{ address: frame, length: 4096 }], 'to-device');
    for (const context of ['mdp_vg1', 'mdp_rgb1', 'mdp_vg2', 'mdp_rgb2']) {
      expect(stateOf(fixture, 'mdp', segment?.address ?? 0, context)).toBe('done');
    }
  });

  test('takes table and access back when the device leaves', () => {
    const fixture = setup();
    const { ops, system } = fixture;
    const device = fixture.take('gfx2d0');
    const before = system.tables.allocatedBytes;
    ops.configure(device);
    const address = getDmaOps(device).mapSingle(system.frames.allocate(), 64, 'to-device');
    expect(ops.tableBytesOf(device)).toBe(0x4400);
    ops.cleanup(device);
    expect([stateOf(fixture, 'gfx2d0', address), system.tables.allocatedBytes - before]).toEqual([
      'faulted',
      0,
    ]);
    expect([ops.tableBytesOf(device), codeOf(() => getDmaOps(device))]).toEqual([0, 'ENODEV']);
  });

  test('refuses a device behind an IOMMU it knows nothing of, or that cannot be attached, with nothing left', () => {
    const fixture = setup();
    const { ops, system } = fixture;
    const device = fixture.take('mdp');
    const before = system.tables.allocatedBytes;
    const endpoints = device.endpoints;
    device.endpoints = [...endpoints, { provider: 'elsewhere', context: 'x', streamIds: [0] }];
    expect(codeOf(() => ops.configure(device))).toBe('ENODEV');
    device.endpoints = [...endpoints, { provider: 'mdp1', context: 'mdp_vg1', streamIds: [0] }];
    expect(codeOf(() => ops.configure(device))).toBe('ENODEV');
    device.endpoints = endpoints;
    expect([system.tables.allocatedBytes, codeOf(() => getDmaOps(device))]).toEqual([before, 'ENODEV']);
    ops.configure(device);
    expect(ops.tableBytesOf(device)).toBe(0x4000);
  });

  test('a mapping that fails half-way maps nothing', () => {
    const fixture = setup();
    const { ops, system } = fixture;
    const device = fixture.take('gfx2d0');
    ops.configure(device);
    // Two second-level tables: the second one is not there.
    const entries = Array.from({ length: 300 }, () => ({ address: system.frames.allocate(), length: 4096 }));
    system.world.failpoints.failNth(2, 'kernel-mm.table');
    expect(codeOf(() => getDmaOps(device).mapSg(entries, 'to-device'))).toBe('ENOMEM');
    expect([ops.tableBytesOf(device), getDmaOps(device).mappedBytes]).toEqual([0x4000, 0]);
    getDmaOps(device).mapSg(entries, 'to-device');
    expect(ops.tableBytesOf(device)).toBe(0x4000 + 2 * 0x400);
  });
});
