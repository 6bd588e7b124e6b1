/** One SMMU behind the real driver, bus and core, nobody watching: a device for each bank, each with a domain attached. */
import { Device, InterruptController } from '@iommu-lab/driver-core';
import { Iommu, type IommuDomain } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory } from '@iommu-lab/kernel-mm';
import { CpuCache, InterruptLine, MmioBus, PhysicalMemory, World, physAddr } from '@iommu-lab/machine';
import { ClockTree, MsmBus, MsmDevice, PLATFORM_DATA, type MsmIommuContext } from '@iommu-lab/msm-bus';
import { MsmSmmu } from '@iommu-lab/smmu-hw';
import { TTBR0, WINDOW_BYTES, contextOffset } from '@iommu-lab/smmu-hw/regs';
import { MsmIommuDriver } from '../src/index.ts';

/**
 * Where tables live. `coherent`: the walker sees what the CPU stores, nothing is cleaned and no cache is modelled.
 * `cached`: stores go through the model of the CPU's cache, and descriptors are cleaned. `snooped`: through that cache,
 * into which the walker looks; nothing is cleaned.
 */
export type TableStorage = 'coherent' | 'cached' | 'snooped';

const SMMU_BASE = 0x07700000;
const SECURE_IRQ = 91;
const NON_SECURE_IRQ = 92;
const RAM = { base: 0x40000000, sizeBytes: 0x4000000 };
/** As the board has it, but that it does nothing of its own accord. */
const CACHE = { lineBytes: 32, sets: 256, ways: 4, evictOneIn: 0, speculateOneIn: 0 };
const TABLE_ADDRESS = 0xffffc000;

export class Rig {
  readonly iommu: Iommu;
  readonly devices: readonly MsmDevice[];
  /** One for each device, attached to it. */
  readonly domains: readonly IommuDomain[];
  readonly memory: PhysicalMemory = new PhysicalMemory([RAM]);
  readonly #roots: readonly number[];
  readonly #cpu: { read32(address: number): number };

  constructor(banks: number, storage: TableStorage = 'coherent') {
    const world = new World();
    const { memory } = this;
    const cache = storage === 'coherent' ? undefined : new CpuCache(world, memory, CACHE);
    const frames = new FrameAllocator(world, [RAM]);
    const port = cache?.cached ?? memory;
    const tables = new KernelTableMemory(world, frames, port, cache, { coherent: storage === 'snooped' });
    this.#cpu = { read32: (address) => port.read32(physAddr(address)) };
    this.iommu = new Iommu(world, { defaultDomain: 'blocked' });

    const contexts = Array.from({ length: banks }, (_, bank) => contextOf(bank));
    const [secureLine, nonSecureLine] = [new InterruptLine('secure'), new InterruptLine('non-secure')];
    const snooped = cache?.snooped ?? memory;
    const smmu = new MsmSmmu(
      world,
      { name: 'bench', contextBanks: banks },
      { memory, snooped, secureLine, nonSecureLine },
    );
    const interrupts = new InterruptController(world);
    interrupts.connect(SECURE_IRQ, secureLine);
    interrupts.connect(NON_SECURE_IRQ, nonSecureLine);
    const mmio = new MmioBus(world);
    mmio.addWindow({ name: 'bench', base: SMMU_BASE, sizeBytes: WINDOW_BYTES, device: smmu });
    const wiring = contexts.map((context, bank) => ({ device: `master${bank}`, contexts: [context] }));
    const clocks = new ClockTree(world, ['smmu_pclk']);
    const bus = new MsmBus({ world, mmio, interrupts }, wiring, clocks);
    bus.onConfigure(this.iommu);
    const config = { coherentWalk: storage !== 'cached' };
    bus.addDriver(new MsmIommuDriver({ iommu: this.iommu, tables, walkerMemory: memory, config }));
    bus.addDriver({ name: 'master', matches: (d: Device) => d.compatible === 'master', probe: () => {} });
    bus.addDevice(smmuDevice(contexts));
    this.devices = contexts.map((_, bank) => new MsmDevice(`master${bank}`, { compatible: 'master' }));
    for (const device of this.devices) bus.addDevice(device);
    world.clock.run();

    this.domains = this.devices.map((device) => {
      const domain = this.iommu.allocPagingDomain(device, device.name);
      this.iommu.attach(domain, device);
      return domain;
    });
    this.#roots = this.domains.map(
      (_, bank) => (smmu.read32(contextOffset(bank, TTBR0)) & TABLE_ADDRESS) >>> 0,
    );
  }

  /** The word that maps `iova` in the table of a bank's domain, as the CPU sees it; 0: nothing does. */
  leafAt(bank: number, iova: number): number {
    const entry = this.#cpu.read32((this.#roots[bank] as number) + (iova >>> 20) * 4);
    if ((entry & 3) !== 1) return entry;
    return this.#cpu.read32(((entry & 0xfffffc00) >>> 0) + ((iova >>> 12) & 0xff) * 4);
  }
}

function contextOf(bank: number): MsmIommuContext {
  return { provider: 'bench', context: `context${bank}`, bank, machineIds: [bank] };
}

function smmuDevice(contexts: readonly MsmIommuContext[]): Device {
  const device = new Device('msm_iommu.bench', {
    compatible: 'msm_iommu',
    resources: [
      { kind: 'memory', name: 'physbase', start: SMMU_BASE, sizeBytes: WINDOW_BYTES },
      { kind: 'interrupt', name: 'secure_irq', irq: SECURE_IRQ },
      { kind: 'interrupt', name: 'nonsecure_irq', irq: NON_SECURE_IRQ },
    ],
  });
  device.set(PLATFORM_DATA, {
    provider: 'bench',
    contexts,
    contextBanks: contexts.length,
    interfaceClock: 'smmu_pclk',
  });
  return device;
}
