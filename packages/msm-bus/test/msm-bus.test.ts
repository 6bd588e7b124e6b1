import { describe, expect, test } from '@jest/globals';
import { Device, type Endpoint, InterruptController } from '@iommu-lab/driver-core';
import { MmioBus, World } from '@iommu-lab/machine';
import {
  ClockTree,
  MsmBus,
  MsmDevice,
  type MsmIommuContext,
  PLATFORM_DATA,
  type WiringRow,
} from '../src/index.ts';

const ROT_SRC: MsmIommuContext = { provider: 'rot', context: 'rot_src', bank: 0, machineIds: [0] };
const ROT_DST: MsmIommuContext = { provider: 'rot', context: 'rot_dst', bank: 1, machineIds: [1] };
const MDP_VG1: MsmIommuContext = { provider: 'mdp0', context: 'mdp_vg1', bank: 0, machineIds: [0, 2] };
const MDP_VG2: MsmIommuContext = { provider: 'mdp1', context: 'mdp_vg2', bank: 0, machineIds: [0, 2] };

const WIRING: readonly WiringRow[] = [
  { device: 'rotator', contexts: [ROT_SRC, ROT_DST] },
  { device: 'mdp', contexts: [MDP_VG1, MDP_VG2] },
];

function makeBus(wiring: readonly WiringRow[] = WIRING): MsmBus {
  const world = new World();
  const services = { world, mmio: new MmioBus(world), interrupts: new InterruptController(world) };
  return new MsmBus(services, wiring, new ClockTree(world, ['smmu_pclk']));
}

/** Adds a driver that takes every device and does nothing. */
function takeAll(bus: MsmBus): void {
  bus.addDriver({ name: 'any', matches: () => true, probe: () => undefined });
}

describe('MsmBus', () => {
  test('writes a device’s contexts and endpoints, at one IOMMU or several', () => {
    const bus = makeBus();
    takeAll(bus);
    const rotator = new MsmDevice('rotator');
    const mdp = new MsmDevice('mdp');
    bus.addDevice(rotator);
    bus.addDevice(mdp);
    expect(rotator.iommu).toEqual([ROT_SRC, ROT_DST]);
    expect(rotator.endpoints).toEqual([
      { provider: 'rot', context: 'rot_src', streamIds: [0] },
      { provider: 'rot', context: 'rot_dst', streamIds: [1] },
    ]);
    expect(mdp.endpoints.map((e) => e.provider)).toEqual(['mdp0', 'mdp1']);
  });

  test('has written them before any hook added to it runs, and before the driver probes', () => {
    const bus = makeBus();
    const seen: (readonly Endpoint[])[] = [];
    bus.onConfigure({ configure: (d) => seen.push(d.endpoints), cleanup: (d) => seen.push(d.endpoints) });
    bus.addDriver({ name: 'any', matches: () => true, probe: (d) => seen.push(d.endpoints) });
    bus.addDevice(new MsmDevice('rotator'));
    bus.unbind(bus.device('rotator'));
    expect(seen.map((e) => e.length)).toEqual([2, 2, 2]);
  });

  test('a device without a row has no IOMMU', () => {
    const bus = makeBus();
    takeAll(bus);
    const uart = new MsmDevice('uart');
    bus.addDevice(uart);
    expect([uart.iommu, uart.endpoints]).toEqual([[], []]);
  });

  test('a plain device gets endpoints too: the wiring is by name', () => {
    const bus = makeBus();
    takeAll(bus);
    const rotator = new Device('rotator');
    bus.addDevice(rotator);
    expect(rotator.endpoints).toHaveLength(2);
  });

  test('wires stay when the driver leaves, and come off with the device', () => {
    const bus = makeBus();
    takeAll(bus);
    const rotator = new MsmDevice('rotator');
    bus.addDevice(rotator);
    bus.unbind(rotator);
    expect(rotator.endpoints).toHaveLength(2);
    bus.removeDevice(rotator);
    expect([rotator.iommu, rotator.endpoints]).toEqual([[], []]);
  });

  test('what firmware reserves for a device is written with its wires, and goes with them', () => {
    const splash = { name: 'splash', kind: 'direct', iova: 0x7f800000, sizeBytes: 0x800000 } as const;
    const bus = makeBus([{ device: 'rotator', contexts: [ROT_SRC], reservedRegions: [splash] }]);
    takeAll(bus);
    const rotator = new MsmDevice('rotator');
    bus.addDevice(rotator);
    expect(rotator.reservedRegions).toEqual([splash]);
    bus.removeDevice(rotator);
    expect(rotator.reservedRegions).toEqual([]);
  });

  test('a device of another bus is not touched', () => {
    const bus = makeBus();
    const other = makeBus();
    takeAll(other);
    const rotator = new MsmDevice('rotator');
    other.addDevice(rotator);
    bus.removeDevice(rotator);
    expect(rotator.iommu).toHaveLength(2);
  });

  test('finds a context by its name, and answers undefined for a name that is none', () => {
    const bus = makeBus();
    expect(bus.context('mdp_vg2')).toBe(MDP_VG2);
    expect(bus.context('vfe_misc')).toBeUndefined();
  });

  test('a table that cannot be soldered is refused', () => {
    const row = (device: string, context: Partial<MsmIommuContext>): WiringRow => ({
      device,
      contexts: [{ ...ROT_SRC, ...context }],
    });
    const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });
    expect(() => makeBus([row('a', {}), row('a', { context: 'x' })])).toThrow(code('EEXIST'));
    expect(() => makeBus([row('a', {}), row('b', { bank: 1 })])).toThrow(code('EEXIST'));
    expect(() => makeBus([row('a', { machineIds: [32] })])).toThrow(code('EINVAL'));
    expect(() => makeBus([row('a', { machineIds: [0.5] })])).toThrow(code('EINVAL'));
    expect(() => makeBus([{ device: 'a', contexts: [ROT_SRC, { ...ROT_SRC, bank: 1 }] }])).toThrow(
      code('EEXIST'),
    );
  });

  test('a row that is refused leaves nothing behind, so that the mended one is taken', () => {
    const bus = makeBus([]);
    const wrong = { ...ROT_DST, machineIds: [32] };
    expect(() => bus.wire({ device: 'rotator', contexts: [ROT_SRC, wrong] })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(bus.context('rot_src')).toBeUndefined();
    bus.wire({ device: 'rotator', contexts: [{ ...ROT_SRC, bank: 2 }, ROT_DST] });
    expect(bus.context('rot_src')?.bank).toBe(2);
  });

  test('a row that is taken back makes room for another of the same device', () => {
    const bus = makeBus([]);
    const unwire = bus.wire({ device: 'rotator', contexts: [ROT_SRC] });
    unwire();
    bus.wire({ device: 'rotator', contexts: [ROT_DST] });
    const rotator = new MsmDevice('rotator');
    bus.addDevice(rotator);
    bus.bind(rotator, { name: 'any', matches: () => false, probe: () => undefined });
    expect(rotator.iommu).toEqual([ROT_DST]);
  });
});

describe('PLATFORM_DATA', () => {
  test('carries what the board says of an SMMU instance to its driver', () => {
    const smmu = new Device('msm_iommu.rot', { compatible: 'qcom,msm-smmu' });
    smmu.set(PLATFORM_DATA, {
      provider: 'rot',
      contexts: [ROT_SRC, ROT_DST],
      contextBanks: 2,
      interfaceClock: 'smmu_pclk',
    });
    expect(smmu.require(PLATFORM_DATA).contexts.map((c) => c.bank)).toEqual([0, 1]);
  });
});
