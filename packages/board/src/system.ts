/** A running system: every layer of the stack, built from a SoC's data, and the handles to look at and use it. */
import type { MsmIommuDriver } from '@iommu-lab/backend-msm';
import type { Device, Driver, InterruptController } from '@iommu-lab/driver-core';
import type { BouncePool, DmaDebug, DmaLayer } from '@iommu-lab/dma-mapping';
import { type Fault, formatExplanation, type Iommu } from '@iommu-lab/iommu-core';
import type { FrameAllocator, KernelTableMemory } from '@iommu-lab/kernel-mm';
import {
  BusMaster,
  type BusPort,
  type CpuCache,
  DirectPort,
  hex,
  LabError,
  type MmioBus,
  type PhysicalMemory,
  type World,
} from '@iommu-lab/machine';
import { type ClockTree, type MsmBus, MsmDevice } from '@iommu-lab/msm-bus';
import type { MsmSmmu } from '@iommu-lab/smmu-hw';
import type { FrameMemory } from './frame-buffer.ts';
import { isMappedByDmaApi } from './mapped-by-dma-api.ts';
import type { SocDescription } from './soc.ts';

/** What `createSystem` makes a system from. */
export type SystemParts = Pick<
  System,
  | 'soc'
  | 'world'
  | 'memory'
  | 'cache'
  | 'mmio'
  | 'interrupts'
  | 'frames'
  | 'tables'
  | 'clocks'
  | 'bus'
  | 'iommu'
  | 'dma'
  | 'bouncePool'
  | 'dmaDebug'
  | 'smmuDriver'
  | 'smmus'
>;

/** What a device of one's own is like. */
export interface AddDeviceOptions {
  /** Name of the IOMMU context it is wired to (`gfx2d1_2d1`); without one its addresses are physical. */
  readonly context?: string;
  /** Whether its accesses snoop the CPU's cache; false unless given. */
  readonly isDmaCoherent?: boolean;
  /** Bound to it; one that does nothing but let it use DMA unless given. */
  readonly driver?: Driver;
}

/** A device of one's own, and its way to the bus. */
export interface AddedDevice {
  readonly device: Device;
  /** Issues accesses as the device, through its IOMMU if it has one. */
  readonly master: BusMaster;
}

/** A booted system, as `createSystem` makes it. Nothing in it is frozen: a test may use any layer, at any height. */
export class System {
  /** The data it was built from. */
  readonly soc: SocDescription;
  /** Clock, seed, events, failpoints and interposer: one of each for all layers. */
  readonly world: World;
  /** RAM itself, past the cache: what a device that does not snoop sees. */
  readonly memory: PhysicalMemory;
  /** The CPU's data cache: its views of memory (`cached`, `uncached`, `snooped`) and the maintenance operations. */
  readonly cache: CpuCache;
  /** The CPU's way to registers, by physical address. */
  readonly mmio: MmioBus;
  readonly interrupts: InterruptController;
  /** Page frames of 4096 bytes. */
  readonly frames: FrameAllocator;
  /** Memory for page tables, taken from `frames`. */
  readonly tables: KernelTableMemory;
  readonly clocks: ClockTree;
  /** Every device of the board by name, and its driver. */
  readonly bus: MsmBus;
  /** The generic IOMMU API: domains, attach, faults and why. */
  readonly iommu: Iommu;
  /** Chooses each device's DMA operations when it is bound; `getDmaOps(device)` has them. */
  readonly dma: DmaLayer;
  /** Where buffers are bounced; undefined without. */
  readonly bouncePool: BouncePool | undefined;
  /** Checks every call of the DMA API, what devices access, and what the CPU does in `kernelMemory`; undefined without. */
  readonly dmaDebug: DmaDebug | undefined;
  /** The driver of the board's IOMMUs, and the instances it has probed: for a bus that knows it privately. */
  readonly smmuDriver: MsmIommuDriver;
  /** The IOMMUs' hardware by provider; `smmu` asks for one. */
  readonly smmus: ReadonlyMap<string, MsmSmmu>;
  /** Page frames and the CPU's view of them: what a kernel's buffers are made of. */
  readonly kernelMemory: FrameMemory;

  /** For `createSystem`: parts that were not wired to each other make no system. */
  constructor(parts: SystemParts) {
    this.soc = parts.soc;
    this.world = parts.world;
    this.memory = parts.memory;
    this.cache = parts.cache;
    this.mmio = parts.mmio;
    this.interrupts = parts.interrupts;
    this.frames = parts.frames;
    this.tables = parts.tables;
    this.clocks = parts.clocks;
    this.bus = parts.bus;
    this.iommu = parts.iommu;
    this.dma = parts.dma;
    this.bouncePool = parts.bouncePool;
    this.dmaDebug = parts.dmaDebug;
    this.smmuDriver = parts.smmuDriver;
    this.smmus = parts.smmus;
    const cpu = parts.dmaDebug?.watchCpu(parts.cache) ?? parts.cache;
    this.kernelMemory = { frames: parts.frames, cpu: cpu.cached };
  }

