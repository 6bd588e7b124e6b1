/** A small SoC around the driver: real SMMUs, memory, cache, clocks and bus; the driver is reached from the outside. */
import { Device, InterruptController } from '@iommu-lab/driver-core';
import { type DefaultDomainKind, Iommu, READ_WRITE, type IommuDomain } from '@iommu-lab/iommu-core';
import { FrameAllocator, KernelTableMemory } from '@iommu-lab/kernel-mm';
import {
  type AccessAttributes,
  BusMaster,
  CpuCache,
  DEFAULT_ATTRIBUTES,
  InterruptLine,
  MmioBus,
  PhysicalMemory,
  World,
  type MmioPort,
  type PhysAddr,
} from '@iommu-lab/machine';
import { ClockTree, MsmBus, MsmDevice, PLATFORM_DATA, type MsmIommuContext } from '@iommu-lab/msm-bus';
import { MsmSmmu, type MsmSmmuConfig } from '@iommu-lab/smmu-hw';
import { WINDOW_BYTES } from '@iommu-lab/smmu-hw/regs';
import { MsmIommuDriver, type MsmIommuConfig, type MsmIommuInstance } from '../src/index.ts';

export const ROT_BASE = 0x07700000;
export const MDP_BASE = 0x07500000;
export const RAM_BASE = 0x40000000;
/** Data pages of tests; table frames come from above them. */
export const PAGE_A = 0x40010000;
export const PAGE_B = 0x40020000;

const CONTEXTS: Record<string, readonly MsmIommuContext[]> = {
  rot: [
    { provider: 'rot', context: 'rot_src', bank: 0, machineIds: [0] },
    { provider: 'rot', context: 'rot_dst', bank: 1, machineIds: [1] },
  ],
  mdp0: [
    { provider: 'mdp0', context: 'mdp_vg1', bank: 0, machineIds: [0, 2] },
    { provider: 'mdp0', context: 'mdp_rgb1', bank: 1, machineIds: [1, 3, 4] },
  ],
};

/** Four devices, each behind one context. */
const WIRING = [
  { device: 'src', contexts: [context('rot', 0)] },
  { device: 'dst', contexts: [context('rot', 1)] },
  { device: 'vg', contexts: [context('mdp0', 0)] },
  { device: 'rgb', contexts: [context('mdp0', 1)] },
];

export interface SystemOptions {
  readonly config?: MsmIommuConfig;
  /** Of each instance; 2 unless given, as many as contexts are wired to. With 3 each has a spare one. */
  readonly contextBanks?: number;
  /** How the hardware reads what the public sources leave open. */
  readonly readings?: MsmSmmuConfig['readings'];
  /** Blocks of descriptors that walks of each instance fetch ahead; none unless given. */
  readonly fetchBlocks?: number;
  /** Sets of the CPU's cache; 64 unless given. */
  readonly cacheSets?: number;
  /** What devices are on by themselves; `blocked` unless given. */
  readonly defaultDomain?: DefaultDomainKind;
  /** Table memory forgets to clean. */
  readonly forgetsClean?: boolean;
  readonly seed?: number;
  /** Devices are added but no driver. */
  readonly withoutDriver?: boolean;
}

export interface TraceEntry {
  readonly kind: 'read' | 'write';
  /** Offset inside the window of the instance at `base`. */
  readonly base: number;
  readonly offset: number;
  readonly value: number;
  /** Whether the clocks of the instance ran. */
  readonly isClocked: boolean;
}

export class System {
  readonly world: World;
  /** Above 256 MiB a bank exists where it is written only: a new system costs little. */
  readonly memory: PhysicalMemory = new PhysicalMemory([{ base: RAM_BASE, sizeBytes: 0x20000000 }]);
  readonly cache: CpuCache;
  readonly clocks: ClockTree;
  readonly iommu: Iommu;
  readonly frames: FrameAllocator;
  readonly tables: KernelTableMemory;
  readonly bus: MsmBus;
  readonly driver: MsmIommuDriver;
  readonly rot: MsmSmmu;
  readonly mdp0: MsmSmmu;
  readonly contextBanks: number;
  readonly trace: TraceEntry[] = [];
  readonly interrupts: InterruptController;
  readonly devices: Record<'src' | 'dst' | 'vg' | 'rgb', MsmDevice>;
  readonly #mmio: MmioBus;

