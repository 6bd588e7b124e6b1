import { describe, expect, test } from '@jest/globals';
import { Device, type Resource } from '@iommu-lab/driver-core';
import { PLATFORM_DATA, type MsmSmmuPlatformData } from '@iommu-lab/msm-bus';
import { WINDOW_BYTES } from '@iommu-lab/smmu-hw/regs';
import { MSM_2010 } from '@iommu-lab/page-table';
import { MsmIommuDriver } from '../src/index.ts';
import { PAGE_A, ROT_BASE, System } from './fixture.ts';

const PLATFORM: MsmSmmuPlatformData = {
  provider: 'rot',
  contexts: [{ provider: 'rot', context: 'rot_src', bank: 0, machineIds: [0] }],
  contextBanks: 2,
  interfaceClock: 'smmu_pclk',
  coreClock: 'rot_axi',
};
const PHYSBASE: Resource = { kind: 'memory', name: 'physbase', start: ROT_BASE, sizeBytes: WINDOW_BYTES };
const SECURE_IRQ: Resource = { kind: 'interrupt', name: 'secure_irq', irq: 91 };

function probe(platform: MsmSmmuPlatformData | undefined, resources: readonly Resource[]): System {
  const system = new System({ withoutDriver: true });
  const device = new Device('smmu', { compatible: 'qcom,apq8064-iommu', resources });
  if (platform !== undefined) device.set(PLATFORM_DATA, platform);
  system.bus.addDevice(device);
  system.bus.bind(device, system.driver);
  return system;
}

describe('probe', () => {
  test('needs one interrupt and can do without a core clock', () => {
    const { driver } = probe(PLATFORM, [PHYSBASE, SECURE_IRQ]);
    expect(driver.instances.map(({ name }) => name)).toEqual(['msm-smmu rot']);
  });

  test.each<[string, MsmSmmuPlatformData | undefined, readonly Resource[], string]>([
    ['without platform data', undefined, [PHYSBASE, SECURE_IRQ], 'ENODEV'],
    [
      'without the interface clock',
      { ...PLATFORM, interfaceClock: 'nope' },
      [PHYSBASE, SECURE_IRQ],
      'ENODEV',
    ],
    [
      'with a core clock that does not exist',
      { ...PLATFORM, coreClock: 'nope' },
      [PHYSBASE, SECURE_IRQ],
      'ENODEV',
    ],
    ['without physbase', PLATFORM, [SECURE_IRQ], 'ENODEV'],
    ['without secure_irq', PLATFORM, [PHYSBASE], 'ENODEV'],
    ['with an interrupt nobody wired', PLATFORM, [PHYSBASE, { ...SECURE_IRQ, irq: 7 }], 'EINVAL'],
    [
      'with a context on a bank that is not there',
      { ...PLATFORM, contextBanks: 0 },
      [PHYSBASE, SECURE_IRQ],
      'EINVAL',
    ],
    [
      'with one machine id in two banks',
      {
        ...PLATFORM,
        contexts: [...PLATFORM.contexts, { provider: 'rot', context: 'x', bank: 1, machineIds: [0] }],
      },
      [PHYSBASE, SECURE_IRQ],
      'EINVAL',
    ],
    ['where no registers answer', PLATFORM, [{ ...PHYSBASE, start: 0x10000000 }, SECURE_IRQ], 'EFAULT'],
  ])('%s is refused', (_name, platform, resources, code) => {
    expect(() => probe(platform, resources)).toThrow(expect.objectContaining({ code }));
  });

  test('of a window that is taken is refused (EBUSY)', () => {
    const system = new System();
    const device = new Device('twin', { compatible: 'msm_iommu', resources: [PHYSBASE, SECURE_IRQ] });
    device.set(PLATFORM_DATA, { ...PLATFORM, provider: 'twin', contexts: [] });
    expect(() => {
      system.bus.addDevice(device);
      system.bus.bind(device, system.driver);
    }).toThrow(expect.objectContaining({ code: 'EBUSY' }));
  });

  test('of registers that are no SMMU fails the sanity check: PAR stays 0 (ENODEV)', () => {
    const system = new System({ withoutDriver: true });
    system.rot.read32 = () => 0;
    const device = system.bus.device('msm_iommu.rot');
    expect(() => system.bus.bind(device, system.driver)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
    expect(system.clocksOn).toBe(0);
  });

  test('lets nothing bypass, from the first write on, however often it is done', () => {
    const system = new System({ withoutDriver: true });
    const { rot, bus, driver } = system;
    const device = bus.device('msm_iommu.rot');
    const bypassesSeen: number[] = [];
    for (let round = 0; round < 2; round++) {
      const before = rot.statistics.bypasses;
      let isFirst = true;
      const stop = system.world.interposer.observe((kind) => {
        // The power-on state is bypass; the fence of the first streams is being put up in the first 32 writes.
        if (kind !== 'mmio-write') return;
        if (!isFirst || round > 0) system.dmaRead(rot, 0, PAGE_A);
        isFirst = false;
      });
      bus.bind(device, driver);
      stop();
      bypassesSeen.push(rot.statistics.bypasses - before);
      bus.unbind(device);
    }
    expect(bypassesSeen).toEqual([0, 0]);
  });
});

describe('remove', () => {
  test('leaves streams blocked, memory given back, clocks off and interrupts free; probing again works', () => {
    const system = new System();
    const { src, dst } = system.devices;
    const device = system.bus.device('msm_iommu.rot');
    for (const user of [src, dst]) system.bus.unbind(user);
    const mdpOnly = system.tables.allocatedBytes - 0x4000;
    system.bus.unbind(device);
    expect(system.driver.instances.map(({ provider }) => provider)).toEqual(['mdp0']);
    expect(system.tables.allocatedBytes).toBe(mdpOnly);
    expect(system.dmaRead(system.rot, 0, PAGE_A)).toBe('faulted');
    system.world.clock.run();
    expect(system.iommu.faults).toEqual([]);
    system.bus.bind(device, system.driver);
    expect(system.driver.instances).toHaveLength(2);
    expect(system.clocksOn).toBe(0);
  });

  test('while devices use it leaves it up and served', () => {
    const system = new System({ config: { stallFaults: false } });
    const events: string[] = [];
    system.world.events.subscribe((event) => events.push(event.name));
    const domain = system.mapped(system.devices.src, 'd', 0x1000, PAGE_A);
    const device = system.bus.device('msm_iommu.rot');
    system.bus.unbind(device);
    expect(events).toContain('msm_iommu:still_in_use');
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe(0);
    domain.unmap(0x1000, 0x1000);
    expect(system.dmaRead(system.rot, 0, 0x1000)).toBe('faulted');
    system.bus.bind(device, system.driver);
    expect(system.driver.instances).toHaveLength(2);
  });
});

describe('configuration', () => {
  test.each([
    [{ format: MSM_2010 }, 'EOPNOTSUPP'],
    [{ lastAsid: 0 }, 'EINVAL'],
    [{ lastAsid: 255 }, 'EINVAL'],
    [{ maxPageInvalidations: -1 }, 'EINVAL'],
  ])('%j is refused with %s', (config, code) => {
    const { iommu, tables } = new System({ withoutDriver: true });
    expect(() => new MsmIommuDriver({ iommu, tables, config })).toThrow(expect.objectContaining({ code }));
  });
});