  /** Faults so far, oldest first. */
  get faults(): readonly Fault[] {
    return this.iommu.faults;
  }

  /** The hardware of one IOMMU. @throws LabError ENODEV, naming those there are. */
  smmu(provider: string): MsmSmmu {
    const smmu = this.smmus.get(provider);
    if (smmu === undefined) {
      const known = [...this.smmus.keys()].join(', ');
      throw new LabError('ENODEV', `no IOMMU "${provider}"; there is ${known}`, { provider });
    }
    return smmu;
  }

  /** Runs until nothing is left to do. @throws LabError ETIMEDOUT when something still waits: a hang. */
  run(): void {
    this.world.clock.run();
    const waits = this.world.clock.waits();
    if (waits.length > 0) throw hang('the system is idle', waits);
  }

  /** Runs until `condition` holds. @throws LabError ETIMEDOUT when the system gets idle before: a hang. */
  runUntil(condition: () => boolean, what: string): void {
    if (!this.world.clock.runUntil(condition)) throw hang(what, this.world.clock.waits());
  }

  /**
   * A bus master that issues as `deviceName` does, through `context` (its first one unless given): the device's own
   * wires, without its register block. What the device's domain allows is what it can reach.
   * @throws LabError ENODEV for a device or context that is not there, EINVAL for a device without IOMMU.
   */
  masterOf(deviceName: string, context?: string): BusMaster {
    const device = this.bus.device(deviceName);
    const endpoint =
      context === undefined ? device.endpoints[0] : device.endpoints.find((e) => e.context === context);
    const streamId = endpoint?.streamIds[0];
    if (endpoint === undefined || streamId === undefined) {
      throw new LabError('EINVAL', `${deviceName} has no context ${context ?? 'at an IOMMU'}`, {
        deviceName,
      });
    }
    return this.#master(device, streamId, this.smmu(endpoint.provider));
  }

  /**
   * Puts a device of one's own on the bus, behind an IOMMU context or wired straight to memory.
   * @throws LabError ENODEV when the SoC has no such context; EEXIST when the name is taken; what `probe` throws: the
   * device is then off the bus again.
   */
  addDevice(name: string, options: AddDeviceOptions = {}): AddedDevice {
    const { context, isDmaCoherent = false, driver } = options;
    const unwire = context === undefined ? undefined : this.#wire(name, context);
    const device = new MsmDevice(name, { isDmaCoherent });
    this.bus.addDevice(device);
    try {
      this.bus.bind(
        device,
        driver ?? { name: `${name} (plain)`, matches: () => false, probe: () => undefined },
      );
    } catch (error) {
      this.bus.removeDevice(device);
      unwire?.();
      throw error;
    }
    if (context !== undefined) return { device, master: this.masterOf(name) };
    const port = new DirectPort(isDmaCoherent ? this.cache.snooped : this.memory);
    return { device, master: this.#master(device, 0, port) };
  }

  /** Every fault so far, explained; empty text when there was none. */
  explainFaults(): string {
    return this.faults.map((fault) => formatExplanation(this.iommu.why(fault))).join('\n\n');
  }

  /** Ends a test: everything queued is run and no access may have faulted. @throws LabError EFAULT with the reasons */
  expectNoFaults(): void {
    this.run();
    const { faultCount } = this.iommu;
    if (faultCount === 0) return;
    const title = faultCount === 1 ? 'an access faulted' : `${faultCount} accesses faulted`;
    throw new LabError('EFAULT', `${title}\n${this.explainFaults()}`);
  }

  /** Ends a test: whatever was mapped through an IOMMU is unmapped again. @throws LabError EBUSY with what is left */
  expectNothingMapped(): void {
    const left = this.iommu.domains.flatMap((domain) =>
      domain.mappings().map((mapping) => {
        const range = `${hex(mapping.iova)}-${hex(mapping.iova + mapping.sizeBytes - 1)}`;
        return `${domain.name}: ${range}, mapped by "${mapping.by}" at ${mapping.atNs} ns`;
      }),
    );
    if (left.length > 0) throw new LabError('EBUSY', `still mapped\n${left.join('\n')}`, { left });
  }

  #master(device: Device, streamId: number, port: BusPort): BusMaster {
    const watched =
      this.dmaDebug?.watchBus(port, () => (isMappedByDmaApi(this.iommu, device) ? device : undefined)) ??
      port;
    return new BusMaster(this.world, { name: device.name, streamId, port: watched });
  }

  #wire(device: string, context: string): () => void {
    const contexts = this.soc.smmus.flatMap((smmu) => smmu.contexts);
    const row = contexts.find((c) => c.context === context);
    if (row === undefined) {
      const known = contexts.map((c) => c.context).join(', ');
      throw new LabError('ENODEV', `no IOMMU context "${context}"; there is ${known}`, { name: device });
    }
    return this.bus.wire({ device, contexts: [row] });
  }
}

function hang(what: string, waits: readonly string[]): LabError {
  const waiting = waits.length === 0 ? 'nobody waits for anything' : waits.join('; ');
  return new LabError('ETIMEDOUT', `hang: ${what}, and nothing is left to do: ${waiting}`, { waits });
}
