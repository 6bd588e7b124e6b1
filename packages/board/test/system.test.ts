import { describe, expect, test } from '@jest/globals';
import { getDmaOps } from '@iommu-lab/dma-mapping';
import { isLabError, LabError } from '@iommu-lab/machine';
import type { Driver } from '@iommu-lab/driver-core';
import { createSystem, type MasterRow, MSM8X60 } from '../src/index.ts';

function messageOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (isLabError(error)) return error.message;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('createSystem', () => {
  test('every IOMMU and every master of the board is bound to its driver', () => {
    const { bus, soc } = createSystem();
    expect(bus.deferred()).toEqual([]);
    expect(bus.devices.map((d) => d.driver === undefined)).not.toContain(true);
    expect(bus.devices).toHaveLength(soc.smmus.length + soc.masters.length);
  });

  test('masters were deferred until their IOMMUs came', () => {
    const deferred: unknown[] = [];
    createSystem({
      onEvent: (event) => {
        if (event.name === 'bus:probe_deferred') deferred.push(event.fields['device']);
      },
    });
    expect(new Set(deferred)).toEqual(new Set<unknown>(MSM8X60.masters.map((m) => m.name)));
  });

  test('clocks run for the IOMMUs that translate, and for no other', () => {
    const { clocks } = createSystem();
    const running = clocks.all().filter((gate) => gate.isEnabled);
    expect(running.map((gate) => gate.name)).toEqual([
      'smmu_pclk',
      'mdp_axi',
      'ijpeg_axi',
      'vfe_axi',
      'gfx2d0',
    ]);
  });

  test('the display sits behind two IOMMUs with one domain', () => {
    const { bus, iommu } = createSystem();
    const display = bus.device('mdp');
    expect(new Set(display.endpoints.map((e) => e.provider))).toEqual(new Set(['mdp0', 'mdp1']));
    expect(new Set(display.endpoints.map((e) => iommu.domainOf(display, e.context)))).toEqual(
      new Set([iommu.defaultDomainOf(display)]),
    );
  });

  test('a board with a device that gets no driver is refused, with the reason', () => {
    const [camera, ...others] = MSM8X60.masters as [MasterRow, ...MasterRow[]];
    const board = { ...MSM8X60, masters: [{ ...camera, compatible: 'nobody,knows' }, ...others] };
    expect(messageOf(() => createSystem({ board }))).toBe(
      'EINVAL: vfe has no driver: none wants it, or its probe failed',
    );
  });

  test('an unknown board is refused with the ones there are', () => {
    expect(messageOf(() => createSystem({ board: 'pdp11' }))).toBe(
      'ENODEV: unknown board "pdp11"; there is msm8x60',
    );
  });
});

describe("a device of one's own", () => {
  test('reaches what is mapped for it, and nothing else', () => {
    const system = createSystem();
    const { device, master } = system.addDevice('engine', { context: 'gfx2d1_2d1' });
    const dma = getDmaOps(device);
    const buffer = system.frames.allocate();
    const address = dma.mapSingle(buffer, 64, 'from-device');
    expect(master.write(address, Uint8Array.of(1, 2, 3)).state).toBe('done');
    dma.unmapSingle(address, 64, 'from-device');
    const seen = new Uint8Array(3);
    system.cache.cached.read(buffer, seen);
    expect([...seen]).toEqual([1, 2, 3]);
    system.expectNoFaults();
    system.expectNothingMapped();
  });

  test('that leaves a mapping behind is told so, with who made it', () => {
    const system = createSystem();
    const { device } = system.addDevice('engine', { context: 'gfx2d1_2d1' });
    getDmaOps(device).mapSingle(system.frames.allocate(), 64, 'to-device', { site: 'engine: forgotten' });
    expect(messageOf(() => system.expectNothingMapped())).toMatch(
      /^EBUSY: still mapped\ndma:engine: 0x\w+-0x\w+, mapped by "engine: forgotten" at 0 ns$/,
    );
  });

  test('that runs over the end of its buffer is told where that ended', () => {
    const system = createSystem();
    const { device, master } = system.addDevice('engine', { context: 'gfx2d1_2d1' });
    const size = 4096;
    const address = getDmaOps(device).mapSingle(system.frames.allocate(), size, 'from-device', {
      site: 'engine: ring',
    });
    master.write(address, new Uint8Array(size + 4));
    expect(messageOf(() => system.expectNoFaults())).toContain('the last byte of "engine: ring"');
    expect(system.faults.map((fault) => system.iommu.why(fault).conclusion)).toEqual(['beyond-end']);
  });

  test('that writes after the unmap is stopped, and the report names who mapped and who unmapped', () => {
    const system = createSystem();
    const { device, master } = system.addDevice('engine', { context: 'gfx2d1_2d1' });
    const dma = getDmaOps(device);
    const address = dma.mapSingle(system.frames.allocate(), 4096, 'from-device', { site: 'engine: result' });
    dma.unmapSingle(address, 4096, 'from-device', { site: 'engine: too early' });
    master.write(address, new Uint8Array(64));
    const message = messageOf(() => system.expectNoFaults());
    expect(message).toContain('engine: result');
    expect(message).toContain('engine: too early');
    const [fault] = system.faults;
    expect(fault && system.iommu.why(fault).conclusion).toBe('unmapped-before');
  });

  test('whose driver does not want it is off the bus again, and its name is free', () => {
    const system = createSystem();
    const { freeBytes } = system.frames;
    const driver: Driver = {
      name: 'picky',
      matches: () => false,
      probe: () => {
        throw new LabError('EIO', 'not this one');
      },
    };
    expect(messageOf(() => system.addDevice('x', { context: 'gfx2d1_2d1', driver }))).toContain(
      'not this one',
    );
    expect(system.bus.devices.some((device) => device.name === 'x')).toBe(false);
    expect(system.frames.freeBytes).toBe(freeBytes);
    expect(system.addDevice('x', { context: 'gfx2d0_2d0' }).device.driver).toBeDefined();
  });

  test('needs a context that exists and a name that is free', () => {
    const system = createSystem();
    expect(messageOf(() => system.addDevice('x', { context: 'nowhere' }))).toMatch(/^ENODEV: .*gfx2d0_2d0/);
    expect(messageOf(() => system.addDevice('vfe', { context: 'vpe_src' }))).toMatch(/^EEXIST/);
  });
});

test('a wait that nothing can end is reported as a hang, with who waits for what', () => {
  const system = createSystem();
  const { device, master } = system.addDevice('engine', { context: 'gfx2d1_2d1' });
  system.iommu.domainOf(device)?.setFaultHandler(() => 'hold');
  master.read(0x1000, new Uint8Array(4));
  expect(messageOf(() => system.run())).toMatch(/^ETIMEDOUT: hang: .*engine.*0x00001000 is stalled/);
});