  constructor(options: SystemOptions = {}) {
    const { config = {}, forgetsClean = false } = options;
    this.world = new World({ seed: options.seed ?? 1 });
    const { world } = this;
    const quiet = { lineBytes: 32, sets: options.cacheSets ?? 64, ways: 4, evictOneIn: 0, speculateOneIn: 0 };
    this.cache = new CpuCache(world, this.memory, quiet);
    this.clocks = new ClockTree(world, ['smmu_pclk', 'rot_axi', 'mdp_axi']);
    this.#mmio = new MmioBus(world);
    this.interrupts = new InterruptController(world);
    this.frames = new FrameAllocator(world, [{ base: RAM_BASE + 0x800000, sizeBytes: 0x100000 }]);
    const coherent = config.coherentWalk === true || forgetsClean;
    this.tables = new KernelTableMemory(world, this.frames, this.cache.cached, this.cache, { coherent });
    this.iommu = new Iommu(world, { defaultDomain: options.defaultDomain ?? 'blocked' });
    this.contextBanks = options.contextBanks ?? 2;
    const { readings = {}, fetchBlocks = 0 } = options;
    const geometry = { contextBanks: this.contextBanks, readings, fetchBlocks };
    this.rot = this.#smmu({ name: 'rot', ...geometry }, ROT_BASE, 91, 'rot_axi');
    this.mdp0 = this.#smmu({ name: 'mdp0', ...geometry }, MDP_BASE, 95, 'mdp_axi');
    const services = { world, mmio: this.#traced(), interrupts: this.interrupts };
    this.bus = new MsmBus(services, WIRING, this.clocks);
    this.bus.onConfigure(this.iommu);
    this.driver = new MsmIommuDriver({
      iommu: this.iommu,
      tables: this.tables,
      walkerMemory: this.memory,
      config,
    });
    this.bus.addDevice(smmuDevice('rot', ROT_BASE, 91, 'rot_axi', this.contextBanks));
    this.bus.addDevice(smmuDevice('mdp0', MDP_BASE, 95, 'mdp_axi', this.contextBanks));
    if (options.withoutDriver !== true) this.bus.addDriver(this.driver);
    this.bus.addDriver({
      name: 'master',
      matches: (d: Device) => d.compatible === 'master',
      probe: () => {},
    });
    const device = (name: string): MsmDevice => {
      const made = new MsmDevice(name, { compatible: 'master' });
      this.bus.addDevice(made);
      return made;
    };
    this.devices = { src: device('src'), dst: device('dst'), vg: device('vg'), rgb: device('rgb') };
    world.clock.run();
  }

  /** The instance behind the driver port. */
  instance(provider: 'rot' | 'mdp0'): MsmIommuInstance {
    const found = this.driver.instances.find((instance) => instance.provider === provider);
    if (found === undefined) throw new Error(`no instance ${provider}`);
    return found;
  }

  /** A domain for `device`, attached. */
  attached(device: MsmDevice, name: string): IommuDomain {
    const domain = this.iommu.allocPagingDomain(device, name);
    this.iommu.attach(domain, device);
    return domain;
  }

  /** A domain with `iova` mapped to `address`, one page, attached to `device`. */
  mapped(device: MsmDevice, name: string, iova: number, address: number): IommuDomain {
    const domain = this.attached(device, name);
    domain.map(iova, address, 0x1000, READ_WRITE);
    return domain;
  }

  /** Reads one word as the stream `mid` behind `smmu`. `faulted` and `pending` come back as such. */
  dmaRead(smmu: MsmSmmu, mid: number, iova: number): number | 'faulted' | 'pending' {
    const word = new Uint8Array(4);
    const { state } = this.master(smmu, mid).read(iova, word);
    return state === 'done' ? new DataView(word.buffer).getUint32(0, true) : state;
  }

  /** Writes one word as the stream `mid` behind `smmu`. */
  dmaWrite(smmu: MsmSmmu, mid: number, iova: number, value: number): string {
    const word = new Uint8Array(4);
    new DataView(word.buffer).setUint32(0, value, true);
    return this.master(smmu, mid).write(iova, word).state;
  }

  master(smmu: MsmSmmu, mid: number, attributes: AccessAttributes = DEFAULT_ATTRIBUTES): BusMaster {
    return new BusMaster(this.world, { name: `${smmu.name}:${mid}`, streamId: mid, port: smmu, attributes });
  }

  fill(address: number, value: number): void {
    this.memory.write32(address as PhysAddr, value);
  }

  /** Enables not undone, over all clocks: 0 at rest. */
  get clocksOn(): number {
    return this.clocks.all().reduce((sum, gate) => sum + gate.enableCount, 0);
  }

  #smmu(config: MsmSmmuConfig, base: number, irq: number, coreClock: string): MsmSmmu {
    const { name } = config;
    const secureLine = new InterruptLine(`${name} secure`);
    const nonSecureLine = new InterruptLine(`${name} non-secure`);
    this.interrupts.connect(irq, secureLine);
    this.interrupts.connect(irq + 1, nonSecureLine);
    const { memory } = this;
    const wiring = { memory, snooped: this.cache.snooped, secureLine, nonSecureLine };
    const smmu = new MsmSmmu(this.world, config, wiring);
    this.#mmio.addWindow({
      name,
      base,
      sizeBytes: WINDOW_BYTES,
      device: smmu,
      isClocked: () => this.#isClocked(coreClock),
    });
    return smmu;
  }

  #isClocked(coreClock: string): boolean {
    return this.clocks.get('smmu_pclk').isEnabled && this.clocks.get(coreClock).isEnabled;
  }

  #traced(): MmioPort {
    const note = (kind: TraceEntry['kind'], address: number, value: number): void => {
      const base = address - (address % WINDOW_BYTES);
      const isClocked = this.#isClocked(base === ROT_BASE ? 'rot_axi' : 'mdp_axi');
      this.trace.push({ kind, base, offset: address - base, value, isClocked });
    };
    return {
      read32: (address) => {
        const value = this.#mmio.read32(address);
        note('read', address, value);
        return value;
      },
      write32: (address, value) => {
        note('write', address, value);
        this.#mmio.write32(address, value);
      },
    };
  }
}

export function smmuDevice(
  provider: string,
  base: number,
  irq: number,
  coreClock: string,
  contextBanks: number,
): Device {
  const device = new Device(`msm_iommu.${provider}`, {
    compatible: 'msm_iommu',
    resources: [
      { kind: 'memory', name: 'physbase', start: base, sizeBytes: WINDOW_BYTES },
      { kind: 'interrupt', name: 'secure_irq', irq },
      { kind: 'interrupt', name: 'nonsecure_irq', irq: irq + 1 },
    ],
  });
  device.set(PLATFORM_DATA, {
    provider,
    contexts: CONTEXTS[provider] ?? [],
    contextBanks,
    interfaceClock: 'smmu_pclk',
    coreClock,
  });
  return device;
}

function context(provider: string, index: number): MsmIommuContext {
  return CONTEXTS[provider]?.[index] as MsmIommuContext;
}
